import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { Session } from '#src/client/session/session.ts'
import type { LeaseHolder } from '#src/client/session/lease-holder.ts'
import type { Ino } from '#src/core/ids.ts'
import { silentLog } from '#src/core/env.ts'
import { realEnv } from '#src/env/real-env.ts'

/** Calls that are unanswered at a time: what a few busy mounts have. */
const depth = 512
/** Leases that are given back at a time. */
const releasedAtOnce = 256

const noBytes = new Uint8Array()
const utf8 = new TextEncoder()

/** Keeps nothing, so that what is measured is the master. */
class Nothing implements LeaseHolder {
  readonly dirtyBytes = 0
  readonly traffic = { fetchedBytes: 0, storedBytes: 0 }
  readonly granted: LeaseHolder['granted']

  constructor(granted: LeaseHolder['granted']) {
    this.granted = granted
  }

  holds(): boolean {
    return false
  }

  recalled(): ReturnType<LeaseHolder['recalled']> {
    return Promise.resolve({ kept: 'none', open: false, writing: false })
  }

  distrust(): void {
    // Nothing is believed.
  }

  sessionDied(): void {
    throw new Error('the master ended the session of the load generator')
  }

  holdings(): ReturnType<LeaseHolder['holdings']> {
    return { leases: [], locks: [] }
  }
}

/** A session with the master that asks as fast as it is answered, by the protocol that mounts speak. */
export class WireLoad {
  readonly #network = new GrpcNetwork({ log: silentLog })
  readonly #session: Session
  #granted: Ino[] = []

  constructor(master: string) {
    this.#session = new Session(realEnv(silentLog), this.#network, {
      address: master,
      host: 'load',
      mountpoint: '/load',
      pid: process.pid,
      program: 'bench',
      zone: 'default',
      readOnly: false,
      waitMs: 60_000,
      startWaitMs: 10_000,
    })
  }

  async start(): Promise<void> {
    await this.#session.start(new Nothing(ino => this.#noteLease(ino)))
  }

  async stop(): Promise<void> {
    await this.#session.close()
    await this.#network.close()
  }

  get root(): Ino {
    return this.#session.root
  }

  async makeFolder(parent: Ino, name: string): Promise<Ino> {
    return this.#create(parent, name, 0o40755)
  }

  /** Answered: it is on the master's disk. */
  makeFiles(parent: Ino, names: Iterable<string>): Promise<number> {
    return this.#each(names, name => this.#create(parent, name, 0o100644))
  }

  lookUp(parent: Ino, names: Iterable<string>): Promise<number> {
    return this.#each(names, async name => {
      const { attr } = await this.#session.call(
        { $case: 'lookup', value: { parent, name: utf8.encode(name) } },
        'entry',
      )
      if (attr === undefined) throw new Error(`${name} is gone`)
    })
  }

  removeFiles(parent: Ino, names: Iterable<string>): Promise<number> {
    return this.#each(names, name =>
      this.#session.call(
        {
          $case: 'unlink',
          value: {
            parent,
            name: utf8.encode(name),
            directory: false,
            expected: 0n,
            open: false,
            time: this.#session.time(),
          },
        },
        'remove',
      ),
    )
  }

  /** Reads a directory to its end, names and attributes. How many entries it has. */
  async list(ino: Ino, attrs: boolean): Promise<number> {
    let entries = 0
    for (let after = 0n; ; ) {
      const reply = await this.#session.call(
        { $case: 'readDir', value: { ino, after, limit: 4096, attrs, removing: false } },
        'readDir',
      )
      entries += reply.entries.length
      const last = reply.entries.at(-1)
      if (reply.end || last === undefined) return entries
      after = last.cookie
    }
  }

  async #create(parent: Ino, name: string, mode: number): Promise<Ino> {
    const { attr } = await this.#session.call(
      {
        $case: 'create',
        value: {
          parent,
          name: utf8.encode(name),
          mode,
          umask: 0,
          uid: 0,
          gid: 0,
          rdev: 0,
          target: noBytes,
          exclusive: true,
          tmpfile: false,
          time: this.#session.time(),
          writeLease: false,
          ino: 0n,
        },
      },
      'entry',
    )
    if (attr === undefined) throw new Error(`no attributes of ${name}`)
    return attr.ino as Ino
  }

  /** As many at a time as mounts would have. How many were done. */
  async #each<T>(things: Iterable<T>, work: (thing: T) => Promise<unknown>): Promise<number> {
    let count = 0
    const rest = things[Symbol.iterator]()
    const worker = async (): Promise<void> => {
      for (let next = rest.next(); next.done !== true; next = rest.next()) {
        await work(next.value)
        count++
      }
    }
    await Promise.all(Array.from({ length: depth }, worker))
    return count
  }

  #noteLease(ino: Ino): void {
    this.#granted.push(ino)
    if (this.#granted.length < releasedAtOnce) return
    this.#session.release(this.#granted)
    this.#granted = []
  }
}
