/**
 * Where blocks go and where they are: the answers to Plan and Locate, the grants that a Plan hands
 * out, and the judgement of the receipts that come back with a Commit.
 */
import { FsError } from '../../core/errors.ts'
import {
  type BlockId,
  blockIdFromBytes,
  blockIdToBytes,
  type Generation,
  type BlockKey,
  type NodeId,
  type SessionId,
} from '../../core/ids.ts'
import { copiesMax } from '../../core/limits.ts'
import type { Grant, Location, Receipt, Target } from '../../wire/gen/cairn/v1/common.ts'
import type { Plan, PlannedBlock, PlanReply, StoredBlock } from '../../wire/gen/cairn/v1/session.ts'
import { grantMac, isReceiptMac } from '../../wire/mac.ts'
import { listOf, toBlockId, toBlockLength, toInoOrNone, toNodeId } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { VerifiedReplica } from '../namespace/context.ts'
import { ns, type Node, type NodeRegistry } from '../nodes/node-registry.ts'
import type { DoomedInstances } from '../removal/doomed-instances.ts'
import type { Pins } from '../removal/pins.ts'
import type { Suspects } from '../repair/suspects.ts'
import type { Block } from '../store/blocks.ts'
import { chooseNodes, type PlacementWish } from './choose-nodes.ts'
import type { Unconfirmed } from '../nodes/unconfirmed.ts'

/** Most blocks of one Plan, and most nodes that it may exclude. */
const planBlocksMax = 4096
const nodesMax = 100_000

/** Who plans: what grants name, and where it runs. */
export interface Planning {
  readonly session: SessionId
  readonly epoch: bigint
  readonly host: string
  readonly zone: string
  /** The only blocks of which it may be told that they are there; undefined: all. */
  readonly knows?: { has(key: BlockKey): boolean } | undefined
  /** What its ids of blocks are made with; empty: nothing. */
  readonly dedupDomain: Uint8Array
}

/** What the receipts of a stored block proved. */
export interface Proof {
  readonly id: BlockId
  readonly length: number
  readonly replicas: readonly VerifiedReplica[]
  /** Of them, nodes that had told of it before. */
  readonly told: ReadonlySet<NodeId>
}

/** The master itself, which orders copies. */
const ownOrder = { session: 0n, epoch: 0n }

export class Planner {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #pins: Pins
  readonly #unconfirmed: Unconfirmed
  readonly #suspects: Suspects
  readonly #doomed: DoomedInstances

  constructor(
    turn: Turn,
    nodes: NodeRegistry,
    pins: Pins,
    unconfirmed: Unconfirmed,
    suspects: Suspects,
    doomed: DoomedInstances,
  ) {
    this.#turn = turn
    this.#nodes = nodes
    this.#pins = pins
    this.#unconfirmed = unconfirmed
    this.#suspects = suspects
    this.#doomed = doomed
  }

  plan(who: Planning, wire: Plan): PlanReply {
    const { store } = this.#turn
    const exclude = new Set(listOf(wire.exclude, nodesMax, 'plan.exclude').map(id => toNodeId(id, 'exclude')))
    // They would take such ids for wrong ones.
    if (who.dedupDomain.length > 0)
      for (const { id, knowsDomains } of this.#nodes.all()) if (!knowsDomains) exclude.add(id)
    const have = new Set(listOf(wire.have, copiesMax, 'plan.have').map(id => toNodeId(id, 'have')))
    const present = [...have].map(id => this.#nodes.find(id)).filter(node => node !== undefined)
    const goals = new Map<bigint, number>()
    const goalOf = (wireIno: bigint): number => {
      const known = goals.get(wireIno)
      if (known !== undefined) return known
      const ino = toInoOrNone(wireIno)
      const copies =
        (ino === undefined ? undefined : store.inodes.find(ino))?.copies ?? store.format.facts.copies
      goals.set(wireIno, copies)
      return copies
    }
    const planned = new Map<string, PlannedBlock>()
    const blocks = listOf(wire.blocks, planBlocksMax, 'plan.blocks').map(block => {
      const id = toBlockId(block.id, 'plan.blocks.id')
      const length = toBlockLength(block.length, 'plan.blocks.length', store.format.facts.blockBytes)
      const copies = goalOf(block.ino === 0n ? wire.ino : block.ino)
      // The same content twice in one plan is put once.
      const key = `${id}/${copies}`
      let result = planned.get(key)
      if (result === undefined) {
        result = this.#planOne(who, Buffer.from(id, 'hex'), length, copies, { exclude, present })
        planned.set(key, result)
      }
      return result
    })
    const copies = goalOf(wire.ino)
    return { blocks, copies, minCopies: this.minCopies(copies) }
  }

  /** Fewest receipts with which a block may be committed. */
  minCopies(copies: number): number {
    return Math.min(this.#turn.store.format.facts.minCopies, copies)
  }

  /** Where a block is for this reader: good copies on nodes that are up first, then same host, same zone, least loaded. */
  locations(key: BlockKey, reader: { readonly host: string; readonly zone: string } | undefined): Location[] {
    const found: Node[] = []
    const bad = new Set<Node>()
    for (const { node, generation } of this.#turn.store.replicas.of(key)) {
      const known = this.#nodes.find(node)
      if (known === undefined) continue
      found.push(known)
      if (this.#suspects.whyBad(key, node, generation) !== undefined) bad.add(known)
    }
    const distance = (node: Node): number =>
      (node.isUp ? 0 : 16) +
      (bad.has(node) ? 8 : 0) +
      (node.host === reader?.host ? 0 : 2) +
      (node.zone === reader?.zone ? 0 : 1)
    // Equal ones in another order for each block, so that readers of different blocks spread.
    const turn = (node: Node): bigint => (node.id + key) % 7n
    return found
      .sort((a, b) => distance(a) - distance(b) || a.load - b.load || Number(turn(a) - turn(b)))
      .map(locationOf)
  }

  /** A grant of one put. */
  grant(
    node: Node,
    block: { readonly id: Uint8Array; readonly length: number; readonly domain: Uint8Array },
    generation: Generation,
    who: Pick<Planning, 'epoch'> & { readonly session: bigint } = ownOrder,
  ): Grant {
    const expiry = this.#turn.time + ns(this.#turn.settings.grantMs)
    const { session, epoch } = who
    const { id, length, domain: dedupDomain } = block
    const named = { node: node.id, generation, session, epoch, expiry, dedupDomain }
    return { ...named, mac: grantMac(node.row.key, { ...named, block: id, length }) }
  }

  /**
   * The judge of a commit's blocks (see CommandContext.verify); `copies` is the file's goal. What
   * receipts proved is added to `proofs`, for `committed`.
   */
  judge(
    who: Planning,
    copies: number,
    proofs: Proof[],
  ): (stored: StoredBlock) => readonly VerifiedReplica[] | 'again' {
    return stored => {
      if (stored.key !== 0n) return this.#judgePinned(who, stored)
      const id = blockIdFromBytes(stored.id)
      toBlockId(stored.id, 'commit.blocks.id')
      const length = toBlockLength(
        stored.length,
        'commit.blocks.length',
        this.#turn.store.format.facts.blockBytes,
      )
      const proved = new Map<NodeId, Generation>()
      for (const receipt of listOf(stored.receipts, 64, 'commit.blocks.receipts'))
        if (this.accepts(receipt, stored.id, length, who.session, who.epoch))
          proved.set(receipt.node as NodeId, receipt.generation as Generation)
      const owner = this.#turn.store.blocks.owner(stored.id)
      const present = new Set(proved.keys())
      if (owner !== undefined) for (const node of this.#good(owner.key)) present.add(node)
      if (proved.size === 0 || present.size < this.minCopies(copies)) return 'again'
      const replicas = [...proved].map(([node, generation]) => ({ node, generation }))
      proofs.push({ id, length, replicas, told: this.#told(owner, replicas) })
      return replicas
    }
  }

  /** Nodes with a copy that nobody found bad, of those whose inventory has been compared since the database was restored. */
  #good(key: BlockKey): NodeId[] {
    const { replicas, restores } = this.#turn.store
    const good = replicas
      .of(key)
      .filter(
        ({ node, generation }) =>
          !restores.isUnverified(node) && this.#suspects.whyBad(key, node, generation) === undefined,
      )
    return good.map(({ node }) => node)
  }

  /** The commit that the proofs belong to was executed: its instances have replica rows. */
  committed(proofs: readonly Proof[]): void {
    for (const { id, length, replicas, told } of proofs) {
      const bytes = blockIdToBytes(id)
      for (const { node, generation } of replicas) {
        const known = this.#nodes.find(node)
        if (known === undefined) continue
        const instance = { generation, length }
        this.#unconfirmed.committed(known, id, bytes, instance, told.has(node))
      }
    }
  }

  /** Whether a receipt proves what it says, of this session's own put. */
  accepts(receipt: Receipt, block: Uint8Array, length: number, session: bigint, epoch: bigint): boolean {
    const node = this.#nodes.find(receipt.node)
    if (node === undefined || receipt.session !== session || receipt.epoch !== epoch) return false
    if (receipt.incarnation < 1n || receipt.incarnation > node.row.incarnation) return false
    // After it the instance may be deleted as a stray.
    if (receipt.expiry < this.#turn.time) return false
    if (receipt.generation >= this.#turn.store.counters.peek('generation')) return false
    if (this.#doomed.refuses(node, Buffer.from(block), receipt.generation as Generation)) return false
    return isReceiptMac(node.row.key, { ...receipt, block, length }, receipt.mac)
  }

  /** Nodes whose instance has a row already: of another commit, or since they have told of it. */
  #told(owner: Block | undefined, instances: readonly VerifiedReplica[]): ReadonlySet<NodeId> {
    const { replicas } = this.#turn.store
    const has = ({ node, generation }: VerifiedReplica): boolean =>
      owner !== undefined && (replicas.generationOn(owner.key, node) ?? 0n) >= generation
    return new Set(instances.filter(has).map(({ node }) => node))
  }

  #judgePinned(who: Planning, stored: StoredBlock): readonly VerifiedReplica[] | 'again' {
    const key = stored.key as BlockKey
    if (!this.#pins.holds(who.session, key)) return 'again'
    const block = this.#turn.store.blocks.byKey(key)
    // Who writes content again whose copies are all bad heals it.
    return block === undefined || block.state === 2 || this.#good(key).length === 0 ? 'again' : []
  }

  #planOne(
    who: Planning,
    id: Buffer,
    length: number,
    copies: number,
    nodes: { readonly exclude: ReadonlySet<NodeId>; readonly present: readonly Node[] },
  ): PlannedBlock {
    const { store } = this.#turn
    const minCopies = this.minCopies(copies)
    const there = store.blocks.owner(id)
    const owner = there !== undefined && who.knows?.has(there.key) === false ? undefined : there
    if (owner !== undefined && owner.length !== length)
      throw new FsError(
        'EINVAL',
        `plan.blocks.length: ${length}, block ${id.toString('hex')} has ${owner.length}`,
      )
    if (owner !== undefined && this.#isReadable(owner)) {
      this.#pins.pin(who.session, owner.key)
      return { key: owner.key, targets: [], copies, minCopies }
    }
    const missing = Math.max(0, copies - nodes.present.length)
    const wish = { length, copies: missing, ...nodes, host: who.host }
    const chosen = this.#choose(wish)
    const least = minCopies - nodes.present.length
    if (chosen.length < least) throw this.#tooFew(chosen, least, wish)
    const generation = store.counters.issue('generation') as Generation
    const targets = chosen.map(
      (node): Target => ({
        node: node.id,
        address: node.row.address,
        grant: this.grant(node, { id, length, domain: who.dedupDomain }, generation, who),
      }),
    )
    return { key: 0n, targets, copies, minCopies }
  }

  /**
   * Nodes with room to spare; where they are too few, what was granted goes into the room that is spared for it: a
   * node that reports between a store and its commit counts the block twice, and may look full that is not.
   */
  #choose(wish: PlacementWish): Node[] {
    const { below } = this.#turn.entropy
    const chosen = chooseNodes(this.#nodes.accepting(), wish, below)
    if (chosen.length >= wish.copies) return chosen
    const rest = { ...wish, copies: wish.copies - chosen.length, present: [...wish.present, ...chosen] }
    return [...chosen, ...chooseNodes(this.#nodes.withRoomLeft(), rest, below).map(({ node }) => node)]
  }

  #isReadable(block: Block): boolean {
    return this.#good(block.key).some(node => this.#nodes.find(node)?.isUp === true)
  }

  /** Why only `chosen` were found: EAGAIN if that may pass, ENOSPC if those that are there are full. */
  #tooFew(chosen: readonly Node[], least: number, wish: PlacementWish): FsError {
    const others = [...this.#nodes.all()].filter(
      node =>
        !node.row.draining && !wish.exclude.has(node.id) && !wish.present.some(({ id }) => id === node.id),
    )
    // A disk that fails is no full one: it is away until it works.
    const up = others.filter(node => node.isUp && node.failingSinceMs === undefined).length
    const away = others.filter(node => this.#nodes.isBrieflyAway(node))
    const returning = away.filter(node => node.freeBytes >= wish.length).length
    if (chosen.length + returning >= least)
      return new FsError(
        'EAGAIN',
        `Only ${up} chunkservers are up, ${least} needed; ${returning} may be back`,
      )
    return up + away.length >= least
      ? new FsError('ENOSPC', `Only ${chosen.length} of ${up} chunkservers have room, ${least} needed`)
      : new FsError('EIO', `Only ${up} chunkservers are up, ${least} needed`)
  }
}

export const locationOf = (node: Node): Location => ({
  node: node.id,
  address: node.row.address,
  zone: node.zone,
  host: node.host,
})
