import { assert, must } from '../../core/assert.ts'
import type { Env, Timer } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { type Ino, sessionId } from '../../core/ids.ts'
import { heartbeatMs, leaseMs } from '../../core/limits.ts'
import type { Network } from '../../core/network.ts'
import { OperationTimes } from '../../core/operation-times.ts'
import { callId } from '../../core/request-log.ts'
import { errorFromWire, leaseFromWire, leaseToWire } from '../../wire/attr.ts'
import type {
  Recall,
  Refused,
  Reply,
  SessionDown,
  SessionDownItem,
  SessionUp,
  SessionUpItem,
  Welcome,
} from '../../wire/gen/cairn/v1/session.ts'
import { toIno } from '../../wire/validate.ts'
import type { Op } from '../../wire/commands.ts'
import type { ClusterFacts, MasterPort, Result, ResultOf } from '../ports.ts'
import { ClusterClock } from './cluster-clock.ts'
import { EarlyAnswers } from './early-answers.ts'
import { helloOf, type SessionKey, type SessionOptions } from './hello.ts'
import { JoinedChanges } from './joined-changes.ts'
import { LeaseClock } from './lease-clock.ts'
import type { LeaseHolder } from './lease-holder.ts'
import { MasterLink } from './master-link.ts'
import { Outbox } from './outbox.ts'
import { Patience } from './patience.ts'
import { describe, PendingCalls, type PendingCall } from './pending-calls.ts'
import { reclaimOps } from './reclaim-ops.ts'
import { ReleasedLeases } from './released-leases.ts'
import { type Rules, type Welcomed, welcomeFromWire } from './welcome.ts'

const tickMs = 500
/** The master ends the link after a goodbye; if it does not, we do. */
const goodbyeMs = 1000

/** Calls that nobody waits for gather for so long, or until there are so many. */
const postedMs = 10
const postedMax = 64

const noBytes = new Uint8Array(0)

/** With what another process goes on with the session. */
export interface SessionState {
  readonly welcomed: Welcomed
  readonly incarnation: number
  /** Calls up to this one were made, and answered. */
  readonly lastId: bigint
  /** Cluster time that was shown last. */
  readonly time: bigint
}

/**
 * This mount's session with the master: one stream, dialled again whenever it breaks.
 *
 *                 Welcome                        (reclaim asked: its calls first)
 *   dialling ───────────────► attached ◄──────────────── reclaiming
 *      ▲  ▲                      │
 *      │  └── backoff ◄──────────┘ link closed, or silent for three heartbeats
 *      └──── Refused(session_dead): what was sent and cannot be asked again is EIO, the holder
 *            drops everything, and a new session begins
 *
 * Where the identity of this mount was revoked, or may not mount this any more, there is none to come: everything fails at
 * once, and nothing is waited for.
 *
 * Authoritative here: which commands are unanswered. They are sent again with their ids in the same
 * session until answered, so each happens exactly once; in another session never. Leases count from
 * the *sending* of the last heartbeat that was answered; past that nothing cached may be served,
 * though the session may turn out to be alive (the master was away, too).
 */
export class Session implements MasterPort {
  /** How long the master took for each kind of call, waiting for a connection included. */
  readonly times = new OperationTimes()
  readonly #env: Env
  readonly #options: SessionOptions
  readonly #link: MasterLink
  readonly #lease: LeaseClock
  readonly #pending: PendingCalls
  readonly #outbox: Outbox
  readonly #joined = new JoinedChanges()
  readonly #released = new ReleasedLeases()
  readonly #early: EarlyAnswers
  readonly #time: ClusterClock
  #holder: LeaseHolder | undefined
  #welcome: Welcomed | undefined
  #attached = false
  #failed: FsError | undefined
  #flushing = false
  #posting: Timer | undefined
  #heartbeatAt = 0
  #awaySince = 0
  #timer: Timer | undefined
  readonly #patience = new Patience()
  #opened: { resolve: () => void; reject: (error: FsError) => void } | undefined
  #gone: (() => void) | undefined
  /** Of the session that the master refused as dead: it may wait for us to have given up what was of it. */
  #refused: SessionKey | undefined
  #incarnation: number
  /** What the master said of its disk last. */
  #diskFull = false

  /** `state`: of the process that had the session before, and has it no more. */
  constructor(env: Env, network: Network, options: SessionOptions, state?: SessionState) {
    this.#env = env
    this.#options = options
    this.#welcome = state?.welcomed
    this.#incarnation = state?.incarnation ?? 0
    this.#pending = new PendingCalls(state?.lastId)
    this.#outbox = new Outbox(this.#pending)
    this.#time = new ClusterClock(env.clock, state?.time)
    this.#early = new EarlyAnswers(env.timers)
    this.#lease = new LeaseClock(env.clock)
    this.#link = new MasterLink(env, network, options.address, {
      hello: () => this.#hello(),
      frame: frame => this.#onFrame(frame),
      lost: error => this.#onLost(error),
    })
  }

  /** Begins the session. Rejects when the master refuses it, or is away for `startWaitMs`. */
  start(holder: LeaseHolder): Promise<void> {
    this.#holder = holder
    this.#awaySince = this.#env.clock.now()
    return new Promise((resolve, reject) => {
      this.#opened = { resolve, reject }
      this.#link.dial()
      this.#tick()
    })
  }

  get facts(): ClusterFacts {
    return must(this.#welcome, 'welcome of the master').facts
  }

  get identity(): { readonly session: bigint; readonly epoch: bigint } {
    return must(this.#welcome, 'welcome of the master').identity
  }

  /** What proves that one speaks for it. */
  get key(): SessionKey {
    const { facts, identity, secret } = must(this.#welcome, 'welcome of the master')
    return { cluster: facts.cluster, secret, ...identity }
  }

  /** Whether there is a connection to the master that it has welcomed. */
  get isAttached(): boolean {
    return this.#attached
  }

  get root(): Ino {
    return must(this.#welcome, 'welcome of the master').root
  }

  /** What the export of this mount allows, as of the last connection. */
  get rules(): Rules {
    return must(this.#welcome, 'welcome of the master').rules
  }

  /** The master's disk has no room for more: what needs some is refused, and must not be promised. */
  get diskFull(): boolean {
    return this.#diskFull
  }

  /** The session to go on with, if any. */
  get #known(): bigint | undefined {
    const session = this.#welcome?.identity.session
    return session === 0n ? undefined : session
  }

  /** Rises with every new session: what was promised under an older one no longer holds. */
  get incarnation(): number {
    return this.#incarnation
  }

  time(): bigint {
    return this.#time.now()
  }

  get leaseMs(): number {
    return this.#welcome?.leaseMs ?? leaseMs
  }

  /** Milliseconds for which what the leases cover may be served, 0 if not at all. */
  leaseLeftMs(): number {
    return this.#lease.leftMs()
  }

  call<Case extends Result['$case']>(op: Op, expect: Case, signal?: AbortSignal): Promise<ResultOf<Case>> {
    return this.#call(op, expect, () => this.#flushSoon(), { signal })
  }

  /**
   * As call, for what nobody waits for: it may be sent a little later, with others, but before any call after it. It
   * rests on leases, so it ends with the session, sent or not.
   */
  post<Case extends Result['$case']>(op: Op, expect: Case): Promise<ResultOf<Case>> {
    const joined = op.$case === 'setAttr' ? this.#joined.join(op.value) : undefined
    if (joined !== undefined) return joined as Promise<ResultOf<Case>>
    const schedule = () => {
      if (this.#outbox.callCount >= postedMax) this.#flushSoon()
      else this.#posting ??= this.#env.timers.after(postedMs, () => this.#flush())
    }
    return this.#call(op, expect, schedule, { bound: true })
  }

  /**
   * For who waits for what was posted: rejects with ETIMEDOUT where the master is away for as long as calls wait. What was
   * posted is not given up by that, since programs were told that it is so: it is sent when the master is back.
   */
  patiently<T>(posted: Promise<T>): Promise<T> {
    return this.#patience.wait(posted, this.#env.clock.now())
  }

  /** Somebody waits for what was posted. */
  hurry(): void {
    if (this.#posting !== undefined) this.#flush()
  }

  #call<Case extends Result['$case']>(
    op: Op,
    expect: Case,
    schedule: () => void,
    { signal, bound = false }: { readonly signal?: AbortSignal | undefined; readonly bound?: boolean },
  ): Promise<ResultOf<Case>> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed)
    const added: { call?: PendingCall } = {}
    const answer = new Promise<Result['value']>((resolve, reject) => {
      const began = this.#env.clock.now()
      // For other programs, for as long as they like.
      const waits = op.$case === 'setLock' && op.value.wait
      const settle = (outcome: Result | FsError) => {
        signal?.removeEventListener('abort', abort)
        const failure = outcome instanceof FsError ? outcome.code : undefined
        const ms = this.#env.clock.now() - began
        this.times.observe(op.$case, ms, failure)
        if (!waits) this.#note(call, ms, failure)
        if (outcome instanceof FsError) reject(outcome)
        else if (outcome.$case === expect) resolve(outcome.value)
        else reject(new FsError('EPROTO', `${describe(op)}: answered ${outcome.$case}, not ${expect}`))
      }
      const call = this.#pending.add(op, began, settle, bound)
      const abort = () => this.#interrupt(call)
      if (signal?.aborted === true) abort()
      else signal?.addEventListener('abort', abort)
      if (this.#attached) {
        added.call = call
        this.#outbox.addCall(call)
        this.#joined.passed(op)
        schedule()
      }
    })
    if (bound && added.call !== undefined && op.$case === 'setAttr')
      this.#joined.note(added.call, op.value, answer)
    return answer as Promise<ResultOf<Case>>
  }

  #note({ id, op }: PendingCall, ms: number, failure: string | undefined): void {
    const { requests } = this.#options
    if (requests?.cares(ms, failure) !== true) return
    const request = callId(this.#known ?? 0n, id)
    requests.request({ operation: op.$case, request, ms, failure }, { what: describe(op) })
  }

  /** Gives back leases that nobody asked for. What they covered is forgotten already. */
  release(inos: readonly Ino[]): void {
    for (const ino of inos) this.#released.add(ino, this.#pending.lastId)
    this.#sendControl({ $case: 'release', value: { inos: [...inos] } })
  }

  /** What a recall is answered with is about to be stored: commits to the inode wait for nobody until then. */
  storing(ino: Ino): void {
    this.#sendControl({ $case: 'storing', value: { ino } })
  }

  /** Calls that are not answered, for logs: none may be left where another process goes on with the session. */
  get unanswered(): readonly string[] {
    return [...this.#pending.all()].map(({ op }) => describe(op))
  }

  /** Leaves the session to another process, until `resume`. The master waits for it as long as for a broken connection. */
  suspend(): SessionState {
    assert(this.#pending.size === 0, 'a session is left with nothing unanswered')
    this.#attached = false
    this.#timer?.cancel()
    this.#posting?.cancel()
    this.#posting = undefined
    this.#link.stop()
    return {
      welcomed: must(this.#welcome, 'welcome of the master'),
      incarnation: this.#incarnation,
      lastId: this.#pending.lastId,
      time: this.#time.now(),
    }
  }

  /** The other process has not taken the session. */
  resume(): void {
    this.#awaySince = this.#env.clock.now()
    this.#link.restart()
    this.#tick()
  }

  /** Ends the session in order. Everything was flushed before. */
  async close(): Promise<void> {
    const closed = new FsError('EIO', 'The session is closed')
    this.#failed = closed
    this.#timer?.cancel()
    this.#posting?.cancel()
    if (this.#attached) {
      this.#sendControl({ $case: 'goodbye', value: {} })
      this.#flush()
      const gone = new Promise<void>(resolve => {
        this.#gone = resolve
      })
      await Promise.race([gone, this.#env.timers.sleep(goodbyeMs)])
    }
    this.#end(closed)
  }

  // ---- sending

  #sendControl(item: NonNullable<SessionUpItem['item']>): void {
    this.#outbox.addControl(item)
    this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#flushing || !this.#attached) return
    this.#flushing = true
    this.#env.timers.soon(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  #flush(): void {
    this.#posting?.cancel()
    this.#posting = undefined
    if (!this.#attached) return
    this.#joined.clear()
    for (const frame of this.#outbox.take()) this.#link.send(frame)
  }

  // ---- the link

  #hello(): SessionUp {
    const value = helloOf(this.#options, this.#welcome, this.#env.clock.wall())
    return { items: [{ item: { $case: 'hello', value } }], acked: this.#pending.acked }
  }

  #onLost(error: FsError | undefined): void {
    if (this.#attached) this.#awaySince = this.#env.clock.now()
    this.#attached = false
    this.#outbox.forgetCalls()
    this.#joined.clear()
    for (const call of this.#pending.all())
      if (call.op.$case === 'reclaim') this.#pending.abandon(call, new FsError('ECANCELED'))
    this.#gone?.()
    if (error?.code === 'EKEYREVOKED' && this.#failed === undefined) this.#expelled(error)
    if (this.#failed !== undefined) this.#link.stop()
  }

  #onFrame(frame: SessionDown): void {
    const link = this.#link.current
    for (const { item } of frame.items) {
      if (item !== undefined) this.#onItem(item)
      if (this.#link.current !== link) return
    }
    this.#released.forget(this.#pending.firstGranting ?? this.#pending.lastId + 1n)
  }

  #onItem(item: NonNullable<SessionDownItem['item']>): void {
    switch (item.$case) {
      case 'welcome':
        this.#onWelcome(item.value)
        break
      case 'refused':
        this.#onRefused(item.value)
        break
      case 'reply':
        this.#onReply(item.value)
        break
      case 'recall':
        this.#onRecall(item.value)
        break
      case 'heartbeat':
        this.#onContact(item.value.time, Number(item.value.sentMs))
        break
      case 'room':
        this.#diskFull = item.value.full
        break
    }
  }

  // ---- what the master says

  #onWelcome(wire: Welcome): void {
    const welcome = welcomeFromWire(wire, this.#welcome?.facts)
    // The kernel goes on with its root, and with what it knows of what is below.
    if (this.#welcome !== undefined && this.#welcome.root !== welcome.root) {
      this.#expelled(new FsError('EKEYREVOKED', 'The master shows this mount another tree: mount anew'))
      return
    }
    const before = this.#known
    const renewed = before !== undefined && before !== welcome.identity.session
    if (renewed) this.#sessionDied('the master began another')
    this.#welcome = welcome
    this.#diskFull = wire.full
    if (before !== welcome.identity.session) {
      this.#incarnation += 1
      this.#options.began?.(this.key)
    }
    this.#onContact(wire.time, this.#link.dialledAt)
    const reclaim = before !== undefined && !renewed && wire.reclaim
    this.#env.log.info(reclaim ? 'Attached, reclaiming leases' : 'Attached to the master', {
      address: this.#options.address,
      session: welcome.identity.session,
      epoch: welcome.identity.epoch,
    })
    if (this.#refused !== undefined) this.#confirmDead(this.#refused)
    this.#refused = undefined
    if (reclaim) this.#reclaim()
    else this.#attachedNow()
  }

  /** Tells the master that nothing of a session is believed any more, so that nobody waits for its leases to run out. */
  #confirmDead({ session, epoch, secret }: SessionKey): void {
    this.call({ $case: 'endSession', value: { session, epoch, secret } }, 'done').catch((thrown: unknown) => {
      const fields = { session, why: messageOf(thrown) }
      this.#env.log.warn('A session of this mount ends only when its leases run out', fields)
    })
  }

  /**
   * Sends all that is unanswered, oldest first; but what ends an earlier session goes before: what that one holds may be
   * in the way of what is asked for again.
   */
  #attachedNow(): void {
    this.#attached = true
    // Not before: who cannot reclaim is welcomed again and again.
    this.#link.settled()
    this.#outbox.forgetCalls()
    const calls = [...this.#pending.all()]
    const ends = calls.filter(({ op }) => op.$case === 'endSession')
    for (const call of new Set([...ends, ...calls])) {
      call.sent = false
      this.#outbox.addCall(call)
    }
    this.#flush()
    // Only after the calls that they are about.
    for (const call of this.#pending.all())
      if (call.cancelled) this.#sendControl({ $case: 'cancel', value: { id: call.id } })
    this.#opened?.resolve()
    this.#opened = undefined
  }

  /** Reclaim calls go out alone and are answered before anything else is sent: it may rest on them. */
  #reclaim(): void {
    const link = this.#link.current
    const holdings = must(this.#holder, 'holder').holdings()
    const calls = [...reclaimOps(holdings.leases, holdings.locks)].map(op => {
      const call = this.#pending.add(op, this.#env.clock.now(), outcome => {
        if (this.#link.current !== link) return
        if (outcome instanceof FsError) this.#link.drop(outcome)
        else if (op.value.last) this.#attachedNow()
      })
      return this.#pending.send(call)
    })
    for (const value of calls)
      this.#link.send({ items: [{ item: { $case: 'call', value } }], acked: this.#pending.acked })
  }

  #onRefused(refused: Refused): void {
    const error = errorFromWire(refused.error, 'refused.error')
    if (refused.sessionDead && this.#known !== undefined) {
      this.#refused = this.key
      this.#sessionDied(error.message)
      this.#link.drop(error)
      return
    }
    if (this.#opened !== undefined) {
      this.#failStart(error)
      return
    }
    // A new session is refused so where the identity may mount this no more.
    if (error.code === 'EACCES' && this.#known === undefined) {
      this.#expelled(new FsError('EKEYREVOKED', error.message, { cause: error }))
      return
    }
    this.#env.log.error('The master refuses this mount', { why: error.message })
    this.#link.drop(error)
  }

  #onReply(reply: Reply): void {
    const holder = must(this.#holder, 'holder')
    for (const grant of reply.leases) {
      const ino = toIno(grant.ino, 'lease.ino')
      const lease = leaseFromWire(grant.kind, 'lease.kind')
      if (this.#released.mayGrant(ino, reply.id) && this.#early.mayGrant(ino))
        holder.granted(ino, lease, grant.alone)
    }
    const call = this.#pending.answer(reply)
    if (call === undefined) return
    this.#early.note(call.op, reply, ino => holder.holds(ino))
    if (call.abandoned) holder.distrust('a command that was given up has been answered')
  }

  #onRecall(recall: Recall): void {
    const ino = toIno(recall.ino, 'recall.ino')
    const to = leaseFromWire(recall.to, 'recall.to')
    const incarnation = this.#incarnation
    const holder = must(this.#holder, 'holder')
    void holder.recalled(ino, to, recall).then(({ kept, open, writing }) => {
      if (this.#incarnation !== incarnation) return
      this.#sendControl({
        $case: 'recallDone',
        value: { id: recall.id, ino: recall.ino, kept: leaseToWire(kept), open, writing },
      })
    })
  }

  #onContact(time: bigint, sentMs: number): void {
    // What went over the wire is whole milliseconds.
    this.#time.sample(time, Math.floor(this.#heartbeatAt) === sentMs ? this.#heartbeatAt : sentMs)
    this.#lease.contact(sentMs, this.leaseMs)
  }

  #sessionDied(why: string): void {
    const lost = this.#pending.sessionDied()
    this.#env.log.error('The session died: unanswered commands have an unknown outcome', {
      session: this.#welcome?.identity.session ?? sessionId(0n),
      why,
      commands: lost.filter(call => call.command).map(call => describe(call.op)),
    })
    this.#outbox.clear()
    this.#released.clear()
    this.#lease.end()
    if (this.#welcome !== undefined)
      this.#welcome = { ...this.#welcome, identity: { session: 0n, epoch: 0n }, secret: noBytes }
    must(this.#holder, 'holder').sessionDied()
  }

  // ---- time

  /** One timer for everything that is due: heartbeats, the end of the lease, calls that waited long enough. */
  #tick(): void {
    if (this.#failed !== undefined) return
    this.#timer = this.#env.timers.after(tickMs, () => this.#tick())
    const now = this.#env.clock.now()
    const every = this.#welcome?.heartbeatMs ?? heartbeatMs
    if (this.#lease.ranOut()) {
      this.#env.log.warn('The lease ran out without contact to the master')
      must(this.#holder, 'holder').distrust('the lease ran out')
    }
    if (this.#attached && now - this.#heartbeatAt >= every) this.#heartbeat(now)
    if (this.#link.silentMs > 3 * every) this.#link.drop(new FsError('ETIMEDOUT', 'The master is silent'))
    if (!this.#attached) this.#giveUp(now)
  }

  #heartbeat(now: number): void {
    this.#heartbeatAt = now
    const { dirtyBytes, traffic } = must(this.#holder, 'holder')
    // Rounded down: the lease may end early, never late.
    this.#sendControl({
      $case: 'heartbeat',
      value: {
        sentMs: BigInt(Math.floor(now)),
        dirtyBytes: BigInt(dirtyBytes),
        fetchedBytes: BigInt(traffic.fetchedBytes),
        storedBytes: BigInt(traffic.storedBytes),
      },
    })
  }

  #giveUp(now: number): void {
    const { waitMs, startWaitMs, address } = this.#options
    if (this.#opened !== undefined && now - this.#awaySince > startWaitMs) {
      this.#failStart(new FsError('ETIMEDOUT', `The master at ${address} does not answer`))
      return
    }
    const isLate = ({ since }: { readonly since: number }) => now - Math.max(since, this.#awaySince) > waitMs
    const away = () => new FsError('ETIMEDOUT', `The master at ${address} is away`)
    this.#patience.giveUp(isLate, away)
    for (const call of this.#pending.all())
      if (!call.bound && isLate(call)) this.#pending.abandon(call, away())
  }

  /** The master takes this mount no more, ever. */
  #expelled(why: FsError): void {
    this.#env.log.error('The master takes this mount no more', { why: why.message })
    if (this.#known !== undefined) this.#sessionDied(why.message)
    this.#failStart(why)
  }

  #failStart(error: FsError): void {
    const opened = this.#opened
    this.#opened = undefined
    this.#end(error)
    opened?.reject(error)
  }

  #end(error: FsError): void {
    this.#failed = error
    this.#attached = false
    this.#timer?.cancel()
    this.#posting?.cancel()
    this.#link.stop()
    this.#pending.failAll(error)
  }

  /**
   * A signal wants the caller back. A lock wait is cancelled at the master, which answers it: it alone
   * knows whether the lock was taken. With the master here everything else is answered in a moment, and
   * stat(2) must not fail with EINTR; with the master away, what was not sent or changes nothing is given up.
   */
  #interrupt(call: PendingCall): void {
    if (call.sent && call.op.$case === 'setLock') {
      call.cancelled = true
      if (this.#attached) this.#sendControl({ $case: 'cancel', value: { id: call.id } })
    } else if (!call.sent || (!this.#attached && !call.command)) {
      this.#pending.abandon(call, new FsError('EINTR', `${describe(call.op)}: interrupted`))
    }
  }

  /** For diagnosis. */
  describe(): string {
    return `session ${this.identity.session} with ${this.#options.address}, ${this.#pending.size} calls unanswered`
  }
}
