import type { Env, Timer } from '../../core/env.ts'
import type { FsError } from '../../core/errors.ts'
import type { Link, Network } from '../../core/network.ts'
import type { SessionDown, SessionUp } from '../../wire/gen/cairn/v1/session.ts'
import { sessionAttach } from '../../wire/services.ts'

const backoffFirstMs = 30
const backoffMaxMs = 1000
/** Failed attempts until it is worth a warning. */
const attemptsQuiet = 5

export interface LinkEvents {
  /** The first frame of a new link. */
  hello(): SessionUp
  frame(frame: SessionDown): void
  /** The link is gone; another is dialled after a while, unless it is stopped by then. */
  lost(error: FsError | undefined): void
}

/** The stream to the master, dialled again whenever it breaks, less and less eagerly. */
export class MasterLink {
  readonly #env: Env
  readonly #network: Network
  readonly #address: string
  readonly #events: LinkEvents
  #link: Link<SessionUp, SessionDown> | undefined
  #redial: Timer | undefined
  #attempts = 0
  #stopped = false
  #dialledAt = 0
  #heardAt = 0

  constructor(env: Env, network: Network, address: string, events: LinkEvents) {
    this.#env = env
    this.#network = network
    this.#address = address
    this.#events = events
  }

  /** When the present link was dialled, Env clock. */
  get dialledAt(): number {
    return this.#dialledAt
  }

  /** For how long nothing was heard on the present link, ms; 0 without a link. */
  get silentMs(): number {
    return this.#link === undefined ? 0 : this.#env.clock.now() - this.#heardAt
  }

  /** Identifies the present link. */
  get current(): object | undefined {
    return this.#link
  }

  dial(): void {
    if (this.#stopped) return
    const link = this.#network.dial(this.#address, sessionAttach)
    this.#link = link
    this.#dialledAt = this.#env.clock.now()
    this.#heardAt = this.#dialledAt
    link.onFrame(frame => {
      if (this.#link !== link) return
      this.#heardAt = this.#env.clock.now()
      this.#events.frame(frame)
    })
    link.onClose(error => {
      if (this.#link === link) this.#lost(error)
    })
    link.send(this.#events.hello())
  }

  send(frame: SessionUp): void {
    this.#link?.send(frame)
  }

  /** All that was to be said first was answered well: the next loss is a new matter. */
  settled(): void {
    this.#attempts = 0
  }

  /** Ends a link that is of no use, and dials again. */
  drop(why: FsError): void {
    const link = this.#link
    if (link === undefined) return
    link.close(why)
    // A link tells of its end later or at once; only the first word counts.
    if (this.#link === link) this.#lost(why)
  }

  stop(): void {
    this.#stopped = true
    this.#redial?.cancel()
    const link = this.#link
    this.#link = undefined
    link?.close()
  }

  /** After `stop`: dials again. */
  restart(): void {
    this.#stopped = false
    this.#attempts = 0
    this.dial()
  }

  #lost(error: FsError | undefined): void {
    this.#link = undefined
    this.#events.lost(error)
    if (this.#stopped) return
    const fields = { address: this.#address, why: error?.message ?? 'closed' }
    if (this.#attempts === 0) this.#env.log.info('Lost the master', fields)
    else if (this.#attempts === attemptsQuiet) this.#env.log.warn('The master does not answer', fields)
    const ceiling = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(this.#attempts, 10))
    this.#attempts += 1
    // Between half and all of it, so that the mounts of a restarted master do not come in step.
    const delay = ceiling / 2 + this.#env.random.below(Math.ceil(ceiling / 2) + 1)
    this.#redial = this.#env.timers.after(delay, () => this.dial())
  }
}
