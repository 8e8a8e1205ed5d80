import { assert } from '../../core/assert.ts'
import { FsError } from '../../core/errors.ts'
import type { Codec, Link } from '../../core/network.ts'
import { MiB, second } from '../../core/units.ts'
import { caseOf } from './crash-points.ts'
import type { HostEnv } from './host.ts'

/** After this long without a word from the other side a link is given up, as keepalive does. */
export const keepaliveMs = 15 * second
/** A sender waits in `drained` above this. */
const highWaterBytes = 1 * MiB

/** What a link asks of the network that carries it. */
export interface Carrier {
  delay(): number
  /** Whether the link breaks with this frame. */
  breaks(): boolean
  isCut(from: string, to: string): boolean
  forget(link: SimLink): void
  /** A component threw what is no answer. */
  bug(error: unknown): void
}

interface Transit {
  readonly arrival: number
  readonly deliver: () => void
}

/**
 * One end of a stream, in bytes. What one end sends is one queue, as TCP has it: nothing overtakes,
 * and while the way is cut all of it waits.
 */
export class SimLink {
  readonly env: HostEnv
  readonly peerName: string
  readonly #carrier: Carrier
  #far: SimLink | undefined
  /** Sent before the other end was reached. */
  #early: Uint8Array[] = []
  #transit: Transit[] = []
  #pumping = false
  #queued = 0
  #ended = false
  #closing = false
  #held: (() => void)[] = []
  #paused = false
  #parked: (() => void)[] = []
  onFrame: ((bytes: Uint8Array) => void) | undefined
  onClose: ((error: FsError | undefined) => void) | undefined

  constructor(carrier: Carrier, env: HostEnv, peerName: string) {
    this.#carrier = carrier
    this.env = env
    this.peerName = peerName
  }

  get queuedBytes(): number {
    return this.#queued
  }

  /** No longer of use: closed here or broken. */
  get over(): boolean {
    return this.#ended || this.#closing
  }

  get far(): SimLink | undefined {
    return this.#far
  }

  join(far: SimLink): void {
    this.#far = far
    for (const bytes of this.#early.splice(0)) this.#carry(far, bytes)
  }

  send(bytes: Uint8Array): void {
    if (this.over) return
    this.#queued += bytes.length
    const copy = Uint8Array.from(bytes)
    if (this.#far === undefined) this.#early.push(copy)
    else this.#carry(this.#far, copy)
  }

  async drained(): Promise<void> {
    while (this.#queued > highWaterBytes && !this.#ended)
      await new Promise<void>(resolve => {
        this.#held.push(resolve)
      })
  }

  close(error?: FsError): void {
    if (this.over) return
    this.#closing = true
    const far = this.#far
    if (far !== undefined) this.#enqueue(far, () => far.fail(error))
    this.env.schedule(0, () => this.fail(error))
  }

  /** This end hears that the link is over. */
  fail(error: FsError | undefined): void {
    if (this.#ended) return
    this.#end()
    const hear = this.onClose
    this.env.schedule(0, () => this.#guard(() => hear?.(error)))
  }

  /** The process of this end is gone. Its machine sends what it took and an end, or is gone too (`silently`). */
  vanish(silently: boolean): void {
    if (this.#ended) return
    this.#end()
    const far = this.#far
    if (far === undefined) return
    const error = new FsError('ECONNRESET', `${this.env.name} went away`)
    if (silently) {
      this.#transit = []
      far.env.schedule(keepaliveMs, () => far.fail(error))
    } else this.#enqueue(far, () => far.fail(error))
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.env.schedule(0, () => this.#unpark())
  }

  /** The way to the other end is open again. */
  healed(): void {
    if (this.#far !== undefined) this.#pump(this.#far)
  }

  #end(): void {
    this.#ended = true
    this.#parked = []
    this.#carrier.forget(this)
    for (const resume of this.#held.splice(0)) resume()
  }

  #carry(far: SimLink, bytes: Uint8Array): void {
    if (this.#carrier.breaks()) {
      const error = new FsError('ECONNRESET', 'the link broke')
      this.#enqueue(far, () => far.fail(error))
      this.env.schedule(this.#carrier.delay(), () => this.fail(error))
      this.#closing = true
      return
    }
    this.#enqueue(far, () => far.#arrive(() => this.#taken(far, bytes)))
  }

  /** The other end takes a frame: only then it no longer fills the way. */
  #taken(far: SimLink, bytes: Uint8Array): void {
    this.#queued -= bytes.length
    if (this.#queued <= highWaterBytes) for (const resume of this.#held.splice(0)) resume()
    if (!far.#ended) far.#guard(() => far.onFrame?.(bytes))
  }

  #arrive(take: () => void): void {
    if (this.#ended) return
    if (this.#paused || this.#parked.length > 0) this.#parked.push(take)
    else take()
  }

  #unpark(): void {
    while (!this.#paused) {
      const take = this.#parked.shift()
      if (take === undefined) return
      take()
    }
  }

  /** Does something at the far end, after all that was sent before, when the way is open. */
  #enqueue(far: SimLink, deliver: () => void): void {
    const earliest = this.#transit.at(-1)?.arrival ?? Number.NEGATIVE_INFINITY
    const arrival = Math.max(far.env.timeline.now + this.#carrier.delay(), earliest)
    this.#transit.push({ arrival, deliver })
    this.#pump(far)
  }

  /** Runs on the far machine's schedule, which outlives this end. */
  #pump(far: SimLink): void {
    const head = this.#transit[0]
    if (this.#pumping || head === undefined || this.#carrier.isCut(this.env.name, far.env.name)) return
    this.#pumping = true
    far.env.schedule(Math.max(0, head.arrival - far.env.timeline.now), () => {
      this.#pumping = false
      if (!this.#carrier.isCut(this.env.name, far.env.name)) {
        assert(this.#transit[0] === head || this.#transit.length === 0, 'frames in transit keep their order')
        this.#transit.shift()?.deliver()
      }
      this.#pump(far)
    })
  }

  /** A component's own FsError ends the link, as the contract says; anything else is a bug in it. */
  #guard(work: () => void): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof FsError)) this.#carrier.bug(error)
      this.close(new FsError('EPROTO', FsError.from(error).message))
    }
  }
}

/** Frames that are bytes to this end are seen at the other one. */
function pointAt(env: HostEnv, how: 'send' | 'got', frame: unknown): void {
  const name = caseOf(frame)
  if (name !== '') env.point(`${how} ${name}`)
}

/** A byte link as one of frames. */
export function typed<Out, In>(link: SimLink, out: Codec<Out>, incoming: Codec<In>): Link<Out, In> {
  return {
    peer: link.peerName,
    get queuedBytes() {
      return link.queuedBytes
    },
    send: (frame, taken) => {
      pointAt(link.env, 'send', frame)
      link.send(out.encode(frame))
      taken?.()
    },
    drained: () => link.drained(),
    onFrame: handler => {
      link.onFrame = bytes => {
        const frame = incoming.decode(bytes)
        pointAt(link.env, 'got', frame)
        handler(frame)
      }
    },
    onClose: handler => {
      link.onClose = handler
    },
    pause: () => link.pause(),
    resume: () => link.resume(),
    close: error => link.close(error),
  }
}
