/**
 * Executes the calls of sessions, one after the other, and makes them wait where they must: for
 * recalls of other sessions' leases, for locks, and after a restart for sessions that have not said
 * yet what they hold.
 *
 * A command's encoded reply is stored with its effects, in the transaction of the step, until the
 * session acknowledges it: the same id sent again is answered from there, without leases. A waiting
 * call waits in memory; after a restart it is sent again by its session and waits again.
 *
 * While calls wait for an inode nobody is granted a lease on it, so that those who wait get their
 * turn; calls that are in nobody's way still run. The one exception is a mount whose kernel keeps pages of
 * what it writes through: nobody would tell it else when they become false. There is at most one such mount
 * of an inode, and while it is recalled it is granted nothing: it keeps nobody waiting twice.
 */
import { must } from '../../core/assert.ts'
import { FsError } from '../../core/errors.ts'
import { isDirectory } from '../../core/attr.ts'
import type { BlockKey, Ino, NodeId, SessionId } from '../../core/ids.ts'
import { OperationTimes } from '../../core/operation-times.ts'
import { callId, type RequestLog } from '../../core/request-log.ts'
import { minute } from '../../core/units.ts'
import { attrFromWireIfPresent, errorToWire, leaseFromWire, leaseToWire } from '../../wire/attr.ts'
import {
  type Acquire,
  type Call,
  type Commit,
  type CommitReply,
  type EndSession,
  LeaseKind,
  type Plan,
  type RecallDone,
  type Rename,
  Reply,
} from '../../wire/gen/cairn/v1/session.ts'
import { type CommandOp, isCommand, type Op } from '../../wire/commands.ts'
import { toIno, u32, u64 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { Admission } from '../exports/admission.ts'
import type { Rates } from '../exports/rates.ts'
import type { ReadShares } from '../exports/read-shares.ts'
import type { Subtrees } from '../exports/subtree.ts'
import { type Grant, grantsOf, type Need, needsOf } from '../leases/needs.ts'
import type { Holder, LeaseTable } from '../leases/lease-table.ts'
import type { RecallReason, Recalls } from '../leases/recalls.ts'
import { isQuery, type QueryContext, type Result } from '../namespace/context.ts'
import { executeCommand } from '../namespace/execute-command.ts'
import { executeQuery } from '../namespace/execute-query.ts'
import { ns } from '../nodes/node-registry.ts'
import type { Planner, Planning, Proof } from '../placement/planner.ts'
import type { Space } from '../placement/space.ts'
import type { LockCalls } from './lock-calls.ts'
import type { ReadKeys, TokenMaker } from './read-keys.ts'
import type { ParkedCall, Session, SessionRegistry } from './session-registry.ts'
import { WaitingCalls } from './waiting-calls.ts'

/** A client's time may lie behind ours by what a call can have waited, never ahead. */
const timeBehindMs = 10 * minute
/** Most inode numbers that a session is given at once. */
const inosMax = 10_000

export interface CallParts {
  /** Milliseconds, for metrics alone: it decides nothing. */
  readonly stopwatch: () => number
  /** Hears of what was slow. */
  readonly requests: RequestLog
  readonly turn: Turn
  readonly sessions: SessionRegistry
  readonly leases: LeaseTable
  readonly recalls: Recalls
  readonly planner: Planner
  readonly space: Space
  readonly locks: LockCalls
  /** Of sessions of exports. */
  readonly admission: Admission
  readonly subtrees: Subtrees
  readonly rates: Rates
  readonly readKeys: ReadKeys
  readonly readShares: ReadShares
  /** A reader found a copy bad, or gone. */
  readonly damaged: (id: Uint8Array, node: NodeId, what: string) => void
  /** What was removed is being deleted. */
  readonly isFreeing: () => boolean
  /** A session says that another one's process has died, or has given up all that was of it. */
  readonly died: (by: Session, who: EndSession) => void
  /** A block may have fewer copies than wanted now. */
  readonly committed: (proofs: readonly Proof[]) => void
}

const done: Result = { $case: 'done', value: {} }
const noLeases = new Uint8Array(0)

const reasons: Readonly<Record<Need['access'], RecallReason>> = {
  read: 'plain',
  write: 'plain',
  open: 'sharing',
  remove: 'removing',
}

/** What needs room in the database, or ends with something that does. */
const growing: ReadonlySet<Op['$case']> = new Set<Op['$case']>([
  'create',
  'link',
  'rename',
  'setXattr',
  'commit',
  'cloneRange',
  'punchRange',
  'plan',
  'reserveSpace',
  'reserveInos',
])

/** Of that, what stores data that was written before: mounts accept none while there is no room. */
const storing: ReadonlySet<Op['$case']> = new Set<Op['$case']>(['plan', 'commit'])

export class Calls {
  readonly #parts: CallParts
  readonly #waiting = new WaitingCalls()
  readonly times = new OperationTimes()
  #nextOrder = 0

  constructor(parts: CallParts) {
    this.#parts = parts
  }

  /** A call came in. */
  receive(session: Session, call: Call): void {
    const { op, id } = call
    session.calls += 1
    if (op === undefined) {
      this.#answer(session, id, failed(new FsError('EOPNOTSUPP', 'The operation is unknown to this master')))
      return
    }
    if (session.parked.has(id) || this.#parts.locks.waits(session, id)) return
    if (isCommand(op) && this.#isRepeated(session, id)) return
    if (session.scope === undefined || this.#parts.rates.admits(session, call)) this.#begin(session, call, op)
  }

  #begin(session: Session, call: Call, op: Op): void {
    const began = this.#parts.stopwatch()
    this.#attempt(
      { session, call, began, order: this.#nextOrder++, asked: new Set(), sharing: new Set() },
      op,
    )
  }

  /** When a call that waits for the rate of its export may be executed; Infinity: none does. */
  get wakeMs(): number {
    return this.#parts.rates.wakeMs
  }

  /** Gives up a call that has not been executed. It is answered EINTR. */
  cancel(session: Session, id: bigint): void {
    const { locks, rates } = this.#parts
    const parked = session.parked.get(id)
    const held = session.scope === undefined ? undefined : rates.cancel(session, id)
    if (parked === undefined && held === undefined && !locks.cancel(session, id)) return
    if (parked !== undefined) this.#waiting.remove(parked)
    const interrupted = failed(new FsError('EINTR'))
    const op = (parked?.call ?? held)?.op
    if (op !== undefined && isCommand(op)) this.#keep(session, id, interrupted)
    this.#answer(session, id, interrupted)
    this.#waiting.retryBarriers(session)
  }

  /** The holders' side: what a session gave up after a recall. */
  recallDone(session: Session, ino: Ino, { id, kept, open, writing }: RecallDone): void {
    const { leases, recalls } = this.#parts
    const recall = recalls.answered(session, ino, id)
    if (recall === undefined) return
    const lease = leaseFromWire(kept, 'recall_done.kept')
    const most = recall.why === 'sharing' ? 'read' : recall.to
    leases.reduce(ino, session.id, rank(lease) < rank(most) ? lease : most, open, writing)
    for (const parked of this.#waiting.of(ino)) {
      if (recall.why === 'removing') parked.asked.add(session.id)
      if (recall.why === 'sharing' && writing) parked.sharing.add(session.id)
    }
    this.retryInode(ino)
  }

  /** Whether a change of the session to the inode waits for what others have of it. */
  changeWaits(session: Session, ino: Ino): boolean {
    for (const { session: other, call } of this.#waiting.of(ino))
      if (other === session && call.op !== undefined && (isCommand(call.op) || call.op.$case === 'settle'))
        return true
    return false
  }

  /** The session's commits to the inode, also those that wait, are what the answer to its recall waits for. */
  storing(session: Session, ino: Ino): void {
    if (!this.#parts.recalls.stores(session, ino)) return
    for (const parked of this.#waiting.of(ino))
      if (parked.session === session && parked.call.op?.$case === 'commit') this.#waiting.retry(parked)
  }

  release(session: Session, ino: Ino): void {
    this.#parts.leases.release(ino, session.id)
    this.retryInode(ino)
  }

  /** Something about the inode's leases changed: those who wait for it try again (in `drain`). */
  retryInode(ino: Ino): void {
    this.#waiting.retryInode(ino)
  }

  /** The grace period may have ended: everything that waits tries again. */
  retryAll(): void {
    for (const session of this.#parts.sessions.all()) this.#waiting.retrySession(session)
  }

  /** Runs what may go on; after every input. */
  drain(): void {
    const { rates } = this.#parts
    for (let held = rates.next(); held !== undefined; held = rates.next())
      if (held.call.op !== undefined) this.#begin(held.session, held.call, held.call.op)
    for (let parked = this.#waiting.next(); parked !== undefined; parked = this.#waiting.next()) {
      const { session, call } = parked
      if (call.op === undefined) continue
      this.#attempt(parked, call.op)
      if (!session.parked.has(call.id)) this.#waiting.retryBarriers(session)
    }
  }

  /**
   * Forgets what waits for a session that ended, or whose connection did: if it comes back, it sends again all
   * that is unanswered, as after a restart of the master. Else a command of a process that is long dead could
   * still happen, up to the end of its lease.
   */
  forget(session: Session): void {
    this.#parts.rates.forget(session)
    for (const parked of [...session.parked.values()]) this.#waiting.remove(parked)
  }

  /** Answers a lock call that waited. */
  lockGranted(session: Session, id: bigint): void {
    this.#answer(session, id, done)
  }

  // ---- waiting

  /** Calls that wait for the inode. */
  waitingFor(ino: Ino): number {
    return this.#waiting.countOf(ino)
  }

  /** Inodes that calls wait for. */
  awaited(): Iterable<Ino> {
    return this.#waiting.awaited()
  }

  #attempt(parked: ParkedCall, op: Op): void {
    const { session, call } = parked
    const { scope } = session
    let waitsFor: Ino[] | undefined
    let admitted: Op | undefined
    try {
      admitted = scope === undefined ? op : this.#parts.admission.admit(scope, op)
      waitsFor = admitted === undefined ? undefined : this.#obstacles(parked, admitted)
    } catch (thrown) {
      this.#waiting.remove(parked)
      this.#finish(session, call.id, op, failed(thrown))
      this.#observe(parked, op)
      return
    }
    if (waitsFor !== undefined) {
      this.#waiting.add(parked, waitsFor)
      return
    }
    this.#waiting.remove(parked)
    if (admitted === undefined) this.#finish(session, call.id, op, done)
    else this.#execute(session, call, admitted)
    this.#observe(parked, op)
  }

  #observe({ session, call, began }: ParkedCall, op: Op): void {
    const ms = this.#parts.stopwatch() - began
    this.times.observe(op.$case, ms)
    const { requests } = this.#parts
    if (requests.cares(ms, undefined))
      requests.request({ operation: op.$case, request: callId(session.id, call.id), ms })
  }

  /** Undefined if the call may run; else the inodes whose leases it waits for (none: for something else). */
  #obstacles(parked: ParkedCall, op: Op): Ino[] | undefined {
    const { session, call } = parked
    const { sessions, turn, recalls } = this.#parts
    if (op.$case === 'barrier') return this.#waiting.hasCommandBefore(session, call.id) ? [] : undefined
    if (op.$case === 'reclaim') return undefined
    // Alone, nobody is in the way: most clusters, most of the time.
    if (sessions.size < 2) return undefined
    const needs = needsOf(turn.store, op)
    const locks = op.$case === 'setLock' || op.$case === 'getLock'
    if (sessions.inGraceFor(session)) return needs.length > 0 || locks ? [] : undefined
    const waitsFor: Ino[] = []
    if (op.$case === 'acquire' && recalls.isUnderWay(session.id, op.value.ino as Ino)) {
      // Of a READ: its kernel may hold the pages that its answer to the recall waits for until this is
      // answered, with no lease, since others wait for the inode.
      if (op.value.kind !== LeaseKind.LEASE_KIND_WRITE) return undefined
      waitsFor.push(op.value.ino as Ino)
    }
    for (const { ino, access } of needs) {
      if (this.#askHolders(parked, ino, access)) waitsFor.push(ino)
      // An Acquire queues behind those who wait already: it could take the lease away from them again.
      else if (op.$case === 'acquire' && this.#waiting.isAwaitedBefore(ino, parked)) waitsFor.push(ino)
    }
    if (op.$case === 'commit' && recalls.isStoring(session.id, op.value.ino as Ino)) return undefined
    return waitsFor.length > 0 ? waitsFor : undefined
  }

  /** Recalls what is in the way. False if nothing is. */
  #askHolders(parked: ParkedCall, ino: Ino, access: Need['access']): boolean {
    const { recalls, sessions } = this.#parts
    const holders = this.#inTheWay(parked, ino, access)
    for (const holder of holders) {
      const other = sessions.find(holder.session)
      if (other === undefined) continue
      if (recalls.ask(other, ino, access === 'read' ? 'read' : 'none', reasons[access]))
        this.#hurryAcquires(other, ino)
    }
    return holders.length > 0
  }

  #inTheWay({ session, asked, sharing }: ParkedCall, ino: Ino, access: Need['access']): Holder[] {
    const { leases } = this.#parts
    if (access === 'read' || access === 'write') return leases.conflicts(ino, session.id, access)
    const others = leases.others(ino, session.id)
    if (access === 'remove')
      return others.filter(other => other.lease !== 'none' || !asked.has(other.session))
    const writing = others.filter(other => other.writing)
    // The file is shared for writing: nobody will buffer, so nobody's cache is in the way.
    if (writing.some(other => other.lease !== 'write' && sharing.has(other.session)))
      return others.filter(other => other.lease === 'write')
    return writing.length > 0 ? writing : others.filter(other => other.lease !== 'none')
  }

  /** A recall was sent: what the session waits for to be granted is answered without (see #obstacles). */
  #hurryAcquires(session: Session, ino: Ino): void {
    for (const parked of this.#waiting.of(ino))
      if (parked.session === session && parked.call.op?.$case === 'acquire') this.#waiting.retry(parked)
  }

  // ---- executing

  #isRepeated(session: Session, id: bigint): boolean {
    if (id <= session.acked) {
      this.#answer(session, id, failed(new FsError('ESTALE', `Command ${id} was acknowledged already`)))
      return true
    }
    if (id > session.highest) return false
    const stored = this.#parts.turn.store.replies.find(session.id, id)
    if (stored === undefined) return false
    if (session.connection !== undefined) this.#parts.turn.out.reply(session.connection, stored)
    return true
  }

  /** What was answered to a program before the mount heard that there is no room uses the reserve. */
  #lacksRoom({ $case }: Op, promised: boolean): boolean {
    const { diskFull, diskSpent } = this.#parts.turn
    return diskFull && growing.has($case) && (diskSpent || !(promised || storing.has($case)))
  }

  #execute(session: Session, { id, promised }: Call, op: Op): void {
    const { store } = this.#parts.turn
    if (this.#lacksRoom(op, promised)) {
      // Not stored: that would need room as well. Sent again after a lost answer, it is a new question.
      this.#answer(session, id, failed(new FsError('ENOSPC', 'The disk of the master is full')))
      return
    }
    let result: Result | 'waits'
    try {
      result = isCommand(op) ? this.#command(session, op) : this.#question(session, id, op)
    } catch (thrown) {
      // Nothing of this step may be answered.
      if (!store.canGoOn(thrown)) throw thrown
      result = failed(thrown)
      this.#logBug(thrown, op)
    }
    if (result !== 'waits') this.#finish(session, id, op, result)
  }

  #finish(session: Session, id: bigint, op: Op, found: Result): void {
    const { scope } = session
    const result = scope === undefined ? found : this.#parts.admission.shown(scope, op, found)
    const base = isCommand(op) ? this.#keep(session, id, result) : encoded(id, result)
    if (session.connection === undefined) return
    this.#parts.turn.out.reply(session.connection, base, this.#granted(session, op, result))
  }

  #command(session: Session, op: CommandOp): Result {
    const { turn, leases, space, planner } = this.#parts
    if (session.row.readOnly && op.$case !== 'closeOrphan')
      throw new FsError('EROFS', 'The mount is read-only')
    const { store } = turn
    const proofs: Proof[] = []
    const copies = op.$case === 'commit' ? (store.inodes.find(toIno(op.value.ino))?.copies ?? 1) : 1
    const result = store.savepoint(() =>
      executeCommand(store, op, {
        session: session.id,
        time: this.#timeOf(op),
        dedupDomain: session.row.domain,
        verify: planner.judge(planningOf(session), copies, proofs),
        openIn: (ino, directory) =>
          leases
            .others(ino, session.id)
            .filter(other => other.open && this.#sees(other.session, directory))
            .map(other => other.session),
        mayHold: id => this.#mayHold(id),
        hasSpace: (bytes, wanted) => space.hasSpace(bytes, wanted),
      }),
    )
    this.#noteEffects(session, op, result, proofs)
    return result
  }

  #noteEffects(session: Session, op: CommandOp, result: Result, proofs: readonly Proof[]): void {
    const { leases, recalls, committed, subtrees } = this.#parts
    if (op.$case === 'rename' && op.value.parent !== op.value.newParent) {
      subtrees.moved()
      this.#hideMoved(op.value, result)
    }
    if (op.$case === 'commit') {
      recalls.progress(session, op.value.ino as Ino)
      if (result.$case === 'commit' && leases.conflicts(op.value.ino as Ino, session.id, 'write').length > 0)
        result.value.early = true
      if (result.$case === 'commit' && result.value.again.length === 0) {
        committed(proofs)
        this.#addTokens(session, op.value, result.value)
      }
    }
    if (op.$case === 'closeOrphan') this.release(session, op.value.ino as Ino)
    // An inode that is gone needs no lease.
    const removed =
      result.$case === 'remove'
        ? result.value.attr
        : result.$case === 'rename'
          ? result.value.target
          : undefined
    const attr = attrFromWireIfPresent(removed)
    if (
      attr?.nlink === 0 &&
      (result.$case === 'remove' || result.$case === 'rename') &&
      !result.value.orphaned
    )
      this.release(session, attr.ino)
  }

  /** Whether the session sees what has its name in the directory. */
  #sees(id: SessionId, directory: Ino): boolean {
    const scope = this.#parts.sessions.find(id)?.scope
    return scope === undefined || this.#parts.admission.sees(scope, directory)
  }

  #mayHold(id: SessionId): boolean {
    const { sessions, turn } = this.#parts
    const most = turn.settings.orphansPerIdentity
    const identity = sessions.find(id)?.row.identity ?? ''
    const of = identity === '' ? [id] : sessions.ofIdentity(identity).map(session => session.id)
    return turn.store.orphans.countOf(of, most) < most
  }

  /** A directory was moved: sessions of exports that it left give up what they have of what is below. */
  #hideMoved({ parent, newParent }: Rename, result: Result): void {
    if (result.$case !== 'rename') return
    const { attr, target } = result.value
    if (![attr, target].some(each => each !== undefined && isDirectory(each.mode))) return
    const { sessions, leases, recalls } = this.#parts
    for (const session of sessions.all()) {
      if (session.scope === undefined) continue
      if (this.#sees(session.id, parent as Ino) === this.#sees(session.id, newParent as Ino)) continue
      for (const ino of leases.oldest(session.id))
        if (!this.#sees(session.id, ino)) recalls.ask(session, ino, 'none', 'plain')
    }
  }

  #question(session: Session, id: bigint, op: Exclude<Op, CommandOp>): Result | 'waits' {
    const { turn, space, locks, damaged } = this.#parts
    if (isQuery(op)) return executeQuery(turn.store, op, this.#queryContext(session))
    switch (op.$case) {
      case 'acquire':
        return this.#acquire(session, op.value)
      case 'reclaim':
        return locks.reclaim(session, op.value)
      case 'plan':
        return this.#planned(session, op.value)
      case 'getLock':
        return locks.get(session, op.value)
      case 'setLock':
        return locks.set(session, id, op.value)
      case 'reportDamage':
        damaged(op.value.id, op.value.node as NodeId, op.value.what)
        return done
      case 'reserveSpace': {
        const freeing = this.#parts.isFreeing()
        const bytes = space.reserve(session, u64(op.value.bytes, 'reserve_space.bytes'), freeing)
        return { $case: 'reserveSpace', value: { bytes: BigInt(bytes), freeing } }
      }
      case 'reserveInos': {
        const count = u32(op.value.count, 'reserve_inos.count', inosMax, 1)
        return {
          $case: 'reserveInos',
          value: { first: turn.store.inoRanges.reserve(session.id, count), count },
        }
      }
      case 'barrier':
      case 'settle':
        return done
      case 'endSession':
        this.#parts.died(session, op.value)
        return done
    }
  }

  #planned(session: Session, wire: Plan): Result {
    const { planner, rates } = this.#parts
    const value = planner.plan(planningOf(session), wire)
    if (session.scope !== undefined) rates.planned(session, wire, value)
    return { $case: 'plan', value }
  }

  /** Who has put blocks into a file may read them. Of one that was named by its key the given id proves nothing. */
  #addTokens(session: Session, commit: Commit, reply: CommitReply): void {
    const { blocks } = this.#parts.turn.store
    const maker = this.#tokens(session)
    reply.tokensUntil = maker.until
    reply.tokens = commit.blocks.map(({ key, id }) =>
      maker.make(key === 0n ? id : must(blocks.byKey(key as BlockKey), 'block of a commit').id),
    )
  }

  #tokens({ id, row, identity }: Session): TokenMaker {
    const { readKeys, readShares, turn } = this.#parts
    const rules = row.export === '' ? undefined : turn.store.exports.find(row.export)
    return readKeys.maker({ session: id, epoch: row.epoch, identity }, readShares.termsOf(rules))
  }

  #acquire(session: Session, wire: Acquire): Result {
    const { turn, leases, recalls } = this.#parts
    const ino = toIno(wire.ino)
    const wanted = leaseFromWire(wire.kind, 'acquire.kind')
    const found = executeQuery(turn.store, { $case: 'getAttr', value: { ino } }, this.#queryContext(session))
    const attr = found.$case === 'attr' ? found.value.attr : undefined
    const lease = recalls.isUnderWay(session.id, ino)
      ? leases.held(ino, session.id)
      : leases.grant(ino, session.id, wanted)
    // Who holds a lease is asked before a removal anyway.
    if (wire.open && lease === 'none') leases.opened(ino, session.id, 'open')
    if (wanted === 'write') leases.opened(ino, session.id, 'writing')
    return { $case: 'acquire', value: { kind: leaseToWire(lease), attr } }
  }

  #queryContext(session: Session): QueryContext {
    const { planner, space } = this.#parts
    return {
      isSettled: this.#settledFor(session),
      locations: key => planner.locations(key, session.row),
      tokens: () => this.#tokens(session),
      space: () => ({
        totalBytes: BigInt(space.totalBytes),
        availableBytes: BigInt(space.availableBytes),
      }),
    }
  }

  #settledFor(session: Session): (ino: Ino) => boolean {
    const { sessions, leases } = this.#parts
    if (sessions.size < 2) return () => true
    // What others hold is not known yet.
    if (sessions.inGraceFor(session)) return () => false
    return ino => leases.conflicts(ino, session.id, 'read').length === 0
  }

  // ---- answering

  /** The leases that come with an answer, encoded as the part of a Reply. */
  #granted(session: Session, op: Op, result: Result): Uint8Array {
    const { leases, recalls, sessions } = this.#parts
    const granted: { ino: Ino; kind: LeaseKind; alone: boolean }[] = []
    const alone = sessions.isAlone
    for (const { ino, lease: wanted } of grantsOf(op, result)) {
      if (recalls.isUnderWay(session.id, ino)) continue
      const { scope } = session
      const lease = scope === undefined || this.#parts.admission.mayBuffer(scope, ino) ? wanted : 'read'
      const keepsPages = op.$case === 'commit' && op.value.pages
      const held =
        this.#waiting.isAwaited(ino) && !keepsPages
          ? leases.held(ino, session.id)
          : leases.grant(ino, session.id, lease)
      if (held !== 'none') granted.push({ ino, kind: leaseToWire(held), alone })
    }
    if (granted.length === 0) return noLeases
    return Reply.encode({ id: 0n, leases: granted, result: undefined }).finish()
  }

  /** Stores the reply of a command with its effects. */
  #keep(session: Session, id: bigint, result: Result): Uint8Array {
    const reply = encoded(id, result)
    this.#parts.turn.store.replies.keep(session.id, id, reply)
    if (id > session.highest) session.highest = id
    return reply
  }

  #answer(session: Session, id: bigint, result: Result): void {
    if (session.connection !== undefined) this.#parts.turn.out.reply(session.connection, encoded(id, result))
  }

  #timeOf(op: CommandOp): bigint {
    const { time } = this.#parts.turn
    const claimed = 'time' in op.value ? op.value.time : time
    return claimed > time || claimed < time - ns(timeBehindMs) ? time : claimed
  }

  #logBug(thrown: unknown, op: Op): void {
    if (thrown instanceof FsError) return
    const what = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
    this.#parts.turn.out.log('error', 'operation failed unexpectedly', { op: op.$case, what })
  }
}

const encoded = (id: bigint, result: Result): Uint8Array => Reply.encode({ id, leases: [], result }).finish()

const failed = (thrown: unknown): Result => ({ $case: 'error', value: errorToWire(thrown) })

const rank = (lease: Grant['lease']): number => (lease === 'none' ? 0 : lease === 'read' ? 1 : 2)

const planningOf = (session: Session): Planning => ({
  session: session.id,
  epoch: session.row.epoch,
  host: session.row.host,
  zone: session.row.zone,
  knows: session.scope?.blocks,
  dedupDomain: session.row.domain,
})
