import { must } from '../../core/assert.ts'
import { Counts } from '../../core/counts.ts'
import type { Env, Timer } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { Caller, Lane, Link, Listener, Network, Serving } from '../../core/network.ts'
import { OperationTimes, type OperationTime } from '../../core/operation-times.ts'
import { MiB, nsPerMs, second } from '../../core/units.ts'
import { StatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import { NodeDown } from '../../wire/gen/cairn/v1/nodes.ts'
import { SessionDown } from '../../wire/gen/cairn/v1/session.ts'
import type { BackupState } from '../backup/backup-state.ts'
import type { Integrity } from '../fsck/integrity.ts'
import type { Logged, LogState } from '../log/log-state.ts'
import type { AdminMethod, ConnectionKind, EngineInput, EngineMeasures, EngineOutput } from '../engine/io.ts'
import { partsOf } from './frame-parts.ts'
import { type Flow, Intake } from './intake.ts'
import { peekNodeHeartbeat, peekSessionHeartbeats } from './peek-heartbeats.ts'
import { rawAdminCalls, rawNodesAttach, rawSessionAttach } from './raw.ts'

/** Where the engine runs: each item is a batch for one step, each result what that step put out. */
export type EngineLane = Lane<readonly EngineInput[], readonly EngineOutput[]>

/** What room the database's disk has. */
export interface MasterRoom {
  /** It is nearly full: what is left is for removals, and for what programs were told is done. */
  readonly full: boolean
  /** Of that, too, nearly nothing is left: it is for removals alone. */
  readonly spent: boolean
  /** It was full to the last byte: whoever keeps something in reserve gives it up now. */
  exhausted(): void
}

export interface MasterServerOptions {
  readonly listen: string
  /** Resident memory of this process, bytes, for status. */
  readonly rssBytes: () => number
  /** The disk of the database. */
  readonly room?: MasterRoom | undefined
  /** Calls that are answered beside the engine, which then is not asked: encoded request to encoded reply. */
  readonly beside?: Partial<Record<AdminMethod, (request: Uint8Array) => Promise<Uint8Array>>>
  /** Keeps what is committed elsewhere, too. */
  readonly log?: { note(logged: Logged): void; readonly state: LogState } | undefined
  /** With TLS: the ids of all identities that are good. */
  readonly identities?: readonly string[] | undefined
  /** The exports that the tokens of some were for. */
  readonly tokenExports?: ReadonlyMap<string, string> | undefined
  /** What is served besides. */
  readonly also?: (serving: Serving) => void
  /** The engine failed: its state is unknown, the process must end. Called at most once. */
  readonly failed: (error: unknown) => void
}

/** For metrics. */
export interface MasterMeasures extends EngineMeasures {
  readonly status: StatusReply
  /** Steps of the engine, from handing over a batch to what came out, so with the disk's sync. */
  readonly steps: readonly OperationTime[]
  /** What all steps so far were given to do. */
  readonly inputs: number
  readonly connections: number
}

type RawLink = Link<Uint8Array, Uint8Array>

interface Connection {
  readonly link: RawLink
  readonly kind: ConnectionKind
  /** The engine knows who it is: heartbeats are answered here from now on. */
  welcomed: boolean
  /** What it is not listened to for. */
  readonly held: Set<'reading' | 'waiting'>
}

interface AdminCall {
  readonly resolve: (answer: Uint8Array) => void
  readonly reject: (error: FsError) => void
}

interface MeasureCall {
  readonly resolve: (measures: EngineMeasures) => void
  readonly reject: (error: FsError) => void
}

/** Until a disk that was full to the last byte is tried again, if nobody attaches earlier. */
const retryMs = 1 * second
/** A peer that does not read its answers is not listened to, until it has read up to here. */
const queuedBytesMax = 8 * MiB
/** Calls of administration that wait for answers, of one identity; without TLS of all together. */
const callsMax = 64

/**
 * The master's front on the main thread: numbers connections, gathers what arrives while the engine
 * is at work into its next batch, and sends what it puts out. It decides nothing; but it answers
 * heartbeats itself, since those must not wait behind a disk sync.
 */
export class MasterServer {
  readonly #env: Env
  readonly #lane: EngineLane
  readonly #options: MasterServerOptions
  readonly #connections = new Map<number, Connection>()
  readonly #calls = new Map<number, AdminCall>()
  /** Under way, by identity. */
  readonly #callsOf = new Counts(callsMax)
  readonly #measuring = new Map<number, MeasureCall>()
  readonly #stepTimes = new OperationTimes()
  #inputs = 0
  #nextNumber = 1
  readonly #intake = new Intake(connection => this.#flowOf(connection))
  #flushing = false
  #running: Promise<void> | undefined
  #tick: Timer | undefined
  #tickAt = 0
  /** Cluster time as of the last step. */
  #time = 0n
  /** The latest cluster time that anybody was told, and when, by the local clock. */
  #told = 0n
  #toldAt = 0
  /** Nothing more is taken in. */
  #closed = false
  #stopped = false
  #failed = false
  #listener: Listener | undefined
  /** What is told when it changes, as of now: an engine that begins anew is told again. */
  readonly #facts = new Map<EngineInput['kind'], EngineInput>()

  /** Listens. Rejects with UsageError when the address cannot be had. */
  static async start(
    env: Env,
    network: Network,
    lane: EngineLane,
    options: MasterServerOptions,
  ): Promise<MasterServer> {
    const server = new MasterServer(env, lane, options)
    // The first step tells where cluster time is, before anybody can ask.
    const { identities: good, tokenExports: exports = new Map<string, string>() } = options
    if (good !== undefined) server.#facts.set('identities', { kind: 'identities', good, exports })
    await server.#step([...server.#facts.values()])
    server.#listener = await network.listen(options.listen, serving => {
      serving.stream(rawSessionAttach, (link, caller) => server.#accept(link, 'session', caller))
      serving.stream(rawNodesAttach, (link, caller) => server.#accept(link, 'node', caller))
      for (const method of Object.keys(rawAdminCalls) as AdminMethod[])
        serving.call(rawAdminCalls[method], async (bytes, { identity }) =>
          server.#callOf(identity?.id ?? '', method, bytes),
        )
      options.also?.(serving)
    })
    return server
  }

  private constructor(env: Env, lane: EngineLane, options: MasterServerOptions) {
    this.#env = env
    this.#lane = lane
    this.#options = options
  }

  /** host:port as bound. */
  get address(): string {
    return must(this.#listener, 'listener').address
  }

  /** Tells the engine of the copies of its database. */
  noteBackups(state: BackupState): void {
    this.#tell({ kind: 'backups', state })
  }

  /** Tells the engine what reading the whole database found. */
  noteIntegrity(state: Integrity): void {
    this.#tell({ kind: 'integrity', state })
  }

  /** Tells the engine whose certificates are good, and for which exports their tokens were, whenever that changes. */
  noteIdentities(good: readonly string[], exports: ReadonlyMap<string, string>): void {
    this.#tell({ kind: 'identities', good, exports })
  }

  #tell(fact: EngineInput): void {
    this.#facts.set(fact.kind, fact)
    this.#enqueue(fact)
  }

  /** Stops listening, lets what has arrived be executed, and ends the engine. Sessions live on. */
  async close(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#closed = true
    this.#tick?.cancel()
    await this.#running
    let rest = this.#intake.takeAll()
    if (this.#options.log !== undefined) rest.push({ kind: 'flush' })
    while (rest.length > 0 && !this.#failed) rest = rest.slice(rest.length - (await this.#step(rest)))
    for (const { link } of this.#connections.values()) link.close()
    await this.#listener?.close()
    await this.#lane.close()
  }

  /** An administration call from within this process: encoded request to encoded reply. */
  ask(method: AdminMethod, request: Uint8Array): Promise<Uint8Array> {
    return this.#call(method, request)
  }

  /** What the master did and holds. Answered by the engine: that it answers shows that it is alive. */
  async measure(): Promise<MasterMeasures> {
    const call = this.#nextNumber++
    const asked = new Promise<EngineMeasures>((resolve, reject) => {
      if (this.#closed || this.#failed) {
        reject(new FsError('ECANCELED', 'The master is stopping'))
        return
      }
      this.#measuring.set(call, { resolve, reject })
      this.#enqueue({ kind: 'measure', call })
    })
    const [measures, status] = await Promise.all([asked, this.#call('status', new Uint8Array(0))])
    return {
      ...measures,
      status: StatusReply.decode(status),
      steps: this.#stepTimes.rows(),
      inputs: this.#inputs,
      connections: this.#connections.size,
    }
  }

  // ---- what arrives

  #accept(link: RawLink, kind: ConnectionKind, { identity }: Caller): void {
    if (this.#failed) {
      // Between the failure and the end of the process nobody may be left waiting for an answer.
      link.onClose(() => undefined)
      link.close(new FsError('EIO', 'The master failed'))
      return
    }
    const number = this.#nextNumber++
    this.#connections.set(number, { link, kind, welcomed: false, held: new Set() })
    this.#enqueue({ kind: 'opened', connection: number, of: kind, peer: link.peer, identity: identity?.id })
    link.onFrame(bytes => {
      this.#beat(number, bytes)
      for (const part of kind === 'session' ? partsOf(bytes) : [bytes])
        this.#enqueue({ kind: 'frame', connection: number, bytes: part })
    })
    link.onClose(() => {
      this.#connections.delete(number)
      this.#enqueue({ kind: 'closed', connection: number })
    })
  }

  /** Who asks again and again without waiting for answers holds up itself alone. */
  async #callOf(identity: string, method: AdminMethod, bytes: Uint8Array): Promise<Uint8Array> {
    if (!this.#callsOf.add(identity))
      throw new FsError('EBUSY', `more than ${callsMax} questions at a time: ask again`)
    try {
      return await this.#call(method, bytes)
    } finally {
      this.#callsOf.delete(identity)
    }
  }

  #call(method: AdminMethod, bytes: Uint8Array): Promise<Uint8Array> {
    const beside = this.#options.beside?.[method]
    if (beside !== undefined) return beside(bytes)
    const call = this.#nextNumber++
    return new Promise((resolve, reject) => {
      if (this.#closed || this.#failed) {
        reject(new FsError('ECANCELED', 'The master is stopping'))
        return
      }
      this.#calls.set(call, { resolve, reject })
      this.#enqueue({ kind: 'admin', call, method, bytes })
    })
  }

  /** Answers the heartbeats of a frame. */
  #beat(number: number, bytes: Uint8Array): void {
    const connection = this.#connections.get(number)
    if (connection === undefined || !connection.welcomed) return
    if (connection.kind === 'node') {
      const sentMs = peekNodeHeartbeat(bytes)
      if (sentMs === undefined) return
      const value = {
        sentMs,
        time: this.#clusterTime(this.#env.clock.now()),
        endedSessions: [],
        readKeys: [],
        readShares: [],
        proven: [],
      }
      connection.link.send(NodeDown.encode({ item: { $case: 'heartbeat', value } }).finish())
      return
    }
    for (const sentMs of peekSessionHeartbeats(bytes)) {
      const item = {
        $case: 'heartbeat',
        value: { sentMs, time: this.#clusterTime(this.#env.clock.now()) },
      } as const
      connection.link.send(SessionDown.encode({ items: [{ item }] }).finish())
    }
  }

  /**
   * Cluster time never goes back, and runs on at the local clock's pace where the system's time does not. The
   * engine goes by what mounts are told here: else a command would seem to be older than what its mount has shown.
   */
  #clusterTime(now: number): bigint {
    const wall = this.#env.clock.wall()
    const carried = this.#told + BigInt(Math.floor((now - this.#toldAt) * Number(nsPerMs)))
    for (const time of [wall, carried, this.#time]) if (time > this.#told) this.#told = time
    this.#toldAt = now
    return this.#told
  }

  // ---- the engine

  #enqueue(input: EngineInput): void {
    if (this.#closed) return
    this.#intake.add(input)
    if (this.#flushing || this.#running !== undefined) return
    this.#flushing = true
    this.#env.timers.soon(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  /** Runs what has gathered, and then what gathered meanwhile. */
  #flush(): void {
    if (this.#running !== undefined || this.#intake.isEmpty || this.#closed) return
    this.#running = this.#step(this.#intake.take()).then(left => {
      this.#intake.putBack(left)
      this.#running = undefined
      this.#flush()
    })
  }

  /** Resolves with how many of the last inputs are left to be executed. */
  async #step(inputs: readonly EngineInput[]): Promise<number> {
    const now = this.#env.clock.now()
    const clock: EngineInput = {
      kind: 'clock',
      now,
      wall: this.#clusterTime(now),
      random: this.#env.random.bytes(32),
      rssBytes: this.#options.rssBytes(),
      diskFull: this.#options.room?.full ?? false,
      diskSpent: this.#options.room?.spent ?? false,
      log: this.#options.log?.state,
      waiting: this.#intake.waiting,
    }
    try {
      const [outputs] = await this.#lane.run([[clock, ...inputs]])
      this.#stepTimes.observe('step', this.#env.clock.now() - now)
      let left = 0
      for (const output of must(outputs, 'what the engine put out')) {
        this.#handle(output)
        if (output.kind === 'state') ({ left } = output)
      }
      this.#inputs += inputs.length - left
      return left
    } catch (thrown) {
      if (thrown instanceof FsError && thrown.code === 'ENOSPC') this.#beginAgain(thrown)
      else this.#fail(thrown)
      return 0
    }
  }

  /** The step is undone and the engine gone: the next step makes a new one, which knows nobody. */
  #beginAgain(why: FsError): void {
    this.#env.log.error('the disk is full: everybody has to attach again', { why: why.message })
    this.#options.room?.exhausted()
    this.#intake.replace(this.#facts.values())
    for (const { link } of this.#connections.values()) link.close(why)
    this.#connections.clear()
    this.#rejectCalls(why)
    this.#tickIn(retryMs)
  }

  #rejectCalls(why: FsError): void {
    for (const { reject } of [...this.#calls.values(), ...this.#measuring.values()]) reject(why)
    this.#calls.clear()
    this.#measuring.clear()
  }

  #fail(thrown: unknown): void {
    if (this.#failed) return
    this.#failed = true
    this.#closed = true
    this.#tick?.cancel()
    for (const { link } of this.#connections.values()) link.close(new FsError('EIO', 'The master failed'))
    this.#rejectCalls(new FsError('EIO', 'The master failed'))
    this.#options.failed(thrown)
  }

  #handle(output: EngineOutput): void {
    switch (output.kind) {
      case 'frame':
        this.#send(output.connection, output.bytes)
        return
      case 'welcomed': {
        const connection = this.#connections.get(output.connection)
        if (connection !== undefined) connection.welcomed = true
        return
      }
      case 'close': {
        const { code, message } = output
        const connection = this.#connections.get(output.connection)
        if (connection === undefined) return
        connection.welcomed = false
        connection.link.close(code === undefined ? undefined : new FsError(code, message))
        return
      }
      case 'answer':
        this.#calls.get(output.call)?.resolve(output.bytes)
        this.#calls.delete(output.call)
        return
      case 'measured':
        this.#measuring.get(output.call)?.resolve(output.measures)
        this.#measuring.delete(output.call)
        return
      case 'failure':
        this.#calls.get(output.call)?.reject(new FsError(output.code, output.message))
        this.#calls.delete(output.call)
        return
      case 'logged':
        this.#options.log?.note(output.logged)
        return
      case 'log':
        this.#env.log[output.level](output.message, output.fields)
        return
      case 'state':
        this.#time = output.time
        this.#tickIn(output.wakeMs)
    }
  }

  #send(number: number, bytes: Uint8Array): void {
    const connection = this.#connections.get(number)
    if (connection === undefined) return
    const { link, held } = connection
    link.send(bytes)
    if (held.has('reading') || link.queuedBytes <= queuedBytesMax) return
    hold(connection, 'reading')
    void link.drained().then(() => {
      listen(connection, 'reading')
      this.#flush()
    })
  }

  #flowOf(number: number): Flow | undefined {
    const connection = this.#connections.get(number)
    if (connection === undefined) return undefined
    return {
      blocked: connection.held.has('reading'),
      pause: () => hold(connection, 'waiting'),
      resume: () => listen(connection, 'waiting'),
    }
  }

  /** The next tick is due in so many milliseconds, or earlier if it was: traffic does not put it off. */
  #tickIn(ms: number): void {
    const at = this.#env.clock.now() + ms
    if (this.#closed || (this.#tick !== undefined && this.#tickAt <= at)) return
    this.#tick?.cancel()
    this.#tickAt = at
    this.#tick = this.#env.timers.after(ms, () => {
      this.#tick = undefined
      this.#enqueue({ kind: 'tick' })
    })
  }
}

function hold({ link, held }: Connection, why: 'reading' | 'waiting'): void {
  held.add(why)
  link.pause()
}

function listen({ link, held }: Connection, why: 'reading' | 'waiting'): void {
  held.delete(why)
  if (held.size === 0) link.resume()
}
