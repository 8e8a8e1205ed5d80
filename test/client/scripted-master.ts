import { FsError } from '#src/core/errors.ts'
import type { Link, Network, StreamDef } from '#src/core/network.ts'
import type {
  Call,
  Hello,
  Reply,
  SessionDown,
  SessionDownItem,
  SessionUp,
  SessionUpItem,
  Welcome,
} from '#src/wire/gen/cairn/v1/session.ts'
import type { Op } from '#src/wire/commands.ts'

type DownItem = NonNullable<SessionDownItem['item']>
type UpItem = NonNullable<SessionUpItem['item']>

/** The master's end of one link, in the test's hands. Frames pass through their encoding. */
export class MasterEnd {
  readonly frames: SessionUp[] = []
  readonly link: Link<SessionUp, SessionDown>
  closed = false
  #onFrame: ((frame: SessionDown) => void) | undefined
  #onClose: ((error: FsError | undefined) => void) | undefined
  readonly #def: StreamDef<SessionUp, SessionDown>

  constructor(def: StreamDef<SessionUp, SessionDown>) {
    this.#def = def
    this.link = {
      peer: 'master',
      queuedBytes: 0,
      send: frame => {
        if (!this.closed) this.frames.push(def.up.decode(def.up.encode(frame)))
      },
      drained: async () => undefined,
      onFrame: handler => {
        this.#onFrame = handler
      },
      onClose: handler => {
        this.#onClose = handler
      },
      pause: () => undefined,
      resume: () => undefined,
      close: error => this.break(error),
    }
  }

  get items(): UpItem[] {
    return this.frames.flatMap(frame => frame.items.flatMap(({ item }) => (item === undefined ? [] : [item])))
  }

  get calls(): Call[] {
    return this.items.flatMap(item => (item.$case === 'call' ? [item.value] : []))
  }

  get hello(): Hello {
    const [first] = this.items
    if (first?.$case !== 'hello') throw new Error('the first item is no Hello')
    return first.value
  }

  get acked(): bigint {
    return this.frames.at(-1)?.acked ?? 0n
  }

  deliver(...items: DownItem[]): void {
    const frame = { items: items.map(item => ({ item })) }
    this.#onFrame?.(this.#def.down.decode(this.#def.down.encode(frame)))
  }

  welcome(more: Partial<Welcome> = {}): void {
    this.deliver({ $case: 'welcome', value: { ...welcomeDefaults, ...more } })
  }

  reply(id: bigint, result: Reply['result'], leases: Reply['leases'] = []): void {
    this.deliver({ $case: 'reply', value: { id, result, leases } })
  }

  break(error?: FsError): void {
    if (this.closed) return
    this.closed = true
    this.#onClose?.(error)
  }
}

const welcomeDefaults: Welcome = {
  version: 1,
  session: 5n,
  epoch: 1n,
  secret: Buffer.from('secret'),
  cluster: Buffer.from('0123456789abcdef'),
  resumed: false,
  reclaim: false,
  leaseMs: 30_000,
  heartbeatMs: 5000,
  blockBytes: 4 * 1024 * 1024,
  copies: 3,
  minCopies: 2,
  time: 1_000_000_000_000n,
  root: 1n,
  readOnly: false,
  export: '',
  judged: false,
  noSetuid: false,
  noDevices: false,
  full: false,
  dedupDomain: new Uint8Array(0),
  noShortCircuit: false,
}

/** Hands every dialled link to the test; refuses while `away`. */
export class ScriptedNetwork implements Network {
  readonly ends: MasterEnd[] = []
  away = false
  /** Called with each new end, for masters that answer by themselves. */
  onDial: ((end: MasterEnd) => void) | undefined

  get last(): MasterEnd {
    const end = this.ends.at(-1)
    if (end === undefined) throw new Error('nothing was dialled')
    return end
  }

  dial<Up, Down>(_address: string, def: StreamDef<Up, Down>): Link<Up, Down> {
    const end = new MasterEnd(def as unknown as StreamDef<SessionUp, SessionDown>)
    if (this.away) setImmediate(() => end.break(new FsError('ECONNREFUSED')))
    else {
      this.ends.push(end)
      setImmediate(() => this.onDial?.(end))
    }
    return end.link as unknown as Link<Up, Down>
  }

  call(): Promise<never> {
    return Promise.reject(new FsError('ECONNREFUSED'))
  }

  listen(): Promise<never> {
    return Promise.reject(new FsError('EOPNOTSUPP'))
  }
}

export const caseOf = (call: Call | undefined): Op['$case'] | undefined => call?.op?.$case
