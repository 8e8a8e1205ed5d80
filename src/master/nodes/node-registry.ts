/**
 * The chunkservers and what is known of them. Authoritative in the nodes table: id, key, store,
 * address and how far their changes are known. In memory only: connection, state and usage, which
 * each node tells again when it attaches.
 *
 *            Register accepted
 *   down ───────────────────────► up ◄──────► refusing (full: no new blocks), failing (its disk is broken)
 *        ◄───────────────────────────────────────
 *          connection lost, silent, Goodbye
 */
import { FsError } from '../../core/errors.ts'
import type { NodeId, SessionId } from '../../core/ids.ts'
import { wireVersion, wireVersionDomains, wireVersionMin } from '../../core/limits.ts'
import { MiB, nsPerMs } from '../../core/units.ts'
import { errorToWire } from '../../wire/attr.ts'
import type { ScrubState } from '../../wire/gen/cairn/v1/common.ts'
import type { NodeHeartbeat, ReadKey, ReadShare, Register } from '../../wire/gen/cairn/v1/nodes.ts'
import { bytesUpTo, text, toNodeIdOrNone, u63, u64 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import { Flow } from './flow.ts'
import type { NodeView } from '../placement/choose-nodes.ts'
import type { NodeRow } from '../store/nodes.ts'

export type NodeState = 'up' | 'refusing' | 'failing' | 'down'

/**
 * What is left out when space is granted: a part of the disk, at least so many bytes, of a small disk at most
 * the second part. A node refuses blocks before it is full to the last byte, and has more than it said last: what
 * was granted must be stored all the same.
 */
const reservePart = 50
const reserveBytesMin = 8 * MiB
const reservePartMax = 8
/** An idle node's last word is written down this often: cluster time is found again by it. */
const seenMs = 60_000

export class Node implements NodeView {
  row: NodeRow
  connection: number | undefined
  heardMs: number
  /** When it went down, or the master started without it. */
  downSinceMs: number
  blocks = 0
  load = 0
  refusing = false
  /** Since when its disk takes no writes or gives errors. */
  failingSinceMs: number | undefined
  reason = ''
  /** It said goodbye, and is expected back. */
  leftInOrder = false
  /** Its inventory was compared since it attached: its replica rows are what it has. */
  compared = false
  scrub: ScrubState | undefined
  /** In: blocks that came. Out: blocks that others read. */
  readonly flow = new Flow()
  /** Bytes of receipts, while its own word for the blocks has not come: a heartbeat may have left before it had them. */
  unconfirmedBytes = 0
  /** Of those for which its word has come since the last heartbeat: the next one counts them. */
  recentBytes = 0
  /** Of copies that are on their way to it. */
  promisedBytes = 0
  /** Of copies that are about to leave it, and of those that were ordered away since the last heartbeat. */
  leavingBytes = 0
  trimmedBytes = 0
  /** It deleted blocks since the last heartbeat, which counts them still. */
  freed = false
  /** A failed delete order, and when: no more of them for a while, or until the node attaches again. */
  removalStopped = ''
  removalStoppedMs = 0
  /** Of the protocol, as it attached last; 0: it has not. */
  version = 0

  constructor(row: NodeRow, nowMs: number) {
    this.row = row
    this.heardMs = nowMs
    this.downSinceMs = nowMs
  }

  get id(): NodeId {
    return this.row.id
  }

  get host(): string {
    return this.row.host
  }

  get zone(): string {
    return this.row.zone
  }

  get state(): NodeState {
    if (this.connection === undefined) return 'down'
    if (this.failingSinceMs !== undefined) return 'failing'
    return this.refusing ? 'refusing' : 'up'
  }

  get isUp(): boolean {
    return this.connection !== undefined
  }

  /** Without, it would take the ids of blocks of a dedup domain for wrong ones. */
  get knowsDomains(): boolean {
    return this.version >= wireVersionDomains
  }

  get accepts(): boolean {
    return this.state === 'up' && !this.row.draining
  }

  get totalBytes(): number {
    return this.row.totalBytes
  }

  /** The part of its disk that will be in use when all that is under way is done. */
  get usedShare(): number {
    const { totalBytes, usedBytes } = this.row
    const coming = this.#coming - this.leavingBytes - this.trimmedBytes
    return totalBytes === 0 ? 1 : Math.min(1, Math.max(0, (usedBytes + coming) / totalBytes))
  }

  /** What may be granted. Some of what is coming may be counted as used already: never too much. */
  get freeBytes(): number {
    const { totalBytes, usedBytes } = this.row
    const reserve = Math.max(totalBytes / reservePart, Math.min(reserveBytesMin, totalBytes / reservePartMax))
    return Math.max(0, Math.floor(totalBytes - reserve - usedBytes - this.#coming))
  }

  /** What it had left by its last word: it decides itself about the last of it. */
  get leftBytes(): number {
    return Math.max(0, this.row.totalBytes - this.row.usedBytes)
  }

  get #coming(): number {
    return this.unconfirmedBytes + this.recentBytes + this.promisedBytes
  }
}

export class NodeRegistry {
  readonly #turn: Turn
  readonly #readKeys: () => ReadKey[]
  readonly #byId = new Map<NodeId, Node>()
  readonly #byConnection = new Map<number, Node>()

  constructor(turn: Turn, readKeys: () => ReadKey[]) {
    this.#turn = turn
    this.#readKeys = readKeys
    for (const row of turn.store.nodes.all()) this.#byId.set(row.id, new Node(row, turn.now))
  }

  /** What the session was granted is to be refused from now on. */
  fence(session: SessionId): void {
    this.#tellAll({ endedSessions: [session] })
  }

  /**
   * What it asked for with a heartbeat: how much of the rates of exports is this node's, until it asks again, and which of its
   * files are the blocks that they are named by.
   */
  answer(
    { connection }: Node,
    { readShares, proven }: { readonly readShares: readonly ReadShare[]; readonly proven: Uint8Array[] },
  ): void {
    if (connection === undefined || readShares.length + proven.length === 0) return
    this.#turn.out.node(connection, {
      $case: 'heartbeat',
      value: {
        sentMs: 0n,
        time: this.#turn.time,
        endedSessions: [],
        readKeys: [],
        readShares: [...readShares],
        proven,
      },
    })
  }

  tellReadKeys(readKeys: readonly ReadKey[]): void {
    this.#tellAll({ readKeys })
  }

  /** One that is away hears of it when it attaches. */
  #tellAll(what: {
    readonly endedSessions?: readonly bigint[]
    readonly readKeys?: readonly ReadKey[]
  }): void {
    const endedSessions = [...(what.endedSessions ?? [])]
    const readKeys = [...(what.readKeys ?? [])]
    for (const connection of this.#byConnection.keys())
      this.#turn.out.node(connection, {
        $case: 'heartbeat',
        value: { sentMs: 0n, time: this.#turn.time, endedSessions, readKeys, readShares: [], proven: [] },
      })
  }

  all(): IterableIterator<Node> {
    return this.#byId.values()
  }

  get size(): number {
    return this.#byId.size
  }

  find(id: bigint): Node | undefined {
    return this.#byId.get(id as NodeId)
  }

  ofConnection(connection: number): Node | undefined {
    return this.#byConnection.get(connection)
  }

  /** Nodes that take new blocks. */
  accepting(): Node[] {
    return [...this.#byId.values()].filter(node => node.accepts)
  }

  /** Where blocks whose space was granted may still go when those run out. */
  withRoomLeft(): { id: NodeId; host: string; zone: string; freeBytes: number; node: Node }[] {
    return [...this.#byId.values()]
      .filter(node => (node.state === 'up' || node.state === 'refusing') && !node.row.draining)
      .map(node => ({ id: node.id, host: node.host, zone: node.zone, freeBytes: node.leftBytes, node }))
  }

  /**
   * It is down, or its disk fails, but not for so long that it is given up; after a start of the master that is all
   * nodes.
   */
  isBrieflyAway(node: Node): boolean {
    const sinceMs = node.isUp ? node.failingSinceMs : node.downSinceMs
    return sinceMs !== undefined && this.#turn.now - sinceMs < this.#turn.settings.repairDelayMs
  }

  /** Its copies are as good as lost from then on; undefined while it is there and works. */
  givenUpAtMs(node: Node): number | undefined {
    const { repairDelayMs, maintenanceMs } = this.#turn.settings
    if (!node.isUp) return node.downSinceMs + (node.leftInOrder ? maintenanceMs : repairDelayMs)
    return node.failingSinceMs === undefined ? undefined : node.failingSinceMs + repairDelayMs
  }

  /** Its copies count: it is not being emptied, and it is there or will be. */
  isExpected(node: Node): boolean {
    return !node.row.draining && this.#turn.now < (this.givenUpAtMs(node) ?? Number.POSITIVE_INFINITY)
  }

  setDraining(node: Node, draining: boolean): void {
    node.row = { ...node.row, draining }
    this.#turn.store.nodes.setDraining(node.id, draining)
  }

  /** It is forgotten for good; whatever it had is settled. A process of it that still runs is refused from now on. */
  remove(node: Node): void {
    if (node.connection !== undefined) {
      this.#byConnection.delete(node.connection)
      this.#turn.out.close(node.connection, new FsError('EINVAL', `Node ${node.id} was removed`))
    }
    this.#byId.delete(node.id)
    this.#turn.store.nodes.removed(node.id)
    this.#turn.store.nodeLabels.set(node.id, '')
  }

  /**
   * Admits a node, or answers NodeRefused and ends the connection. `identity`: whose certificate it came with; undefined
   * without TLS.
   */
  register(connection: number, wire: Register, identity: string | undefined): Node | undefined {
    try {
      return this.#admit(connection, wire, identity)
    } catch (thrown) {
      if (!this.#turn.store.canGoOn(thrown)) throw thrown
      const error = FsError.from(thrown)
      this.#turn.out.node(connection, { $case: 'refused', value: { error: errorToWire(error) } })
      this.#turn.out.close(connection)
      this.#turn.out.log('warn', 'node refused', {
        address: wire.address.slice(0, 200),
        reason: error.message,
      })
      return undefined
    }
  }

  heartbeat(node: Node, wire: NodeHeartbeat): void {
    node.heardMs = this.#turn.now
    node.blocks = u64(wire.blocks, 'heartbeat.blocks')
    node.load = wire.load
    node.refusing = wire.refusing
    if (!wire.failing) node.failingSinceMs = undefined
    else node.failingSinceMs ??= this.#turn.now
    node.scrub = wire.scrub
    node.flow.note(
      this.#turn.now,
      u63(wire.receivedBytes, 'heartbeat.received_bytes'),
      u63(wire.sentBytes, 'heartbeat.sent_bytes'),
    )
    node.reason = text(wire.reason, 'heartbeat.reason')
    node.recentBytes = 0
    node.trimmedBytes = 0
    node.freed = false
    const totalBytes = u64(wire.totalBytes, 'heartbeat.total_bytes')
    const usedBytes = u64(wire.usedBytes, 'heartbeat.used_bytes')
    const changed = totalBytes !== node.row.totalBytes || usedBytes !== node.row.usedBytes
    const { time } = this.#turn
    const old = time - node.row.seen > ns(seenMs)
    node.row = { ...node.row, totalBytes, usedBytes, seen: changed || old ? time : node.row.seen }
    if (changed || old) this.#turn.store.nodes.reported(node.id, totalBytes, usedBytes, time)
  }

  /** Its changes up to here are in the database. */
  changesKnown(node: Node, sequence: bigint): void {
    node.row = { ...node.row, knownSequence: sequence }
    this.#turn.store.nodes.changesKnown(node.id, sequence)
  }

  /** The connection ended, `inOrder` after a goodbye. Returns the node that is down by it. */
  disconnected(connection: number, inOrder = false): Node | undefined {
    const node = this.#byConnection.get(connection)
    if (node === undefined) return undefined
    this.#byConnection.delete(connection)
    node.connection = undefined
    node.flow.stop()
    node.downSinceMs = this.#turn.now
    node.leftInOrder = inOrder
    this.#turn.out.log('warn', inOrder ? 'node stopped in order' : 'node down', {
      node: node.id,
      address: node.row.address,
    })
    return node
  }

  /** Nodes of identities that are not good any more are whoever's that has their stores. */
  disown(good: ReadonlySet<string>): void {
    for (const node of this.#byId.values()) {
      const { id, identity } = node.row
      if (identity === '' || good.has(identity)) continue
      node.row = { ...node.row, identity: '' }
      this.#turn.store.nodes.setIdentity(id, '')
    }
  }

  /** Connections of nodes that have been silent for too long. */
  silent(): number[] {
    const limit = this.#turn.now - this.#turn.settings.nodeSilentMs
    return [...this.#byConnection]
      .filter(([, node]) => node.heardMs < limit)
      .map(([connection]) => connection)
  }

  /** The whole process was stopped for so long: that was not the nodes' silence. */
  forgive(ms: number): void {
    for (const node of this.#byId.values()) node.heardMs += ms
  }

  #admit(connection: number, wire: Register, identity: string | undefined): Node {
    const { store, time, now } = this.#turn
    const version = agreedVersion(wire.versionMin, wire.versionMax)
    const facts = store.format.facts
    if (wire.cluster.length > 0 && !facts.cluster.equals(wire.cluster))
      throw new FsError(
        'EINVAL',
        `The store belongs to cluster ${hex(wire.cluster)}, this master to ${hex(facts.cluster)}`,
      )
    const known = this.#known(wire)
    const owner = known?.identity ?? ''
    if (identity !== undefined && owner !== '' && owner !== identity)
      throw new FsError(
        'EACCES',
        `Node ${known?.id ?? ''} is of the identity ${owner}, and this is ${identity}: if its machine has joined anew, cairn identity revoke ${owner}`,
      )
    const incarnation = u63(wire.incarnation, 'incarnation')
    if (known !== undefined && incarnation < known.incarnation)
      throw new FsError(
        'EBUSY',
        `Store of node ${known.id} was opened ${known.incarnation} times, this is opening ${incarnation}: it was copied or put back`,
      )
    const row: NodeRow = {
      id: known?.id ?? this.#returning(wire) ?? store.nodes.issueId(),
      store: known?.store ?? Buffer.from(bytesUpTo(wire.store, 64, 'store')),
      key: known?.key ?? this.#turn.entropy.bytes(32),
      incarnation,
      address: text(wire.address, 'address', 300),
      zone: text(wire.zone, 'zone', 300),
      host: text(wire.host, 'host', 300),
      totalBytes: u64(wire.totalBytes, 'total_bytes'),
      usedBytes: u64(wire.usedBytes, 'used_bytes'),
      // A store that was put back to an older state has fewer changes than the master knows of.
      knownSequence: minimum(known?.knownSequence ?? 0n, u63(wire.sequence, 'sequence')),
      seen: time,
      draining: known?.draining ?? false,
      identity: identity ?? owner,
    }
    store.nodes.registered(row)
    const node = this.#byId.get(row.id) ?? new Node(row, now)
    this.#replaceConnection(node, connection)
    node.row = row
    node.version = version
    node.heardMs = now
    node.blocks = u64(wire.blocks, 'blocks')
    node.refusing = false
    node.failingSinceMs = undefined
    node.reason = ''
    node.compared = false
    node.leftInOrder = false
    // What it tells now has everything that it ever gave a receipt for.
    node.unconfirmedBytes = 0
    node.recentBytes = 0
    node.removalStopped = ''
    this.#byId.set(row.id, node)
    this.#turn.out.node(connection, {
      $case: 'accepted',
      value: {
        version,
        cluster: facts.cluster,
        node: row.id,
        key: row.key,
        heartbeatMs: this.#turn.settings.heartbeatMs,
        blockBytes: facts.blockBytes,
        knownSequence: row.knownSequence,
        time,
        sessionsBelow: this.#turn.store.sessions.nextId,
        liveSessions: this.#turn.store.sessions.all().map(({ id }) => id),
        readKeys: this.#readKeys(),
      },
    })
    this.#turn.out.welcomed(connection)
    this.#turn.out.log('info', 'node up', { node: row.id, address: row.address, zone: row.zone })
    return node
  }

  /** The row of a store that registered before; it may not have heard its node id then. */
  #known(wire: Register): NodeRow | undefined {
    const { store } = this.#turn
    const { nodes } = store
    if (wire.store.length < 8)
      throw new FsError('EPROTO', `store: ${wire.store.length} bytes, at least 8 expected`)
    const claimed = toNodeIdOrNone(wire.node)
    if (claimed === undefined) return nodes.byStore(wire.store)
    const row = nodes.find(claimed)
    if (row === undefined && store.restores.mayHaveIssued(claimed)) return undefined
    if (row === undefined) throw new FsError('EINVAL', `Node ${claimed} is not known to this master`)
    if (!row.store.equals(wire.store))
      throw new FsError('EINVAL', `Node ${claimed} has another store: its folder was replaced or exchanged`)
    return row
  }

  /** The id of a node that registered after the backup that this database was restored from: it keeps it. */
  #returning(wire: Register): NodeId | undefined {
    const claimed = toNodeIdOrNone(wire.node)
    if (claimed === undefined) return undefined
    this.#turn.store.restores.unverify(claimed)
    return claimed
  }

  #replaceConnection(node: Node, connection: number): void {
    const old = node.connection
    if (old !== undefined) {
      this.#byConnection.delete(old)
      this.#turn.out.close(old, new FsError('ECANCELED', 'The node attached anew'))
    }
    node.connection = connection
    this.#byConnection.set(connection, node)
  }
}

/** The highest version that both speak. */
export function agreedVersion(min: number, max: number): number {
  const version = Math.min(max, wireVersion)
  if (version < Math.max(min, wireVersionMin))
    throw new FsError(
      'EPROTO',
      `The peer speaks versions ${min} to ${max}, this master ${wireVersionMin} to ${wireVersion}: update the older one`,
    )
  return version
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

const minimum = (a: bigint, b: bigint): bigint => (a < b ? a : b)

/** A duration as nanoseconds of cluster time. */
export const ns = (ms: number): bigint => BigInt(Math.floor(ms * Number(nsPerMs)))
