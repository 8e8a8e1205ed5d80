import Database from 'better-sqlite3'
import { createHash } from 'node:crypto'
import { blockIdOf, createChecksums, type Checksums } from '#src/core/checksum.ts'
import { FsError } from '#src/core/errors.ts'
import type { AdminMethod, EngineInput, EngineOutput } from '#src/master/engine/io.ts'
import { MasterEngine } from '#src/master/engine/master-engine.ts'
import type { EngineSettings } from '#src/master/engine/settings.ts'
import { Store } from '#src/master/store/store.ts'
import {
  type Delete,
  NodeDown,
  NodeUp,
  type ReadDemand,
  type ReadKey,
  type ReadShare,
  type UnprovenBlock,
} from '#src/wire/gen/cairn/v1/nodes.ts'
import { errorToWire } from '#src/wire/attr.ts'
import type { Receipt, Target } from '#src/wire/gen/cairn/v1/common.ts'
import { type Call, type Hello, type Reply, SessionDown, SessionUp } from '#src/wire/gen/cairn/v1/session.ts'
import { wireVersion } from '#src/core/limits.ts'
import { isGrantMac, receiptMac } from '#src/wire/mac.ts'

export type Op = NonNullable<Call['op']>
export type Result = NonNullable<Reply['result']>
export type SessionItem = NonNullable<SessionDown['items'][number]['item']>
export type NodeItem = NonNullable<NodeDown['item']>
type UpItem = NonNullable<SessionUp['items'][number]['item']>

const wallAtStart = 1_700_000_000_000_000_000n
export const blockBytes = 1 << 20
export const sha = (text: string | Uint8Array): Buffer => createHash('sha256').update(text).digest()

/** A master's engine on a database in memory and virtual time, and those who talk with it. */
export class EngineFixture {
  now = 1000
  diskFull = false
  diskSpent = false
  /** Whose certificate they come with who connect now. */
  identity: string | undefined
  /** Added to the wall clock. */
  wallOffset = 0n
  readonly logs: string[] = []
  readonly answers = new Map<number, { bytes?: Uint8Array; code?: string; message?: string }>()
  readonly #peers = new Map<number, Peer>()
  readonly #checksums: Checksums
  readonly #settings: Partial<EngineSettings>
  store: Store
  engine: MasterEngine
  #next = 1

  static async make(
    settings: Partial<EngineSettings> = {},
    format: { copies?: number; minCopies?: number } = {},
  ): Promise<EngineFixture> {
    return new EngineFixture(await createChecksums(), settings, format)
  }

  private constructor(
    checksums: Checksums,
    settings: Partial<EngineSettings>,
    { copies = 3, minCopies = 2 }: { copies?: number; minCopies?: number },
  ) {
    this.#checksums = checksums
    this.#settings = settings
    const cluster = Buffer.alloc(16, 7)
    this.store = Store.format(new Database(':memory:'), {
      cluster,
      blockBytes,
      copies,
      minCopies,
      created: wallAtStart,
    })
    this.engine = this.#start()
  }

  /** Connections of which frames came that wait for a later step. */
  waiting: readonly number[] = []

  get wall(): bigint {
    return wallAtStart + BigInt(Math.round(this.now * 1e6)) + this.wallOffset
  }

  hash(bytes: Uint8Array): bigint {
    return this.#checksums.xxh64(bytes)
  }

  #clock(): Extract<EngineInput, { kind: 'clock' }> {
    return {
      kind: 'clock',
      now: this.now,
      wall: this.wall,
      random: Buffer.alloc(32, this.now),
      rssBytes: 1,
      diskFull: this.diskFull,
      diskSpent: this.diskSpent,
      waiting: this.waiting,
    }
  }

  #start(): MasterEngine {
    return new MasterEngine(this.store, this.#clock(), {
      program: 'test',
      hash: bytes => this.#checksums.xxh64(bytes),
      settings: this.#settings,
    })
  }

  /** A new engine over the same database: what was only in memory is gone, and so are the connections. */
  restart(): void {
    for (const peer of this.#peers.values()) peer.closed ??= 'restart'
    this.#peers.clear()
    this.engine = this.#start()
  }

  /** The master is lost and another one begins over a restored database; the old one is closed. */
  replace(store: Store): void {
    this.store.close()
    this.store = store
    this.restart()
  }

  step(...inputs: EngineInput[]): void {
    for (const output of this.engine.step([this.#clock(), ...inputs])) this.#handle(output)
  }

  /** Time passes, with a tick every 250 ms, while those who beat keep beating. */
  pass(ms: number, ...beating: Peer[]): void {
    const until = this.now + ms
    while (this.now < until) {
      this.now = Math.min(until, this.now + 250)
      for (const peer of beating) peer.beat()
      this.step({ kind: 'tick' })
    }
  }

  open(of: 'session' | 'node', peer: Peer): number {
    const connection = this.#next++
    this.#peers.set(connection, peer)
    this.step({ kind: 'opened', connection, of, peer: 'test', identity: this.identity })
    return connection
  }

  drop(connection: number): void {
    this.#peers.delete(connection)
    this.step({ kind: 'closed', connection })
  }

  admin(method: AdminMethod, bytes: Uint8Array): { bytes?: Uint8Array; code?: string; message?: string } {
    const call = this.#next++
    this.step({ kind: 'admin', call, method, bytes })
    for (let tick = 0; tick < 50 && !this.answers.has(call); tick++) this.pass(250)
    return this.answers.get(call) ?? {}
  }

  #handle(output: EngineOutput): void {
    switch (output.kind) {
      case 'frame':
        this.#peers.get(output.connection)?.receive(output.bytes)
        return
      case 'close': {
        const peer = this.#peers.get(output.connection)
        if (peer !== undefined) peer.closed = output.message === '' ? 'closed' : output.message
        this.#peers.delete(output.connection)
        return
      }
      case 'answer':
        this.answers.set(output.call, { bytes: output.bytes })
        return
      case 'failure':
        this.answers.set(output.call, { code: output.code, message: output.message })
        return
      case 'log':
        this.logs.push(`${output.level} ${output.message}`)
        return
      case 'logged':
      case 'measured':
      case 'welcomed':
      case 'state':
        return
    }
  }
}

export interface Peer {
  closed: string | undefined
  receive(bytes: Uint8Array): void
  beat(): void
}

type ResultOf<Case extends Result['$case']> = Extract<Result, { $case: Case }>

const show = (value: unknown): string =>
  JSON.stringify(value, (_, field: unknown) => (typeof field === 'bigint' ? field.toString() : field))

const noBytes = new Uint8Array(0)

/** A mount. */
export class Mount implements Peer {
  readonly #fixture: EngineFixture
  connection: number
  closed: string | undefined
  /** All that came and was not taken. */
  items: SessionItem[] = []
  session = 0n
  epoch = 0n
  secret: Uint8Array = noBytes
  /** What its ids of blocks are made with. */
  domain: Uint8Array = noBytes
  acked = 0n
  traffic = { fetchedBytes: 0n, storedBytes: 0n }
  #lastId = 0n

  constructor(fixture: EngineFixture, hello: Partial<Hello> = {}) {
    this.#fixture = fixture
    this.connection = fixture.open('session', this)
    this.hello(hello)
  }

  hello(hello: Partial<Hello> = {}): void {
    this.up({
      $case: 'hello',
      value: {
        versionMin: 1,
        versionMax: wireVersion,
        session: this.session,
        epoch: this.epoch,
        secret: this.secret,
        cluster: noBytes,
        host: 'h1',
        mountpoint: '/mnt',
        pid: 1,
        program: 'test',
        zone: 'z',
        readOnly: false,
        clock: 0n,
        export: '',
        ...hello,
      },
    })
    const welcome = this.items.find(item => item.$case === 'welcome')
    if (welcome?.$case !== 'welcome') return
    this.session = welcome.value.session
    this.epoch = welcome.value.epoch
    this.secret = welcome.value.secret
    this.domain = welcome.value.dedupDomain
  }

  /** The id of a block of this content, as this mount makes it. */
  idOf(text: string): Buffer {
    return Buffer.from(blockIdOf(Buffer.from(text), this.domain), 'hex')
  }

  /** Comes back on another connection. */
  reattach(): SessionItem | undefined {
    this.#fixture.drop(this.connection)
    this.closed = undefined
    this.items = []
    this.connection = this.#fixture.open('session', this)
    this.hello()
    return this.items.shift()
  }

  lose(): void {
    this.#fixture.drop(this.connection)
  }

  receive(bytes: Uint8Array): void {
    for (const { item } of SessionDown.decode(bytes).items) if (item !== undefined) this.items.push(item)
  }

  raw(bytes: Uint8Array): void {
    this.#fixture.step({ kind: 'frame', connection: this.connection, bytes })
  }

  up(...items: UpItem[]): void {
    this.raw(SessionUp.encode({ items: items.map(item => ({ item })), acked: this.acked }).finish())
  }

  beat(): void {
    if (this.closed === undefined)
      this.up({ $case: 'heartbeat', value: { sentMs: 1n, dirtyBytes: 0n, ...this.traffic } })
  }

  /** Sends a call without looking for its answer; returns its id. `promised`: a program has its answer already. */
  send(op: Op, id: bigint = this.#lastId + 1n, promised = false): bigint {
    if (id > this.#lastId) this.#lastId = id
    this.up({ $case: 'call', value: { id, op, promised } })
    return id
  }

  /** The answer to a call, if it came; taken. */
  answer(id: bigint): Reply | undefined {
    const index = this.items.findIndex(item => item.$case === 'reply' && item.value.id === id)
    if (index === -1) return undefined
    const [item] = this.items.splice(index, 1)
    return item?.$case === 'reply' ? item.value : undefined
  }

  reply(op: Op): Reply {
    const reply = this.answer(this.send(op))
    if (reply === undefined) throw new Error(`no answer to ${op.$case}`)
    return reply
  }

  /** The result of a call that is answered at once. */
  call<Case extends Result['$case']>(op: Op, expected: Case): ResultOf<Case>['value'] {
    const { result } = this.reply(op)
    if (result?.$case !== expected) throw new Error(`${op.$case}: ${expected} expected, got ${show(result)}`)
    return result.value as ResultOf<Case>['value']
  }

  errno(op: Op): number {
    return this.call(op, 'error').errno
  }

  /** Recalls that came; taken. */
  recalls(): { id: bigint; ino: bigint; to: number; removing: boolean }[] {
    const found = this.items.flatMap(item => (item.$case === 'recall' ? [item.value] : []))
    this.items = this.items.filter(item => item.$case !== 'recall')
    return found
  }

  /** Answers every recall by giving all up that is asked. */
  yieldAll(open = false): number {
    const recalls = this.recalls()
    for (const { id, ino, to } of recalls)
      this.up({ $case: 'recallDone', value: { id, ino, kept: to as 0 | 1 | 2, open, writing: false } })
    return recalls.length
  }
}

/** A chunkserver that keeps what it is told to. */
export class ChunkNode implements Peer {
  readonly #fixture: EngineFixture
  #version = wireVersion
  readonly store: Buffer
  readonly host: string
  connection: number
  closed: string | undefined
  items: NodeItem[] = []
  node = 0n
  key: Uint8Array = noBytes
  /** Of tokens to read blocks: those that it was told last. */
  readKeys: readonly ReadKey[] = []
  incarnation = 1n
  sequence = 0n
  traffic = { receivedBytes: 0n, sentBytes: 0n }
  demands: ReadDemand[] = []
  /** Files that it asks about with its next heartbeats, and those that it was told to be what their names say. */
  unproven: UnprovenBlock[] = []
  readonly proven: string[] = []
  /** What of the rates of exports it was told last. */
  readShares: readonly ReadShare[] = []
  /** Instances by id in hex. */
  readonly blocks = new Map<string, { generation: bigint; length: number }>()
  /** Changes that the master has not acknowledged. */
  readonly unacked: { sequence: bigint; id: Buffer; generation: bigint; length: number; removed: boolean }[] =
    []
  totalBytes = 1n << 40n
  usedBytes = 0n
  /** Answers orders and questions by itself. */
  obedient = true
  failDeletes = false
  /** Blocks in hex that it cannot copy: nobody has a good one. */
  rotten: ReadonlySet<string> = new Set()
  /** Keeps orders to delete until it is told to carry them out. */
  hesitant = false
  readonly deletes: Delete[] = []
  failing = false

  constructor(fixture: EngineFixture, name: string, host = name) {
    this.#fixture = fixture
    this.store = sha(name).subarray(0, 16)
    this.host = host
    this.connection = fixture.open('node', this)
    this.register()
  }

  /** Comes back as a program that speaks the protocol up to this version. */
  speak(version: number): void {
    this.#version = version
    this.reattach()
    this.beat()
  }

  register(cluster: Uint8Array = noBytes): void {
    this.up({
      $case: 'register',
      value: {
        versionMin: 1,
        versionMax: this.#version,
        cluster,
        node: this.node,
        store: this.store,
        incarnation: this.incarnation,
        address: `${this.host}:1`,
        zone: this.host,
        host: this.host,
        totalBytes: this.totalBytes,
        usedBytes: 0n,
        blocks: BigInt(this.blocks.size),
        program: 'test',
        sequence: this.sequence,
      },
    })
    const accepted = this.items.find(item => item.$case === 'accepted')
    if (accepted?.$case !== 'accepted') return
    this.items = this.items.filter(item => item !== accepted)
    this.node = accepted.value.node
    this.key = accepted.value.key
    this.readKeys = accepted.value.readKeys
    // What it had acknowledged once it does not know any more: it skips that.
    if (this.unacked.length === 0 && accepted.value.knownSequence < this.sequence)
      this.up({ $case: 'changes', value: { first: this.sequence + 1n, changes: [] } })
    this.#sendChanges()
    this.obey()
  }

  lose(): void {
    this.#fixture.drop(this.connection)
    this.closed = 'lost'
  }

  reattach(): void {
    if (this.closed === undefined) this.#fixture.drop(this.connection)
    this.closed = undefined
    this.items = []
    this.incarnation += 1n
    this.connection = this.#fixture.open('node', this)
    this.register()
  }

  receive(bytes: Uint8Array): void {
    const { item } = NodeDown.decode(bytes)
    if (item?.$case === 'heartbeat' && item.value.readKeys.length > 0) this.readKeys = item.value.readKeys
    if (item?.$case === 'heartbeat') {
      this.readShares = item.value.readShares
      this.proven.push(...item.value.proven.map(id => Buffer.from(id).toString('hex')))
    }
    if (item !== undefined) this.items.push(item)
  }

  up(item: NonNullable<NodeUp['item']>): void {
    if (this.closed !== undefined) return
    this.#fixture.step({
      kind: 'frame',
      connection: this.connection,
      bytes: NodeUp.encode({ item }).finish(),
    })
  }

  beat(): void {
    this.up({
      $case: 'heartbeat',
      value: {
        totalBytes: this.totalBytes,
        usedBytes: this.usedBytes,
        blocks: BigInt(this.blocks.size),
        refusing: this.failing,
        readDemands: this.demands,
        unproven: this.unproven,
        reason: '',
        load: 0,
        sentMs: 1n,
        failing: this.failing,
        scrub: undefined,
        ...this.traffic,
      },
    })
    this.obey()
  }

  /** Stores a block as a client's put does, and gives the receipt. Its change is told later, by `tell`. */
  put(target: Target, id: Buffer, length: number): Receipt {
    const grant = target.grant
    if (grant === undefined || target.node !== this.node) throw new Error('grant of another node')
    if (!isGrantMac(this.key, { ...grant, block: id, length }, grant.mac)) throw new Error('bad grant')
    return this.keep(id, length, grant)
  }

  keep(
    id: Buffer,
    length: number,
    grant: { generation: bigint; session: bigint; epoch: bigint; expiry: bigint },
  ): Receipt {
    const { generation, session, epoch, expiry } = grant
    this.blocks.set(id.toString('hex'), { generation, length })
    this.#change({ id, generation, length, removed: false })
    const claim = { node: this.node, incarnation: this.incarnation, generation, session, epoch, expiry }
    return { ...claim, mac: receiptMac(this.key, { ...claim, block: id, length }) }
  }

  #change(change: { id: Buffer; generation: bigint; length: number; removed: boolean }): void {
    this.sequence += 1n
    this.unacked.push({ sequence: this.sequence, ...change })
  }

  /** Tells the master of all changes that it does not know. */
  tell(): void {
    this.#sendChanges()
    this.obey()
  }

  #sendChanges(): void {
    const [first] = this.unacked
    if (first === undefined) return
    const changes = this.unacked.map(({ id, generation, length, removed }) => ({
      id,
      generation,
      length,
      removed,
    }))
    this.up({ $case: 'changes', value: { first: first.sequence, changes } })
  }

  /** Loses a block behind everybody's back. */
  forget(id: Buffer): void {
    this.blocks.delete(id.toString('hex'))
  }

  /** Does what the master asked. */
  obey(): void {
    while (this.obedient) {
      const item = this.items.shift()
      if (item === undefined) return
      this.#obeyOne(item)
    }
  }

  #obeyOne(item: NodeItem): void {
    switch (item.$case) {
      case 'ackChanges': {
        const { sequence } = item.value
        while (this.unacked[0] !== undefined && this.unacked[0].sequence <= sequence) this.unacked.shift()
        return
      }
      case 'delete':
        this.deletes.push(item.value)
        if (!this.hesitant) this.carryOut()
        return
      case 'copy': {
        const results = item.value.orders.map(({ order, id, length, grant }) => {
          if (grant === undefined) throw new Error('copy without grant')
          if (this.rotten.has(Buffer.from(id).toString('hex')))
            return {
              order,
              receipt: undefined,
              error: errorToWire(new FsError('EIO', 'rotten')),
              badSources: [],
            }
          const receipt = this.keep(Buffer.from(id), length, grant)
          return { order, receipt, error: undefined, badSources: [] }
        })
        this.up({ $case: 'copied', value: { results } })
        this.#sendChanges()
        return
      }
      case 'askDigest':
        this.#answerDigest(item.value.prefixBits)
        return
      case 'askBuckets':
        for (const bucket of item.value.buckets) this.#answerBucket(item.value.prefixBits, bucket)
        return
      case 'accepted':
      case 'refused':
      case 'heartbeat':
      case 'scrub':
        return
    }
  }

  /** Deletes what it was told to. */
  carryOut(): void {
    for (const { order, blocks } of this.deletes.splice(0)) {
      const errors = this.failDeletes ? [{ errno: 5, message: 'bad disk' }] : []
      for (const { id, generation } of this.failDeletes ? [] : blocks) {
        const name = Buffer.from(id).toString('hex')
        if (this.blocks.get(name)?.generation !== generation) continue
        this.blocks.delete(name)
        this.#change({ id: Buffer.from(id), generation, length: 0, removed: true })
      }
      this.up({ $case: 'deleted', value: { order, errors, sequence: this.sequence } })
      this.#sendChanges()
    }
  }

  #bucket(id: string, bits: number): number {
    return bits === 0 ? 0 : Number.parseInt(id.slice(0, 4), 16) >>> (16 - bits)
  }

  #answerDigest(prefixBits: number): void {
    const digests = Array.from({ length: 2 ** prefixBits }, () => 0n)
    for (const [id, { generation, length }] of this.blocks) {
      const bytes = Buffer.alloc(44)
      bytes.write(id, 'hex')
      bytes.writeBigUInt64BE(generation, 32)
      bytes.writeUInt32BE(length, 40)
      const bucket = this.#bucket(id, prefixBits)
      digests[bucket] = (digests[bucket] ?? 0n) ^ this.#fixture.hash(bytes)
    }
    this.up({ $case: 'digest', value: { sequence: this.sequence, prefixBits, digests } })
  }

  #answerBucket(prefixBits: number, bucket: number): void {
    const blocks = [...this.blocks]
      .filter(([id]) => this.#bucket(id, prefixBits) === bucket)
      .map(([id, { generation, length }]) => ({
        id: Buffer.from(id, 'hex'),
        generation,
        length,
        removed: false,
      }))
    this.up({ $case: 'listing', value: { sequence: this.sequence, prefixBits, bucket, blocks, last: true } })
  }
}
