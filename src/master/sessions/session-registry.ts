/**
 * The sessions of the mounts. Authoritative in the sessions table: identity, secret, what was
 * acknowledged. In memory only, and reclaimed after a restart: leases, locks, pins, reservations.
 *
 *                 Hello (new)                 link lost
 *   (no row) ─────────────────► connected ◄──────────────► silent
 *                                   │   Hello (resume)        │ leaseMs + margin
 *                           Goodbye │                         ▼
 *                                   └─────────────────────► dead (row gone; resuming is refused)
 *
 * After a restart every session of the table is silent and `reclaiming` until it has reclaimed what
 * it held, or is dead.
 */
import { timingSafeEqual } from 'node:crypto'
import { FsError } from '../../core/errors.ts'
import { rootIno, type SessionId } from '../../core/ids.ts'
import { wireVersionDomains } from '../../core/limits.ts'
import { errorToWire } from '../../wire/attr.ts'
import type { Call, EndSession, Hello } from '../../wire/gen/cairn/v1/session.ts'
import { bytesUpTo, text, toSessionIdOrNone, u32, u63 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import { Scope } from '../exports/admission.ts'
import { dedupDomainOf } from '../exports/dedup-domain.ts'
import { mayShortCircuit } from '../store/exports.ts'
import { chooseExport, exportsFor, type TokenExports } from '../exports/choose-export.ts'
import { Flow } from '../nodes/flow.ts'
import { agreedVersion, hex } from '../nodes/node-registry.ts'
import type { SessionRow } from '../store/sessions.ts'

/** A call that waits for leases, for the end of the grace period or (a barrier) for other calls. */
export interface ParkedCall {
  readonly session: Session
  readonly call: Call
  /** When it came, by the stopwatch. */
  readonly began: number
  /** In the order of their coming. */
  readonly order: number
  /** Sessions that said, since it waits, whether they have an inode open that it removes. */
  readonly asked: Set<SessionId>
  /** Sessions that said, since it waits, that they have an inode open for writing, as it would. */
  readonly sharing: Set<SessionId>
}

export class Session {
  row: SessionRow
  /** Undefined: it sees everything. */
  readonly scope: Scope | undefined
  connection: number | undefined
  /** Whose certificate its connection came with; empty without TLS. */
  identity: string
  heardMs: number
  /** Why it ends as soon as its mount cannot believe any more that it has a lease. It may be cut off, and not know. */
  condemned: string | undefined
  /** Leases and locks from before a restart of the master are not known yet. */
  reclaiming: boolean
  /** Commands up to here were acknowledged. */
  acked: bigint
  /** Part of `acked` that is in the database. */
  ackedStored: bigint
  /** Highest id of a command that may have a stored reply. */
  highest: bigint
  dirtyBytes = 0n
  /** In: blocks that were stored. Out: blocks that nodes sent. */
  readonly flow = new Flow()
  /** Calls that came in. */
  calls = 0
  /** Bytes of file data that it may accept before they are stored. */
  reservedBytes = 0
  readonly parked = new Map<bigint, ParkedCall>()

  constructor(row: SessionRow, { now, entropy }: Turn, reclaiming: boolean, highest: bigint) {
    this.row = row
    this.scope = row.export === '' ? undefined : new Scope(row.id, row.export, entropy.bytes(8))
    this.identity = row.identity
    this.heardMs = now
    this.reclaiming = reclaiming
    this.acked = row.acked
    this.ackedStored = row.acked
    this.highest = highest
  }

  get id(): SessionId {
    return this.row.id
  }
}

export class SessionRegistry {
  readonly #turn: Turn
  readonly #byId = new Map<SessionId, Session>()
  readonly #byConnection = new Map<number, Session>()
  #strangers = false
  #tokens: TokenExports = new Map()

  constructor(turn: Turn) {
    this.#turn = turn
    for (const row of turn.store.sessions.all())
      this.#byId.set(row.id, new Session(row, turn, true, turn.store.replies.highest(row.id)))
  }

  all(): IterableIterator<Session> {
    return this.#byId.values()
  }

  get size(): number {
    return this.#byId.size
  }

  /**
   * Nobody but this one session has anything of the file system: who comes later must begin at the root. A mount
   * whose session was ended may still be there, and its programs have files open. Of those that were ended before a
   * restart of the master it is supposed that they have given up.
   */
  get isAlone(): boolean {
    return this.#byId.size < 2 && !this.#strangers
  }

  /** A session was ended that did not ask for it, and whose process may go on. */
  noteStranger(): void {
    this.#strangers = true
  }

  /** Which exports the tokens of identities were for. */
  noteTokens(tokens: TokenExports): void {
    this.#tokens = tokens
  }

  /** Sessions that show what their identities may not mount any more. */
  ofOtherExports(): Session[] {
    const { exports } = this.#turn.store
    return [...this.#byId.values()].filter(({ row }) => {
      const allowed = exportsFor(exports, this.#tokens, row.identity)
      if (row.export === '') return allowed !== undefined
      return exports.find(row.export) === undefined || allowed?.has(row.export) === false
    })
  }

  find(id: SessionId): Session | undefined {
    return this.#byId.get(id)
  }

  ofIdentity(identity: string): Session[] {
    return [...this.#byId.values()].filter(({ row }) => row.identity === identity)
  }

  ofConnection(connection: number): Session | undefined {
    return this.#byConnection.get(connection)
  }

  /** Some other session may hold leases and locks that are not known yet. */
  inGraceFor(session: Session): boolean {
    for (const other of this.#byId.values()) if (other.reclaiming && other !== session) return true
    return false
  }

  /**
   * Begins or resumes a session, or answers Refused and ends the connection. `identity`: whose certificate it came
   * with; undefined without TLS.
   */
  hello(connection: number, wire: Hello, identity: string | undefined): Session | undefined {
    let dead = false
    try {
      const version = agreedVersion(wire.versionMin, wire.versionMax)
      const { cluster } = this.#turn.store.format.facts
      if (wire.cluster.length > 0 && !cluster.equals(wire.cluster))
        throw new FsError('EINVAL', `The mount is of cluster ${hex(wire.cluster)}, this is ${hex(cluster)}`)
      const id = toSessionIdOrNone(wire.session)
      const known = id === undefined ? undefined : this.#byId.get(id)
      dead =
        id !== undefined &&
        (known === undefined || known.row.epoch !== wire.epoch || known.condemned !== undefined)
      if (dead) throw new FsError('ESTALE', `Session ${wire.session} (epoch ${wire.epoch}) has ended`)
      if (known !== undefined && !isSecret(known.row.secret, wire.secret))
        throw new FsError('EACCES', `Session ${wire.session}: wrong secret`)
      if (known !== undefined && !isOf(known, identity))
        throw new FsError('EACCES', `Session ${wire.session} is of another identity`)
      const session = known ?? this.#begin(wire, version, identity)
      this.#noteProcess(session, wire)
      session.identity = identity ?? ''
      this.#connect(session, connection, version, known !== undefined)
      return session
    } catch (thrown) {
      const error = FsError.from(thrown)
      this.refuse(connection, error, dead)
      return undefined
    }
  }

  refuse(connection: number, error: FsError, dead: boolean): void {
    const { out } = this.#turn
    out.session(connection, { $case: 'refused', value: { error: errorToWire(error), sessionDead: dead } })
    out.close(connection)
    out.log('info', 'mount refused', { reason: error.message })
  }

  disconnected(connection: number): Session | undefined {
    const session = this.#byConnection.get(connection)
    if (session === undefined) return undefined
    this.#byConnection.delete(connection)
    session.connection = undefined
    session.flow.stop()
    return session
  }

  /**
   * The other session that `by` names with its secret. Undefined if there is none: it has ended, the database is of
   * before it began, or it is of another identity.
   */
  proven(by: Session, wire: EndSession): Session | undefined {
    const id = toSessionIdOrNone(wire.session)
    const epoch = u63(wire.epoch, 'end_session.epoch')
    const secret = bytesUpTo(wire.secret, 64, 'end_session.secret')
    if (id === by.id) throw new FsError('EINVAL', 'end_session.session: a session ends itself by Goodbye')
    const session = id === undefined ? undefined : this.#byId.get(id)
    if (session?.row.epoch !== epoch || !isSecret(session.row.secret, secret)) return undefined
    return isOf(session, by.row.identity) ? session : undefined
  }

  /** Forgets a session that ended. What it held is the caller's. */
  remove(session: Session): void {
    const { store } = this.#turn
    this.#byId.delete(session.id)
    if (session.connection !== undefined) this.#byConnection.delete(session.connection)
    store.sessions.ended(session.id)
    store.replies.sessionEnded(session.id)
    store.inoRanges.sessionEnded(session.id)
  }

  /** Sessions that have been silent for longer than their lease. */
  expired(): Session[] {
    const { settings, now } = this.#turn
    const limit = now - settings.leaseMs - settings.leaseMarginMs
    return [...this.#byId.values()].filter(session => session.heardMs < limit)
  }

  /** Sessions of identities that are not good any more. */
  ofOthersThan(good: ReadonlySet<string>): Session[] {
    return [...this.#byId.values()].filter(({ row }) => row.identity !== '' && !good.has(row.identity))
  }

  /** The whole process was stopped for so long: that was not the mounts' silence. */
  forgive(ms: number): void {
    for (const session of this.#byId.values()) session.heardMs += ms
  }

  /** Drops the replies that were acknowledged since the last time. */
  trimReplies(): void {
    const { store } = this.#turn
    for (const session of this.#byId.values()) {
      if (session.acked === session.ackedStored) continue
      store.replies.acknowledged(session.id, session.acked)
      store.sessions.acknowledged(session.id, session.acked)
      session.ackedStored = session.acked
    }
  }

  #begin(wire: Hello, version: number, identity = ''): Session {
    const { store, entropy, time } = this.#turn
    const chosen = chooseExport(store.exports, this.#tokens, identity, text(wire.export, 'hello.export', 64))
    if (chosen !== undefined && (store.inodes.find(chosen.ino)?.nlink ?? 0) === 0)
      throw new FsError('ENOENT', `The folder of the export ${chosen.name} was removed`)
    // Its blocks would be those of everybody. Sessions of before an upgrade go on in the cluster's domain until they end.
    if (chosen !== undefined && version < wireVersionDomains)
      throw new FsError(
        'EPROTO',
        `An export is mounted with version ${wireVersionDomains} of the protocol, this mount speaks ${version}: update it`,
      )
    const { sessionsPerIdentity } = this.#turn.settings
    let others = 0
    for (const session of this.#byId.values()) if (session.identity === identity) others++
    if (others >= sessionsPerIdentity)
      throw new FsError(
        'EMFILE',
        `${identity === '' ? 'There are' : `The identity ${identity} has`} ${others} mounts, and may have no more`,
      )
    const row: SessionRow = {
      id: store.sessions.issueId(),
      epoch: 1n,
      secret: entropy.bytes(16),
      host: text(wire.host, 'hello.host', 300),
      mountpoint: text(wire.mountpoint, 'hello.mountpoint', 5000),
      pid: u32(wire.pid, 'hello.pid'),
      program: text(wire.program, 'hello.program', 300),
      zone: text(wire.zone, 'hello.zone', 300),
      readOnly: wire.readOnly,
      started: time,
      acked: 0n,
      identity,
      export: chosen?.name ?? '',
      domain: dedupDomainOf(chosen, store.format.facts.cluster),
    }
    store.sessions.began(row)
    const session = new Session(row, this.#turn, false, 0n)
    this.#byId.set(row.id, session)
    return session
  }

  /** A mount may be served by another process than the one that began the session. */
  #noteProcess(session: Session, wire: Hello): void {
    const { id, pid: before, program: versionBefore } = session.row
    const pid = u32(wire.pid, 'hello.pid')
    const program = text(wire.program, 'hello.program', 300)
    if (pid === before && program === versionBefore) return
    this.#turn.store.sessions.movedTo(id, pid, program)
    session.row = { ...session.row, pid, program }
  }

  #connect(session: Session, connection: number, version: number, known: boolean): void {
    const { out, settings, store, time, now, diskFull } = this.#turn
    if (session.connection !== undefined) {
      this.#byConnection.delete(session.connection)
      out.close(session.connection, new FsError('ECANCELED', 'The mount attached anew'))
    }
    session.connection = connection
    session.heardMs = now
    this.#byConnection.set(connection, session)
    const { cluster, blockBytes, copies, minCopies } = store.format.facts
    const rules = store.exports.find(session.row.export)
    out.session(connection, {
      $case: 'welcome',
      value: {
        version,
        session: session.id,
        epoch: session.row.epoch,
        secret: session.row.secret,
        cluster,
        resumed: known && !session.reclaiming,
        reclaim: session.reclaiming,
        leaseMs: settings.leaseMs,
        heartbeatMs: settings.heartbeatMs,
        blockBytes,
        copies,
        minCopies: Math.min(minCopies, copies),
        time,
        root: rules?.ino ?? rootIno,
        readOnly: rules?.readOnly ?? false,
        export: session.row.export,
        judged: rules !== undefined && rules.squash !== 'none',
        noSetuid: rules?.setuid === false,
        noDevices: rules?.devices === false,
        full: diskFull,
        dedupDomain: session.row.domain,
        noShortCircuit: rules !== undefined && !mayShortCircuit(rules),
      },
    })
    out.welcomed(connection)
    const { host, mountpoint } = session.row
    out.log('info', known ? 'mount resumed' : 'mount attached', { session: session.id, host, mountpoint })
  }
}

/** Its own, or nobody's: without TLS there is no telling. */
const isOf = ({ row }: Session, identity = ''): boolean =>
  row.identity === '' || identity === '' || row.identity === identity

const isSecret = (secret: Uint8Array, given: Uint8Array): boolean =>
  secret.length === given.length && timingSafeEqual(secret, given)
