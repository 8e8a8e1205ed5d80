/**
 * The master's live half as a deterministic, synchronous state machine: inputs go in by batches, and
 * what comes out may leave only after `step` has returned, since it commits the batch's changes in
 * one transaction first: one disk sync serves all that arrived meanwhile.
 *
 * Authoritative: the store. What the engine holds in memory (leases, locks, pins, connections,
 * orders) is told again by sessions and nodes after a restart. When `step` throws, memory and store
 * may differ: the engine is not to be used any more, and the process that runs it ends.
 */
import { assert } from '../../core/assert.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { RequestLog } from '../../core/request-log.ts'
import { MiB, minute } from '../../core/units.ts'
import { decodeWhole } from '../../wire/codec.ts'
import { NodeUp } from '../../wire/gen/cairn/v1/nodes.ts'
import { SessionUp, type SessionUpItem } from '../../wire/gen/cairn/v1/session.ts'
import { oneofPresent, toIno, u63 } from '../../wire/validate.ts'
import { Admin } from '../admin/admin.ts'
import { Damaged } from '../admin/damaged.ts'
import { Drains } from '../admin/drain.ts'
import { RemoveNode } from '../admin/remove-node.ts'
import { SetCopies } from '../admin/set-copies.ts'
import { stepDoomed, stepGoals } from '../extents/steps.ts'
import { mistrust } from '../fsck/integrity.ts'
import { boundLeases } from '../leases/bound-leases.ts'
import { LeaseTable } from '../leases/lease-table.ts'
import { Recalls } from '../leases/recalls.ts'
import { Admission } from '../exports/admission.ts'
import { Rates } from '../exports/rates.ts'
import { ReadShares } from '../exports/read-shares.ts'
import { Subtrees } from '../exports/subtree.ts'
import type { LogNode } from '../log/log-state.ts'
import { Inventory } from '../nodes/inventory.ts'
import { type Node, NodeRegistry, ns } from '../nodes/node-registry.ts'
import { SafeMode } from '../nodes/safe-mode.ts'
import { Unconfirmed } from '../nodes/unconfirmed.ts'
import { provenOf } from '../nodes/unproven.ts'
import { Planner } from '../placement/planner.ts'
import { Space } from '../placement/space.ts'
import { DoomedInstances } from '../removal/doomed-instances.ts'
import { Pins } from '../removal/pins.ts'
import { Removal } from '../removal/removal.ts'
import { Repair } from '../repair/repair.ts'
import { Suspects } from '../repair/suspects.ts'
import { Calls } from '../sessions/calls.ts'
import { LockCalls } from '../sessions/lock-calls.ts'
import { ReadKeys } from '../sessions/read-keys.ts'
import { SessionRegistry } from '../sessions/session-registry.ts'
import { jumpAhead } from '../store/jump-ahead.ts'
import { newestTime } from '../store/newest-time.ts'
import type { Store } from '../store/store.ts'
import { Entropy } from './entropy.ts'
import type { ConnectionKind, EngineInput, EngineMeasures, EngineOutput } from './io.ts'
import { Outbox } from './outbox.ts'
import { SessionLife } from './session-life.ts'
import { defaultSettings, type EngineSettings } from './settings.ts'
import type { Turn } from './turn.ts'

export interface EngineOptions {
  /** Version of the program, for status. */
  readonly program: string
  /** xxh64 with seed 0. */
  readonly hash: (bytes: Uint8Array) => bigint
  /** Milliseconds since any moment, for metrics alone: it decides nothing. */
  readonly stopwatch?: (() => number) | undefined
  /** What differs from the defaults. */
  readonly settings?: Partial<EngineSettings>
}

/** Background work is looked at this often while there is somebody to serve. */
const tickMs = 250
/** More work is waiting: right after what came in meanwhile. */
const busyTickMs = 5
/** Two batches further apart than this: the process was stopped, and nobody else was silent. */
const stoppedMs = 3000
/** Answers of one step: with more, the rest of its inputs waits for the next one. */
const replyBytesMax = 4 * MiB
/** A wall clock that jumped ahead by more than this would age what waits to be deleted. */
const jumpMs = 1 * minute

type Clock = Extract<EngineInput, { kind: 'clock' }>
type Known<T> = NonNullable<T>

export class MasterEngine {
  readonly #turn: Turn
  readonly #sessions: SessionRegistry
  readonly #readKeys: ReadKeys
  readonly #readShares: ReadShares
  readonly #nodes: NodeRegistry
  readonly #leases = new LeaseTable()
  readonly #recalls: Recalls
  readonly #locks: LockCalls
  readonly #calls: Calls
  readonly #life: SessionLife
  readonly #pins: Pins
  readonly #inventory: Inventory
  readonly #removal: Removal
  readonly #repair: Repair
  readonly #safeMode: SafeMode
  readonly #admin: Admin
  /** Connections that the front has, by what they are for. */
  readonly #connections = new Map<
    number,
    { readonly kind: ConnectionKind; readonly identity: string | undefined }
  >()
  /** No block is condemned to death before: the clock jumped. */
  #removalFromMs = Number.NEGATIVE_INFINITY
  /** The latest cluster time that the database knew of when it was opened. */
  readonly #openedTime: bigint
  #lastWall: bigint
  #lastTickMs: number

  /** `clock` is the moment of the start. */
  constructor(store: Store, clock: Clock, options: EngineOptions) {
    const settings = { ...defaultSettings, ...options.settings }
    const entropy = new Entropy()
    entropy.mix(clock.random)
    const turn: Turn = {
      store,
      settings,
      out: new Outbox(),
      entropy,
      now: clock.now,
      // Cluster time goes on where it was, even if this machine's clock was set back.
      time: maximum(clock.wall, newestTime(store)),
      rssBytes: clock.rssBytes,
      backups: undefined,
      integrity: undefined,
      log: clock.log,
      diskFull: clock.diskFull,
      diskSpent: clock.diskSpent === true,
    }
    this.#turn = turn
    this.#lastWall = clock.wall
    this.#lastTickMs = clock.now
    store.transaction(() => store.format.beginIncarnation())
    this.#sessions = new SessionRegistry(turn)
    this.#readKeys = new ReadKeys(turn)
    this.#nodes = new NodeRegistry(turn, () => this.#readKeys.all)
    this.#recalls = new Recalls(turn)
    this.#pins = new Pins(settings.pinMs)
    const unconfirmed = new Unconfirmed(store)
    const suspects = new Suspects(store)
    const doomed = new DoomedInstances(turn)
    const planner = new Planner(turn, this.#nodes, this.#pins, unconfirmed, suspects, doomed)
    const space = new Space(turn, this.#nodes, this.#sessions)
    this.#safeMode = new SafeMode(turn, this.#nodes)
    this.#removal = new Removal(
      turn,
      this.#nodes,
      this.#pins,
      suspects,
      doomed,
      () =>
        this.#life.isGracePeriod ||
        store.restores.pending !== undefined ||
        this.#safeMode.isOn ||
        mistrust(turn.integrity) !== '',
      () => space.isShort,
    )
    this.#repair = new Repair({
      turn,
      nodes: this.#nodes,
      planner,
      removal: this.#removal,
      unconfirmed,
      suspects,
      safeMode: this.#safeMode,
    })
    this.#inventory = new Inventory(
      turn,
      this.#nodes,
      unconfirmed,
      doomed,
      options.hash,
      this.#repair,
      node => this.#rolledBack(node),
    )
    this.#openedTime = newestTime(store)
    this.#locks = new LockCalls(
      turn,
      this.#leases,
      session => this.#life.reclaimed(session),
      ino => this.#recallAll(ino),
      id => this.#sessions.find(id)?.row.identity,
    )
    const subtrees = new Subtrees(store)
    const nodesUp = (): number => [...this.#nodes.all()].filter(({ isUp }) => isUp).length
    this.#readShares = new ReadShares(turn, nodesUp)
    this.#calls = new Calls({
      readShares: this.#readShares,
      admission: new Admission(turn, subtrees),
      subtrees,
      rates: new Rates(turn, session => this.#recalls.isAnyUnderWay(session.id)),
      stopwatch: options.stopwatch ?? (() => 0),
      requests: new RequestLog(
        (message, fields) => turn.out.log('warn', message, fields),
        options.stopwatch ?? (() => 0),
        settings.slowMs,
      ),
      turn,
      sessions: this.#sessions,
      leases: this.#leases,
      recalls: this.#recalls,
      planner,
      space,
      locks: this.#locks,
      readKeys: this.#readKeys,
      damaged: (id, node, what) => this.#repair.reported(id, node, what),
      committed: proofs => {
        planner.committed(proofs)
        this.#repair.committed(proofs)
      },
      isFreeing: () => this.#removal.isFreeing,
      died: (by, who) => this.#life.died(by, who),
    })
    this.#life = new SessionLife({
      turn,
      sessions: this.#sessions,
      calls: this.#calls,
      leases: this.#leases,
      recalls: this.#recalls,
      locks: this.#locks,
      pins: this.#pins,
      nodes: this.#nodes,
      closed: connection => this.#closed(connection),
      forgotten: connection => this.#connections.delete(connection),
    })
    this.#admin = new Admin(turn, {
      startedMs: clock.now,
      program: options.program,
      nodes: this.#nodes,
      sessions: this.#sessions,
      leases: this.#leases,
      locks: this.#locks,
      space,
      repair: this.#repair,
      safeMode: this.#safeMode,
      planner,
      readKeys: this.#readKeys,
      recalls: this.#recalls,
      calls: this.#calls,
      removal: this.#removal,
      measures: () => this.#measures(),
      paused: () => this.#removalPaused(),
      evict: session => this.#life.end(session, 'An operator ended it'),
      exportChanged: name => this.#life.exportChanged(name),
      setCopies: new SetCopies(turn),
      drains: new Drains(turn, this.#nodes, this.#repair),
      removeNode: new RemoveNode(turn, this.#nodes, this.#repair, this.#removal),
      damaged: new Damaged(turn, this.#repair, suspects),
    })
  }

  /**
   * Runs a batch, which begins with its time, or its beginning (`left`). What it returns may leave: it is on the disk.
   */
  step(inputs: readonly EngineInput[]): EngineOutput[] {
    const { store, out } = this.#turn
    store.begin()
    try {
      let wakeMs = tickMs
      let left = inputs.length
      for (const input of inputs) {
        wakeMs = Math.min(wakeMs, this.#run(input))
        this.#settle()
        left--
        if (out.replyBytes > replyBytesMax) break
      }
      if (this.#repair.wantsTick) wakeMs = busyTickMs
      wakeMs = Math.min(wakeMs, this.#calls.wakeMs)
      store.commit()
      this.#admin.afterCommit()
      return [...out.take(), { kind: 'state', time: this.#turn.time, wakeMs, left }]
    } catch (thrown) {
      store.rollback()
      throw thrown
    }
  }

  /** Where the log may be kept. */
  get logNodes(): LogNode[] {
    return [...this.#nodes.all()].map(({ id, row, isUp, accepts }) => {
      const { address, zone, host, key } = row
      return { node: id, address, zone, host, key, isUp, suits: accepts }
    })
  }

  get time(): bigint {
    return this.#turn.time
  }

  /** Returns when to tick next. */
  #run(input: EngineInput): number {
    switch (input.kind) {
      case 'clock':
        this.#setClock(input)
        return tickMs
      case 'opened':
        this.#connections.set(input.connection, { kind: input.of, identity: input.identity })
        return tickMs
      case 'frame':
        this.#frame(input.connection, input.bytes)
        return tickMs
      case 'closed':
        this.#closed(input.connection)
        return tickMs
      case 'admin':
        this.#admin.receive(input.call, input.method, input.bytes)
        return busyTickMs
      case 'backups':
        this.#turn.backups = input.state
        return tickMs
      case 'integrity':
        this.#turn.integrity = input.state
        return tickMs
      case 'identities': {
        const good = new Set(input.good)
        this.#nodes.disown(good)
        this.#life.identitiesChanged(good, input.exports ?? new Map())
        return tickMs
      }
      case 'measure':
        this.#turn.out.measured(input.call, this.#measures())
        return tickMs
      case 'tick':
        return this.#tick() ? busyTickMs : tickMs
      case 'flush':
        return tickMs
    }
  }

  #measures(): EngineMeasures {
    let waiting = 0
    for (const session of this.#sessions.all()) waiting += session.parked.size
    return { calls: this.#calls.times.rows(), waiting }
  }

  /** What an input made possible: calls that waited for leases or locks. */
  #settle(): void {
    for (;;) {
      this.#calls.drain()
      const granted = this.#locks.takeGranted()
      if (granted.length === 0) return
      for (const { session, call } of granted) {
        const holder = this.#sessions.find(session)
        if (holder !== undefined) this.#calls.lockGranted(holder, call)
      }
    }
  }

  #setClock({ now, wall, random, rssBytes, diskFull, diskSpent = false, log, waiting = [] }: Clock): void {
    const turn = this.#turn
    turn.log = log
    turn.entropy.mix(random)
    turn.rssBytes = rssBytes
    turn.diskSpent = diskSpent
    if (turn.diskFull !== diskFull) this.#noteRoom(diskFull)
    const elapsed = Math.max(0, now - turn.now)
    turn.now = Math.max(turn.now, now)
    if (wall - this.#lastWall > ns(elapsed + jumpMs)) {
      turn.out.log('warn', 'the clock jumped ahead: blocks are removed later', {
        seconds: (wall - this.#lastWall) / 1_000_000_000n,
      })
      this.#removalFromMs = turn.now + turn.settings.condemnedMs
    }
    this.#lastWall = wall
    turn.time = maximum(wall, turn.time + maximum(ns(elapsed), 1n))
    this.#noteWaiting(waiting)
  }

  /** Mounts promise nothing more that needs room, before anything is refused that they have promised. */
  #noteRoom(full: boolean): void {
    const { out } = this.#turn
    out.log(full ? 'error' : 'info', full ? 'the disk is full: changes are refused' : 'the disk has room')
    this.#turn.diskFull = full
    for (const { connection } of this.#sessions.all())
      if (connection !== undefined) out.session(connection, { $case: 'room', value: { full } })
  }

  /** Whose frames wait for others' is not silent. */
  #noteWaiting(connections: readonly number[]): void {
    this.#life.noteWaiting(connections)
    for (const connection of connections) {
      const node = this.#nodes.ofConnection(connection)
      if (node !== undefined) node.heardMs = this.#turn.now
    }
  }

  // ---- connections

  #frame(connection: number, bytes: Uint8Array): void {
    const opened = this.#connections.get(connection)
    // Frames that were on their way when the engine closed the connection.
    if (opened === undefined) return
    const { kind } = opened
    try {
      if (kind === 'session') this.#sessionFrame(connection, decodeWhole(SessionUp, 'SessionUp', bytes))
      else this.#nodeFrame(connection, decodeWhole(NodeUp, 'NodeUp', bytes))
    } catch (thrown) {
      if (!this.#turn.store.canGoOn(thrown)) throw thrown
      const error = FsError.from(thrown)
      const bug = thrown instanceof FsError ? {} : { stack: (thrown as Error).stack ?? messageOf(thrown) }
      this.#turn.out.log('warn', 'connection closed', { connection, kind, reason: error.message, ...bug })
      this.#turn.out.close(connection, error)
      this.#closed(connection)
    }
  }

  #closed(connection: number, inOrder = false): void {
    this.#connections.delete(connection)
    const session = this.#sessions.disconnected(connection)
    if (session !== undefined) this.#calls.forget(session)
    const node = this.#nodes.disconnected(connection, inOrder)
    if (node !== undefined) this.#nodeDown(node)
  }

  #sessionFrame(connection: number, frame: SessionUp): void {
    const known = this.#sessions.ofConnection(connection)
    if (known !== undefined) {
      known.heardMs = this.#turn.now
      const acked = u63(frame.acked, 'acked')
      if (acked > known.acked) known.acked = acked
    }
    for (const { item } of frame.items) {
      this.#sessionItem(connection, oneofPresent(item, 'items.item'))
      if (!this.#connections.has(connection)) return
    }
  }

  #sessionItem(connection: number, item: Known<SessionUpItem['item']>): void {
    const session = this.#sessions.ofConnection(connection)
    if (item.$case === 'hello') {
      if (session !== undefined) throw new FsError('EPROTO', 'A second Hello on a connection')
      const welcomed = this.#sessions.hello(
        connection,
        item.value,
        this.#connections.get(connection)?.identity,
      )
      if (welcomed === undefined) this.#connections.delete(connection)
      else {
        // A connection that this one replaced may have left some.
        this.#calls.forget(welcomed)
        this.#recalls.resend(welcomed)
      }
      return
    }
    if (session === undefined) throw new FsError('EPROTO', `${item.$case} before Hello`)
    switch (item.$case) {
      case 'call':
        this.#calls.receive(session, { ...item.value, id: u63(item.value.id, 'call.id') })
        return
      case 'cancel':
        this.#calls.cancel(session, item.value.id)
        return
      case 'recallDone': {
        this.#calls.recallDone(session, toIno(item.value.ino), item.value)
        return
      }
      case 'heartbeat':
        session.dirtyBytes = u63(item.value.dirtyBytes, 'heartbeat.dirty_bytes')
        session.flow.note(
          this.#turn.now,
          u63(item.value.storedBytes, 'heartbeat.stored_bytes'),
          u63(item.value.fetchedBytes, 'heartbeat.fetched_bytes'),
        )
        return
      case 'storing':
        this.#calls.storing(session, toIno(item.value.ino, 'storing.ino'))
        return
      case 'release':
        for (const ino of item.value.inos) this.#calls.release(session, toIno(ino, 'release.inos'))
        return
      case 'goodbye':
        this.#life.end(session, undefined)
        this.#turn.out.close(connection)
        this.#connections.delete(connection)
    }
  }

  #nodeFrame(connection: number, { item: unknown }: NodeUp): void {
    const item = oneofPresent(unknown, 'item')
    const node = this.#nodes.ofConnection(connection)
    if (item.$case === 'register') {
      if (node !== undefined) throw new FsError('EPROTO', 'A second Register on a connection')
      const accepted = this.#nodes.register(
        connection,
        item.value,
        this.#connections.get(connection)?.identity,
      )
      if (accepted === undefined) this.#connections.delete(connection)
      else this.#nodeUp(accepted, item.value.sequence)
      return
    }
    if (node === undefined) throw new FsError('EPROTO', `${item.$case} before Register`)
    node.heardMs = this.#turn.now
    switch (item.$case) {
      case 'heartbeat':
        this.#nodes.heartbeat(node, item.value)
        this.#nodes.answer(node, {
          readShares: this.#readShares.demanded(node.id, item.value.readDemands),
          proven: provenOf(this.#turn.store.blocks, item.value.unproven),
        })
        return
      case 'changes':
        this.#inventory.changes(node, item.value)
        return
      case 'digest':
        this.#inventory.digest(node, item.value)
        return
      case 'listing':
        this.#inventory.listing(node, item.value)
        return
      case 'deleted':
        this.#removal.deleted(node, item.value)
        return
      case 'copied':
        for (const result of item.value.results) this.#repair.copied(node, result)
        return
      case 'damaged':
        this.#repair.damaged(node, item.value)
        return
      case 'goodbye':
        this.#turn.out.close(connection)
        this.#closed(connection, true)
    }
  }

  #nodeUp(node: Node, sequence: bigint): void {
    // A connection that this one replaced may have had orders.
    this.#removal.detached(node)
    this.#inventory.attached(node, sequence)
    this.#repair.nodeChanged(node)
  }

  #nodeDown(node: Node): void {
    this.#removal.detached(node)
    this.#inventory.detached(node)
    this.#repair.nodeChanged(node)
  }

  /**
   * Somebody put an older file in the place of the database, and nobody restored it: what can still be saved is
   * what a restore saves, but for the sessions, which have gone on already.
   */
  #rolledBack(node: Node): void {
    const { store, time, out } = this.#turn
    const { restores } = store
    if (restores.isUnverified(node.id)) return
    if (restores.pending !== undefined) {
      restores.unverify(node.id)
      return
    }
    const ids = jumpAhead(store, this.#openedTime, time)
    restores.began(
      { taken: this.#openedTime, restored: time, byHand: true, ...ids },
      [...this.#nodes.all()].map(({ id }) => id),
    )
    out.log('error', 'the database is older than what a chunkserver was told: nothing is removed', {
      node: node.id,
    })
  }

  /** Why nothing is removed now. */
  #removalPaused(): string {
    const { store, now } = this.#turn
    if (store.restores.pending !== undefined) return 'a restore is not confirmed: cairn restore status'
    if (this.#safeMode.isOn) return `safe mode: ${this.#safeMode.reason}`
    if (this.#life.isGracePeriod) return 'mounts have yet to say what they held before the restart'
    const mistrusted = mistrust(this.#turn.integrity)
    if (mistrusted !== '') return mistrusted
    const leftMs = this.#removalFromMs - now
    return leftMs <= 0 ? '' : `the clock jumped ahead: it goes on in ${Math.ceil(leftMs / minute)} min`
  }

  // ---- background

  /** Expiry and a bounded amount of background work. True if there is more to do now. */
  #tick(): boolean {
    const { now, store, settings, time } = this.#turn
    const gap = now - this.#lastTickMs
    this.#lastTickMs = now
    if (gap > stoppedMs) {
      this.#sessions.forgive(gap)
      this.#nodes.forgive(gap)
    }
    this.#life.expire()
    for (const connection of this.#nodes.silent()) {
      this.#turn.out.close(connection, new FsError('ETIMEDOUT', 'The chunkserver was silent for too long'))
      this.#closed(connection)
    }
    this.#safeMode.check()
    const readKeys = this.#readKeys.rotate()
    if (readKeys.length > 0) this.#nodes.tellReadKeys(readKeys)
    this.#pins.tick(now)
    this.#locks.tick()
    this.#sessions.trimReplies()
    boundLeases(this.#turn, this.#sessions, this.#leases, this.#recalls)
    assert(store.inTransaction, 'a tick runs in a transaction')
    const rows = settings.rowsPerTick
    const orphans = this.#life.stepOrphans(rows)
    const doomed = stepDoomed(store, rows, time)
    const goals = stepGoals(store, rows)
    const asked = this.#admin.step(rows)
    const inventory = this.#inventory.step(rows)
    const repair = this.#repair.step(rows)
    const removal = now >= this.#removalFromMs && this.#removal.step(rows)
    return orphans || doomed || goals || asked || inventory || repair || removal
  }

  #recallAll(ino: Ino): void {
    for (const holder of this.#leases.holders(ino)) {
      const session = this.#sessions.find(holder.session)
      if (session !== undefined && holder.lease !== 'none') this.#recalls.ask(session, ino, 'none', 'plain')
    }
  }
}

const maximum = (a: bigint, b: bigint): bigint => (a > b ? a : b)
