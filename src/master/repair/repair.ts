/**
 * Keeps every block at its wanted number of copies, on nodes that stay, and spread. Nothing here is
 * authoritative but which copies are bad (Suspects): what is short is found in the tables, in the rows of nodes
 * that are down or being emptied, and in what nodes and readers report; after a restart it is found again.
 *
 *   FindWork ──► look ──► RepairQueue, by class ──► planRepair ──► CopyOrders ──► copied ──► look …
 *                                              └──► chooseSurplus ──► Removal
 *
 * A node that went away is counted as missing at once in what is shown, and after a while in what is copied, so
 * that a restart of a chunkserver moves no data.
 */
import { FsError } from '../../core/errors.ts'
import { type BlockKey, blockIdToBytes, type Generation, type NodeId } from '../../core/ids.ts'
import { errorFromWire } from '../../wire/attr.ts'
import type { CopyResult, DamagedBlock } from '../../wire/gen/cairn/v1/nodes.ts'
import { toBlockId } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import type { SafeMode } from '../nodes/safe-mode.ts'
import type { Unconfirmed } from '../nodes/unconfirmed.ts'
import type { Planner, Proof } from '../placement/planner.ts'
import type { Removal } from '../removal/removal.ts'
import { type Block, blockState } from '../store/blocks.ts'
import { BlockViews } from './block-views.ts'
import { chooseSurplus } from './choose-surplus.ts'
import { CopyOrders } from './copy-orders.ts'
import { FindWork } from './find-work.ts'
import { type BlockView, classify, type CopyNeed, liveOf, planRepair, wouldSpread } from './plan-repair.ts'
import { RateMeter } from './rate-meter.ts'
import { Rebalance } from './rebalance.ts'
import { RepairQueue } from './repair-queue.ts'
import type { Suspects } from './suspects.ts'

/** Copies that are ordered in one step; blocks of one class that are looked at for it in vain; and at once. */
const copiesPerStep = 400
const viewsInVain = 128
const viewsAtOnce = 64
/** Copies that are removed in one step. */
const trimPerStep = 500

const copying = ['lost', 'last', 'leaving', 'short', 'misplaced'] as const

export interface RepairParts {
  readonly turn: Turn
  readonly nodes: NodeRegistry
  readonly planner: Planner
  readonly removal: Removal
  readonly unconfirmed: Unconfirmed
  readonly suspects: Suspects
  readonly safeMode: SafeMode
}

export class Repair {
  readonly queue = new RepairQueue()
  readonly orders: CopyOrders
  readonly rebalance: Rebalance
  readonly views: BlockViews
  readonly bytesCopied = new RateMeter()
  readonly blocksCopied = new RateMeter()
  readonly totals = { copied: 0, failed: 0 }
  readonly #parts: RepairParts
  readonly #turn: Turn
  readonly #find: FindWork
  /** Bytes that went from nodes that are being emptied. */
  readonly #drained = new Map<NodeId, RateMeter>()
  #wantsTick = false

  constructor(parts: RepairParts) {
    const { turn, nodes, planner, suspects } = parts
    this.#parts = parts
    this.#turn = turn
    this.orders = new CopyOrders(turn, nodes, planner)
    this.views = new BlockViews(turn, nodes, this.orders, suspects)
    this.rebalance = new Rebalance(turn, nodes, this.orders, this.views)
    this.#find = new FindWork(
      turn,
      nodes,
      key => this.#look(key),
      key => this.queue.has(key),
      () => suspects.blocks(),
    )
    for (const key of suspects.blocks()) this.changed(key)
    turn.store.blocks.onNeed = key => this.#noteNeed(key)
    parts.removal.onRecorded = key => this.changed(key)
  }

  /** Copies of the block came or went. */
  changed(key: BlockKey): void {
    this.#find.changed(key)
  }

  removed(node: Node, id: Uint8Array, generation: Generation): void {
    this.#parts.removal.removed(node, id, generation)
  }

  /** New copies: those on a node that does not keep them came after its rows were looked at. */
  committed(proofs: readonly Proof[]): void {
    for (const { id, replicas } of proofs) {
      if (replicas.every(({ node }) => this.#keeps(node))) continue
      const block = this.#turn.store.blocks.owner(blockIdToBytes(id))
      if (block !== undefined) this.changed(block.key)
    }
  }

  /** A block has references again, or is to have more copies: rows on nodes that do not keep theirs hide that it has too few. */
  #noteNeed(key: BlockKey): void {
    if (this.#turn.store.replicas.of(key).some(({ node }) => !this.#keeps(node))) this.changed(key)
  }

  #keeps(id: NodeId): boolean {
    const { nodes } = this.#parts
    const node = nodes.find(id)
    return node !== undefined && nodes.isExpected(node)
  }

  /** A node came or went, or is to be emptied, or not any more. */
  nodeChanged(node: Node): void {
    this.#find.nodeChanged(node)
    if (!node.row.draining) this.#drained.delete(node.id)
    if (!node.isUp) this.#giveUp(node)
  }

  nodeRemoved(node: Node): void {
    this.#find.nodeRemoved(node)
    this.#drained.delete(node.id)
    this.#parts.suspects.nodeRemoved(node.id)
    this.#giveUp(node)
  }

  /** Copies that were under way to it counted; only the orders led to these blocks. */
  #giveUp(node: Node): void {
    for (const order of this.orders.hopeless(node)) {
      this.orders.end(order)
      this.changed(order.key)
    }
  }

  /** Live blocks with fewer reachable copies than wanted, and those with none. */
  get counts(): { readonly underReplicated: number; readonly missing: number } {
    const { blocks } = this.#turn.store
    return {
      underReplicated: blocks.countShort() + this.queue.lacking.some,
      missing: this.queue.lacking.all + blocks.countLost(),
    }
  }

  /** What is shown may not be complete yet. */
  get isScanning(): boolean {
    return this.#find.isScanning
  }

  /** Nodes have answered, and could do more. */
  get wantsTick(): boolean {
    return this.#wantsTick
  }

  drainedPerSecond(node: Node): number {
    return this.#drained.get(node.id)?.perSecond(this.#turn.now) ?? 0
  }

  /** One step of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    this.#wantsTick = false
    if (this.queue.takeMissed()) this.#find.everyNode()
    const more = this.#find.step(budget)
    for (const order of this.orders.hopeless()) this.#failed(order.key, () => this.orders.end(order))
    this.orders.tidy()
    if (this.#parts.safeMode.isOn) return more
    const trimmed = this.#trim()
    this.#orderCopies()
    if (copying.every(cls => cls === 'lost' || this.queue.sizeOf(cls).blocks === 0)) this.rebalance.step()
    return more || trimmed
  }

  /** A node answers a copy order. */
  copied(node: Node, wire: CopyResult): void {
    const order = this.orders.find(wire.order)
    if (order === undefined || order.target !== node) return
    this.orders.end(order)
    this.#wantsTick = true
    this.changed(order.key)
    const block = this.#turn.store.blocks.byKey(order.key)
    if (block === undefined || block.state === blockState.deleting) return
    for (const bad of wire.badSources)
      this.#distrust(block, bad as NodeId, 'a copy could not be read for repair')
    const { receipt } = wire
    if (receipt === undefined) {
      const why = wire.error === undefined ? 'no receipt' : errorFromWire(wire.error).message
      this.#failed(order.key, () => {
        this.#turn.out.log('warn', 'copy failed', { node: node.id, block: block.id.toString('hex'), why })
      })
      return
    }
    if (receipt.node !== node.id || !this.#parts.planner.accepts(receipt, block.id, block.length, 0n, 0n))
      throw new FsError('EPROTO', `copied.receipt: not valid for order ${order.id}`)
    const generation = receipt.generation as Generation
    const { replicas } = this.#turn.store
    const told = (replicas.generationOn(block.key, node.id) ?? 0n) >= generation
    replicas.record(block.key, node.id, generation)
    const instance = { generation, length: block.length }
    this.#parts.unconfirmed.committed(node, toBlockId(block.id), block.id, instance, told)
    this.orders.succeeded(block.key)
    this.totals.copied += 1
    if (order.purpose === 'balance') this.rebalance.moved(block.length)
    this.bytesCopied.add(this.#turn.now, block.length)
    this.blocksCopied.add(this.#turn.now, 1)
  }

  /** A node says that its copy is bad. */
  damaged(node: Node, wire: DamagedBlock): void {
    toBlockId(wire.id, 'damaged.id')
    const block = this.#turn.store.blocks.owner(wire.id)
    if (block === undefined || this.#turn.store.replicas.generationOn(block.key, node.id) !== wire.generation)
      return
    this.#distrust(block, node.id, wire.what)
  }

  /** A reader says that a node's copy is bad or missing. */
  reported(id: Uint8Array, node: NodeId, what: string): void {
    toBlockId(id, 'report_damage.id')
    const block = this.#turn.store.blocks.owner(id)
    if (block !== undefined) this.#distrust(block, node, what)
  }

  #distrust(block: Block, node: NodeId, what: string): void {
    const generation = this.#turn.store.replicas.generationOn(block.key, node)
    if (generation === undefined) return
    const since = this.#turn.time
    const why = what.slice(0, 200)
    if (!this.#parts.suspects.add({ block: block.key, node, generation, what: why, since })) return
    const fields = { node, block: block.id.toString('hex'), what: why }
    if (this.views.of(block).holders.every(({ bad }) => bad))
      this.#turn.out.log('error', 'the last good copy of a block is reported bad', fields)
    else this.#turn.out.log('warn', 'a bad copy is to be replaced', fields)
    this.changed(block.key)
  }

  #failed(key: BlockKey, tell: () => void): void {
    tell()
    this.totals.failed += 1
    this.orders.failed(key)
    // The copy that was under way counted.
    this.changed(key)
  }

  /** Finds out what a block needs. */
  #look(key: BlockKey): void {
    const block = this.#turn.store.blocks.byKey(key)
    this.queue.delete(key)
    if (block?.state !== blockState.live) {
      if (block?.state !== blockState.condemned) this.#parts.suspects.settled(key)
      return
    }
    this.#classify(block)
  }

  /** Puts the block where it belongs; answers how it is. */
  #classify(block: Block): CopyNeed<Node> | undefined {
    const view = this.views.of(block)
    // One that is not there any more is forgotten when its node says so.
    this.#parts.suspects.gone(
      block.key,
      view.holders.filter(({ bad }) => !bad).map(({ node }) => node.id),
    )
    const cls = classify(view, () => this.#couldSpread(view))
    const live = liveOf(view).length
    const lacking = block.have >= block.wanted && live < block.wanted ? live : undefined
    if (cls === undefined && lacking === undefined) this.queue.delete(block.key)
    else this.queue.put(block.key, { class: cls, length: block.length, lacking })
    return cls === undefined ? undefined : { view, class: cls }
  }

  #couldSpread(view: BlockView<Node>): boolean {
    return wouldSpread(view, this.#parts.nodes.accepting()).length > 0
  }

  /** Removes copies that are not wanted. True if there is more to do now. */
  #trim(): boolean {
    // After a restore the tables may know less than what the nodes were told.
    if (this.#turn.store.restores.pending !== undefined) return false
    const keys = this.queue.take('surplus', trimPerStep)
    let removed = 0
    for (const key of keys) {
      const block = this.#turn.store.blocks.byKey(key)
      if (block?.state !== blockState.live) {
        this.queue.delete(key)
        continue
      }
      const need = this.#classify(block)
      if (need?.class === 'surplus' && this.#trimOne(block, need.view)) removed += 1
    }
    return removed === trimPerStep
  }

  #trimOne(block: Block, view: BlockView<Node>): boolean {
    const bad = view.holders.find(holder => holder.bad && holder.up && !holder.failing)
    const victim = bad?.node ?? chooseSurplus(view)
    if (victim === undefined || victim.removalStopped !== '') return false
    const generation = this.#turn.store.replicas.generationOn(block.key, victim.id)
    if (generation === undefined) return false
    this.#turn.store.replicas.forget(block.key, victim.id)
    this.#parts.removal.removeCopy(victim, block.id, generation)
    victim.trimmedBytes += block.length
    if (victim.row.draining) {
      const meter = this.#drained.get(victim.id) ?? new RateMeter()
      this.#drained.set(victim.id, meter)
      meter.add(this.#turn.now, block.length)
    }
    this.changed(block.key)
    return true
  }

  /**
   * By urgency. Of a class, only so many are looked at in vain: what cannot be done now (nobody has room, or its last copy
   * failed a short while ago) does not hide what is less urgent and can.
   */
  #orderCopies(): void {
    const targets = this.#parts.nodes.accepting()
    if (targets.length === 0) return
    const budget = this.orders.budget(false)
    let looked = 0
    for (const cls of copying) {
      let inVain = 0
      for (let left = this.queue.sizeOf(cls).blocks; left > 0 && inVain < viewsInVain; ) {
        if (looked >= copiesPerStep || budget.isEmpty) return
        const keys = this.queue.take(cls, Math.min(left, viewsAtOnce))
        left -= keys.length
        const needs = keys.flatMap(key => this.#needOf(key))
        const copies = planRepair(needs, targets, budget, this.#turn.entropy.below)
        const purpose = new Map(needs.map(need => [need.view.key, need.class]))
        this.orders.issue(copies.map(copy => ({ ...copy, purpose: purpose.get(copy.key) ?? cls })))
        for (const { key } of copies) this.changed(key)
        inVain += keys.length - new Set(copies.map(({ key }) => key)).size
        looked += copies.length
      }
    }
  }

  #needOf(key: BlockKey): CopyNeed<Node>[] {
    if (this.orders.isResting(key)) return []
    const block = this.#turn.store.blocks.byKey(key)
    if (block?.state !== blockState.live) {
      this.queue.delete(key)
      return []
    }
    const need = this.#classify(block)
    return need === undefined || need.class === 'surplus' ? [] : [need]
  }
}
