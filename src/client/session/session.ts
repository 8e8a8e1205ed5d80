import { must } from '../../core/assert.ts'
import type { Env, Timer } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { type Ino, sessionId } from '../../core/ids.ts'
import { heartbeatMs, leaseMs, wireVersion, wireVersionMin } from '../../core/limits.ts'
import type { Link, Network } from '../../core/network.ts'
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
import { sessionAttach } from '../../wire/services.ts'
import { toIno } from '../../wire/validate.ts'
import type { ClusterFacts, MasterPort, Op, Result, ResultOf } from '../ports.ts'
import { ClusterClock } from './cluster-clock.ts'
import type { LeaseHolder } from './lease-holder.ts'
import { describe, PendingCalls, type PendingCall } from './pending-calls.ts'
import { reclaimOps } from './reclaim-ops.ts'
import { ReleasedLeases } from './released-leases.ts'
import { type Welcomed, welcomeFromWire } from './welcome.ts'

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
 * Authoritative here: which commands are unanswered. They are sent again with their ids in the same
 * session until answered, so each happens exactly once; in another session never. Leases count from
 * the *sending* of the last heartbeat that was answered; past that nothing cached may be served,
 * though the session may turn out to be alive (the master was away, too).
 */
export interface SessionOptions {
  readonly address: string
  readonly host: string
  readonly mountpoint: string
  readonly pid: number
  readonly program: string
  readonly zone: string
  readonly readOnly: boolean
  /** How long a call waits for a master that is away, ms; Infinity: for ever (`hard`). */
  readonly waitMs: number
  /** How long `start` waits for it. */
  readonly startWaitMs: number
}

/** Calls in one message; its size is bounded by what they carry. */
const itemsPerFrame = 256
const tickMs = 500
/** The lease ends here this much before it may end at the master, for timers that fire late. */
const leaseMarginMs = 1000
const backoffFirstMs = 30
const backoffMaxMs = 1000

const noBytes = new Uint8Array(0)

export class Session implements MasterPort {
  readonly #env: Env
  readonly #network: Network
  readonly #options: SessionOptions
  readonly #pending = new PendingCalls()
  readonly #released = new ReleasedLeases()
  readonly #time: ClusterClock
  /** Answers to recalls, cancels and releases that wait to be sent. They survive a broken link. */
  #control: SessionUpItem[] = []
  /** Calls that wait to be sent on this link, by rising id. */
  #outbox: PendingCall[] = []
  #holder: LeaseHolder | undefined
  #link: Link<SessionUp, SessionDown> | undefined
  #welcome: Welcomed | undefined
  #attached = false
  #failed: FsError | undefined
  #flushing = false
  #helloAt = 0
  #leaseUntil = Number.NEGATIVE_INFINITY
  #lapsed = true
  #heartbeatAt = 0
  #heardAt = 0
  #awaySince = 0
  #attempts = 0
  #timer: Timer | undefined
  #redial: Timer | undefined
  #opened: { resolve: () => void; reject: (error: FsError) => void } | undefined
  #gone: (() => void) | undefined
  #warnedAway = false
  #incarnation = 0

  constructor(env: Env, network: Network, options: SessionOptions) {
    this.#env = env
    this.#network = network
    this.#options = options
    this.#time = new ClusterClock(env.clock)
  }

  /** Begins the session. Rejects when the master refuses it, or is away for `startWaitMs`. */
  start(holder: LeaseHolder): Promise<void> {
    this.#holder = holder
    this.#awaySince = this.#env.clock.now()
    return new Promise((resolve, reject) => {
      this.#opened = { resolve, reject }
      this.#dial()
      this.#tick()
    })
  }

  get facts(): ClusterFacts {
    return must(this.#welcome, 'welcome of the master').facts
  }

  get identity(): { readonly session: bigint; readonly epoch: bigint } {
    return must(this.#welcome, 'welcome of the master').identity
  }

  get root(): Ino {
    return must(this.#welcome, 'welcome of the master').root
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

  /** Milliseconds for which what the leases cover may be served, 0 if not at all. */
  leaseLeftMs(): number {
    if (this.#lapsed) return 0
    return Math.max(0, this.#leaseUntil - this.#env.clock.now())
  }

  call<Case extends Result['$case']>(op: Op, expect: Case, signal?: AbortSignal): Promise<ResultOf<Case>> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed)
    const answer = new Promise<Result['value']>((resolve, reject) => {
      const call = this.#pending.add(op, this.#env.clock.now(), outcome => {
        signal?.removeEventListener('abort', abort)
        if (outcome instanceof FsError) reject(outcome)
        else if (outcome.$case === expect) resolve(outcome.value)
        else reject(new FsError('EPROTO', `${describe(op)}: answered ${outcome.$case}, not ${expect}`))
      })
      const abort = () => this.#interrupt(call)
      if (signal?.aborted === true) abort()
      else signal?.addEventListener('abort', abort)
      if (this.#attached) {
        this.#outbox.push(call)
        this.#flushSoon()
      }
    })
    return answer as Promise<ResultOf<Case>>
  }

  /** Gives back leases that nobody asked for. What they covered is forgotten already. */
  release(inos: readonly Ino[]): void {
    for (const ino of inos) this.#released.add(ino, this.#pending.lastId)
    this.#sendControl({ $case: 'release', value: { inos: [...inos] } })
  }

  /** Ends the session in order. Everything was flushed before. */
  async close(): Promise<void> {
    const link = this.#attached ? this.#link : undefined
    this.#failed = new FsError('EIO', 'The session is closed')
    this.#timer?.cancel()
    this.#redial?.cancel()
    if (link !== undefined) {
      this.#sendControl({ $case: 'goodbye', value: {} })
      this.#flush()
      const gone = new Promise<void>(resolve => {
        this.#gone = resolve
      })
      await Promise.race([gone, this.#env.timers.sleep(1000)])
    }
    this.#link?.close()
    this.#link = undefined
    this.#attached = false
    this.#pending.failAll(this.#failed)
  }

  // ---- sending

  #sendControl(item: NonNullable<SessionUpItem['item']>): void {
    this.#control.push({ item })
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
    const link = this.#link
    if (!this.#attached || link === undefined) return
    const items = this.#control
    this.#control = []
    for (const call of this.#outbox) {
      if (call.sent) continue
      items.push({ item: { $case: 'call', value: this.#pending.send(call) } })
    }
    this.#outbox = []
    const acked = this.#pending.acked
    for (let at = 0; at < items.length; at += itemsPerFrame)
      link.send({ items: items.slice(at, at + itemsPerFrame), acked })
  }

  // ---- the link

  #dial(): void {
    if (this.#failed !== undefined) return
    const link = this.#network.dial(this.#options.address, sessionAttach)
    this.#link = link
    this.#helloAt = this.#env.clock.now()
    this.#heardAt = this.#helloAt
    link.onFrame(frame => {
      if (this.#link === link) this.#onFrame(frame)
    })
    link.onClose(error => {
      if (this.#link === link) this.#onClose(error)
    })
    const { address: _a, waitMs: _w, startWaitMs: _s, ...who } = this.#options
    const item: SessionUpItem['item'] = {
      $case: 'hello',
      value: {
        versionMin: wireVersionMin,
        versionMax: wireVersion,
        session: this.#welcome?.identity.session ?? 0n,
        epoch: this.#welcome?.identity.epoch ?? 0n,
        secret: this.#welcome?.secret ?? noBytes,
        cluster: this.#welcome?.facts.cluster ?? noBytes,
        clock: this.#env.clock.wall(),
        ...who,
      },
    }
    link.send({ items: [{ item }], acked: this.#pending.acked })
  }

  #onClose(error: FsError | undefined): void {
    this.#link = undefined
    if (this.#attached) {
      this.#awaySince = this.#env.clock.now()
      this.#env.log.info('Lost the master', {
        address: this.#options.address,
        why: error?.message ?? 'closed',
      })
    }
    this.#attached = false
    this.#outbox = []
    for (const call of this.#pending.all())
      if (call.op.$case === 'reclaim') this.#pending.abandon(call, new FsError('ECANCELED'))
    this.#gone?.()
    if (this.#failed !== undefined) return
    if (!this.#warnedAway && this.#attempts >= 5) {
      this.#warnedAway = true
      this.#env.log.warn('The master does not answer', {
        address: this.#options.address,
        why: error?.message ?? 'closed',
      })
    }
    const ceiling = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(this.#attempts, 10))
    this.#attempts += 1
    // Between half and all of it, so that the mounts of a restarted master do not come in step.
    const delay = ceiling / 2 + this.#env.random.below(Math.ceil(ceiling / 2) + 1)
    this.#redial = this.#env.timers.after(delay, () => this.#dial())
  }

  /** Ends a link that is of no use, and dials again. */
  #drop(why: FsError): void {
    const link = this.#link
    if (link === undefined) return
    link.close(why)
    // A link tells of its end later or at once; either way only the first counts.
    if (this.#link === link) this.#onClose(why)
  }

  #onFrame(frame: SessionDown): void {
    this.#heardAt = this.#env.clock.now()
    for (const { item } of frame.items) {
      if (item === undefined) continue
      this.#onItem(item)
      if (this.#link === undefined) return
    }
    const first = this.#pending.firstId
    this.#released.forget(first ?? this.#pending.lastId + 1n)
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
    }
  }

  // ---- what the master says

  #onWelcome(wire: Welcome): void {
    const welcome = welcomeFromWire(wire, this.#welcome?.facts)
    const before = this.#known
    const renewed = before !== undefined && before !== welcome.identity.session
    if (renewed) this.#sessionDied('the master began another')
    if (before !== welcome.identity.session) this.#incarnation += 1
    this.#welcome = welcome
    this.#attempts = 0
    this.#warnedAway = false
    this.#onContact(wire.time, this.#helloAt)
    const reclaim = before !== undefined && !renewed && wire.reclaim
    this.#env.log.info(reclaim ? 'Attached, reclaiming leases' : 'Attached to the master', {
      address: this.#options.address,
      session: welcome.identity.session,
      epoch: welcome.identity.epoch,
    })
    if (reclaim) this.#reclaim()
    else this.#attachedNow()
  }

  /** Sends all that is unanswered, oldest first. */
  #attachedNow(): void {
    this.#attached = true
    this.#outbox = []
    for (const call of this.#pending.all()) {
      call.sent = false
      this.#outbox.push(call)
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
    const link = must(this.#link, 'link')
    const holdings = must(this.#holder, 'holder').holdings()
    const calls = [...reclaimOps(holdings.leases, holdings.locks)].map(op => {
      const call = this.#pending.add(op, this.#env.clock.now(), outcome => {
        if (this.#link !== link) return
        if (outcome instanceof FsError) this.#drop(outcome)
        else if (op.value.last) this.#attachedNow()
      })
      return this.#pending.send(call)
    })
    for (const value of calls)
      link.send({ items: [{ item: { $case: 'call', value } }], acked: this.#pending.acked })
  }

  #onRefused(refused: Refused): void {
    const error = errorFromWire(refused.error, 'refused.error')
    if (refused.sessionDead && this.#known !== undefined) {
      this.#sessionDied(error.message)
      this.#drop(error)
      return
    }
    if (this.#opened !== undefined) {
      this.#fail(error)
      return
    }
    this.#env.log.error('The master refuses this mount', { why: error.message })
    this.#drop(error)
  }

  #onReply(reply: Reply): void {
    for (const grant of reply.leases) {
      const ino = toIno(grant.ino, 'lease.ino')
      const lease = leaseFromWire(grant.kind, 'lease.kind')
      if (this.#released.mayGrant(ino, reply.id)) must(this.#holder, 'holder').granted(ino, lease)
    }
    const call = this.#pending.answer(reply)
    if (call?.abandoned === true)
      must(this.#holder, 'holder').distrust('a command that was given up has been answered')
  }

  #onRecall(recall: Recall): void {
    const ino = toIno(recall.ino, 'recall.ino')
    const to = leaseFromWire(recall.to, 'recall.to')
    const incarnation = this.#incarnation
    const holder = must(this.#holder, 'holder')
    void holder.recalled(ino, to, recall.removing).then(({ kept, open }) => {
      if (this.#incarnation !== incarnation) return
      this.#sendControl({
        $case: 'recallDone',
        value: { id: recall.id, ino: recall.ino, kept: leaseToWire(kept), open },
      })
    })
  }

  #onContact(time: bigint, sentMs: number): void {
    this.#time.sample(time, sentMs)
    const lease = this.#welcome?.leaseMs ?? leaseMs
    this.#leaseUntil = Math.max(this.#leaseUntil, sentMs + lease - leaseMarginMs)
    this.#lapsed = this.#leaseUntil <= this.#env.clock.now()
  }

  #sessionDied(why: string): void {
    const lost = this.#pending.sessionDied()
    this.#env.log.error('The session died: unanswered commands have an unknown outcome', {
      session: this.#welcome?.identity.session ?? sessionId(0n),
      why,
      commands: lost.filter(call => call.command).map(call => describe(call.op)),
    })
    this.#control = []
    this.#outbox = []
    this.#released.clear()
    this.#lapsed = true
    this.#leaseUntil = Number.NEGATIVE_INFINITY
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
    if (!this.#lapsed && this.#leaseUntil <= now) {
      this.#lapsed = true
      this.#env.log.warn('The lease ran out without contact to the master')
      must(this.#holder, 'holder').distrust('the lease ran out')
    }
    if (this.#attached && now - this.#heartbeatAt >= every) this.#heartbeat(now)
    if (this.#link !== undefined && now - this.#heardAt > 3 * every)
      this.#drop(new FsError('ETIMEDOUT', 'The master is silent'))
    if (!this.#attached) this.#giveUp(now)
  }

  #heartbeat(now: number): void {
    this.#heartbeatAt = now
    const dirtyBytes = BigInt(must(this.#holder, 'holder').dirtyBytes)
    // Rounded down: the lease may end early, never late.
    this.#sendControl({ $case: 'heartbeat', value: { sentMs: BigInt(Math.floor(now)), dirtyBytes } })
  }

  #giveUp(now: number): void {
    const { waitMs, startWaitMs, address } = this.#options
    if (this.#opened !== undefined && now - this.#awaySince > startWaitMs) {
      this.#fail(new FsError('ETIMEDOUT', `The master at ${address} does not answer`))
      return
    }
    for (const call of this.#pending.all())
      if (now - Math.max(call.since, this.#awaySince) > waitMs)
        this.#pending.abandon(call, new FsError('ETIMEDOUT', `The master at ${address} is away`))
  }

  #fail(error: FsError): void {
    this.#failed = error
    this.#timer?.cancel()
    this.#redial?.cancel()
    this.#link?.close()
    this.#link = undefined
    this.#attached = false
    this.#pending.failAll(error)
    this.#opened?.reject(error)
    this.#opened = undefined
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
