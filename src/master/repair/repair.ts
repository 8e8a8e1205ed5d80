/**
 * Keeps every block at its wanted number of copies. Nothing here is authoritative: what is short is
 * found in the tables (rows fewer or more than wanted), in the rows of nodes that are down, and in what nodes
 * and readers report as damaged; after a restart it is found again.
 *
 * A node that went away is counted as missing at once in what is shown, and after `repairDelayMs` in
 * what is copied, so that a restart of a chunkserver moves no data.
 */
import { FsError } from '../../core/errors.ts'
import { type BlockKey, type Generation, type NodeId } from '../../core/ids.ts'
import { errorFromWire } from '../../wire/attr.ts'
import type { CopyResult, DamagedBlock } from '../../wire/gen/cairn/v1/nodes.ts'
import { toBlockId } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import type { Unconfirmed } from '../nodes/unconfirmed.ts'
import { locationOf, type Planner } from '../placement/planner.ts'
import type { Removal } from '../removal/removal.ts'
import { type Block, blockState } from '../store/blocks.ts'
import { planRepair, type RepairView, type Slots } from './plan-repair.ts'

/** Blocks looked at in one step. */
const viewsPerStep = 200
/** Blocks with too many copies are looked for this often, so many at once. */
const surplusMs = 500
const surplusPerStep = 500
/** A block whose copy failed is left alone for this long. */
const backoffMs = 10_000
/** Most blocks remembered as short on nodes that are down; beyond, they are found by later scans. */
const lackingMax = 500_000
/** Most blocks with bad copies remembered; others are reported again. */
const badMax = 100_000

interface CopyOrder {
  readonly id: bigint
  readonly key: BlockKey
  readonly target: Node
  readonly sources: readonly Node[]
  readonly generation: Generation
  readonly untilMs: number
}

export class Repair {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #planner: Planner
  readonly #removal: Removal
  readonly #unconfirmed: Unconfirmed
  readonly #orders = new Map<bigint, CopyOrder>()
  /** Blocks with enough rows, but too few of them on nodes that are up: number of live copies. */
  readonly #lacking = new Map<BlockKey, number>()
  /** Blocks to be looked at: copies came or went. */
  readonly #changed = new Set<BlockKey>()
  /** Nodes whose rows are to be looked at, because they went or came; from which key on. */
  readonly #scans = new Map<Node, bigint>()
  readonly #backoff = new Map<BlockKey, number>()
  /** Copies that were found bad, by generation: they do not count, but stay until the block is whole without them. */
  readonly #bad = new Map<BlockKey, Map<NodeId, Generation>>()
  #surplusCursor = 0n
  #nextSurplusMs = 0
  #shortCursor: { have: number; key: bigint } = { have: -1, key: 0n }

  constructor(turn: Turn, nodes: NodeRegistry, planner: Planner, removal: Removal, unconfirmed: Unconfirmed) {
    this.#turn = turn
    this.#nodes = nodes
    this.#planner = planner
    this.#removal = removal
    this.#unconfirmed = unconfirmed
    for (const node of nodes.all()) this.#scans.set(node, 0n)
  }

  /** Copies of the block came or went. */
  changed(key: BlockKey): void {
    this.#changed.add(key)
  }

  /** A node came or went. */
  nodeChanged(node: Node): void {
    this.#scans.set(node, 0n)
    if (node.isUp) return
    for (const order of [...this.#orders.values()]) if (order.target === node) this.#end(order)
  }

  /** Live blocks with fewer reachable copies than wanted, and those with none. */
  get counts(): { readonly underReplicated: number; readonly missing: number } {
    let missing = 0
    for (const [, live] of this.#lacking) if (live === 0) missing += 1
    const { blocks } = this.#turn.store
    return {
      underReplicated: blocks.countShort() + this.#lacking.size,
      missing: missing + blocks.countLost(),
    }
  }

  /** True if what is shown may not be complete yet. */
  get isScanning(): boolean {
    return this.#scans.size > 0
  }

  /** One step of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    const left = this.#scan(budget)
    this.#findSurplus()
    this.#lookAtChanged(budget)
    this.#giveUpLate()
    this.#orderCopies()
    return left <= 0 || this.#changed.size > 0
  }

  /** A node answers a copy order. */
  copied(node: Node, wire: CopyResult): void {
    const order = this.#orders.get(wire.order)
    if (order === undefined || order.target !== node) return
    this.#end(order)
    const block = this.#turn.store.blocks.byKey(order.key)
    if (block === undefined || block.state === blockState.deleting) return
    for (const bad of wire.badSources)
      this.#distrust(block, bad as NodeId, 'a copy could not be read for repair')
    const { receipt } = wire
    if (receipt === undefined) {
      const why = wire.error === undefined ? 'no receipt' : errorFromWire(wire.error).message
      this.#turn.out.log('warn', 'copy failed', { node: node.id, block: block.id.toString('hex'), why })
      this.#backoff.set(order.key, this.#turn.now + backoffMs)
      return
    }
    if (receipt.node !== node.id || !this.#planner.accepts(receipt, block.id, block.length, 0n, 0n))
      throw new FsError('EPROTO', `copied.receipt: not valid for order ${order.id}`)
    this.#turn.store.replicas.record(block.key, node.id, receipt.generation as Generation)
    this.#unconfirmed.committed(node.id, toBlockId(block.id), block.id, receipt.generation as Generation)
    node.recentBytes += block.length
    this.changed(block.key)
  }

  /** A node says that its copy is bad. */
  damaged(node: Node, wire: DamagedBlock): void {
    toBlockId(wire.id, 'damaged.id')
    const block = this.#turn.store.blocks.owner(wire.id)
    if (block === undefined || this.#turn.store.replicas.generationOn(block.key, node.id) !== wire.generation)
      return
    this.#distrust(block, node.id, wire.what.slice(0, 200))
  }

  /** A reader says that a node's copy is bad or missing. */
  reported(id: Uint8Array, node: NodeId, what: string): void {
    toBlockId(id, 'report_damage.id')
    const block = this.#turn.store.blocks.owner(id)
    if (block !== undefined) this.#distrust(block, node, what.slice(0, 200))
  }

  /**
   * A bad copy no longer counts, so that another is made: on another node, or in its own place. It stays until
   * then, since parts of it may be the only good ones while other copies cannot be reached.
   */
  #distrust(block: Block, nodeId: NodeId, what: string): void {
    const node = this.#nodes.find(nodeId)
    const generation = this.#turn.store.replicas.generationOn(block.key, nodeId)
    if (node === undefined || generation === undefined) return
    const fields = { node: nodeId, block: block.id.toString('hex'), what }
    if (this.#live(block).every(other => other === node)) {
      this.#turn.out.log('error', 'the last readable copy of a block is reported bad', fields)
      this.#planner.distrust(block.key)
      return
    }
    const known = this.#bad.get(block.key)
    if (known?.get(nodeId) === generation || (known === undefined && this.#bad.size >= badMax)) return
    this.#turn.out.log('warn', 'a bad copy is to be replaced', fields)
    this.#bad.set(block.key, new Map(known).set(nodeId, generation))
    this.changed(block.key)
  }

  #isBad(key: BlockKey, node: NodeId): boolean {
    const generation = this.#bad.get(key)?.get(node)
    return generation !== undefined && this.#turn.store.replicas.generationOn(key, node) === generation
  }

  /** The block is whole without its bad copies: they go. */
  #removeBad(block: Block): void {
    if (this.#turn.store.restores.pending !== undefined) return
    for (const node of this.#holders(block)) {
      const generation = this.#turn.store.replicas.generationOn(block.key, node.id)
      if (generation === undefined || !this.#isBad(block.key, node.id)) continue
      this.#turn.store.replicas.forget(block.key, node.id)
      this.#removal.removeCopy(node, block.id, generation)
    }
    this.#bad.delete(block.key)
  }

  /** With a good copy that can be read now. */
  #live(block: Block): Node[] {
    return this.#holders(block).filter(node => node.isUp && !this.#isBad(block.key, node.id))
  }

  #holders(block: Block): Node[] {
    const found: Node[] = []
    for (const { node } of this.#turn.store.replicas.of(block.key)) {
      const known = this.#nodes.find(node)
      if (known !== undefined) found.push(known)
    }
    return found
  }

  // ---- finding

  /** Looks at the rows of nodes that came or went. Returns what is left of the budget. */
  #scan(budget: number): number {
    let left = budget
    for (const [node, from] of this.#scans) {
      if (left <= 0) break
      const rows = this.#turn.store.replicas.ofNode(node.id, from, left)
      for (const { block } of rows) this.#look(block)
      const last = rows.at(-1)
      if (rows.length < left || last === undefined) this.#scans.delete(node)
      else this.#scans.set(node, last.block)
      left -= rows.length
    }
    return left
  }

  /** Blocks of which fewer copies are wanted than there are: a file's number was lowered, or a node came back. */
  #findSurplus(): void {
    if (this.#turn.now < this.#nextSurplusMs) return
    this.#nextSurplusMs = this.#turn.now + surplusMs
    const found = this.#turn.store.blocks.surplusAfter(this.#surplusCursor, surplusPerStep)
    this.#surplusCursor = found.length < surplusPerStep ? 0n : (found.at(-1)?.key ?? 0n)
    for (const { key } of found) this.changed(key)
  }

  #lookAtChanged(budget: number): void {
    let left = budget
    for (const key of this.#changed) {
      if (left-- <= 0) return
      this.#changed.delete(key)
      this.#look(key)
    }
  }

  #look(key: BlockKey): void {
    const block = this.#turn.store.blocks.byKey(key)
    this.#lacking.delete(key)
    if (block?.state !== blockState.live) {
      this.#bad.delete(key)
      return
    }
    const live = this.#live(block)
    if (live.length >= block.wanted && this.#bad.has(key)) this.#removeBad(block)
    if (block.have >= block.wanted && live.length < block.wanted && this.#lacking.size < lackingMax)
      this.#lacking.set(key, live.length)
    if (live.length > block.wanted && this.#turn.store.restores.pending === undefined)
      this.#removeOne(block, live)
  }

  /** Of more copies than wanted, the one goes that keeps the rest on the most zones and hosts, then the fullest node's. */
  #removeOne(block: Block, live: readonly Node[]): void {
    const spread = (nodes: readonly Node[]): number =>
      new Set(nodes.map(node => node.zone)).size * 100 + new Set(nodes.map(node => node.host)).size
    const [victim] = [...live].sort(
      (a, b) =>
        spread(live.filter(node => node !== b)) - spread(live.filter(node => node !== a)) ||
        a.freeBytes - b.freeBytes,
    )
    const generation =
      victim === undefined ? undefined : this.#turn.store.replicas.generationOn(block.key, victim.id)
    if (victim === undefined || generation === undefined) return
    this.#turn.store.replicas.forget(block.key, victim.id)
    this.#removal.removeCopy(victim, block.id, generation)
    this.changed(block.key)
  }

  // ---- copying

  #giveUpLate(): void {
    for (const order of [...this.#orders.values()])
      if (order.untilMs < this.#turn.now) {
        this.#end(order)
        this.#backoff.set(order.key, this.#turn.now + backoffMs)
      }
    for (const [key, until] of this.#backoff) if (until < this.#turn.now) this.#backoff.delete(key)
  }

  #orderCopies(): void {
    const targets = this.#nodes.accepting()
    const slots = this.#slots()
    if (targets.length < 2 || ![...slots.values()].some(left => left > 0)) return
    const views = this.#candidates()
    for (const { key, target, sources } of planRepair(views, targets, slots, this.#turn.entropy.below)) {
      const block = this.#turn.store.blocks.byKey(key)
      if (block === undefined || target.connection === undefined) continue
      const { store, now, settings, out } = this.#turn
      const generation = store.counters.issue('generation') as Generation
      const id = store.counters.issue('order')
      this.#orders.set(id, { id, key, target, sources, generation, untilMs: now + settings.copyMs })
      out.node(target.connection, {
        $case: 'copy',
        value: {
          order: id,
          id: block.id,
          length: block.length,
          grant: this.#planner.grant(target, block.id, block.length, generation, 0n, 0n),
          sources: sources.map(locationOf),
        },
      })
    }
  }

  #slots(): Slots {
    const slots: Slots = new Map()
    for (const node of this.#nodes.all()) if (node.isUp) slots.set(node.id, this.#turn.settings.copiesPerNode)
    for (const { target, sources } of this.#orders.values())
      for (const node of [target, sources[0]])
        if (node !== undefined) slots.set(node.id, (slots.get(node.id) ?? 0) - 1)
    return slots
  }

  #candidates(): RepairView<Node>[] {
    const views: RepairView<Node>[] = []
    const consider = (block: Block | undefined): void => {
      if (block?.state !== blockState.live || this.#backoff.has(block.key)) return
      const view = this.#viewOf(block)
      if (view.counted.length < view.wanted && view.sources.length > 0) views.push(view)
    }
    const short = this.#turn.store.blocks.shortAfter(
      this.#shortCursor.have,
      this.#shortCursor.key,
      viewsPerStep,
    )
    const last = short.at(-1)
    // Round and round, so that blocks for which there is no room do not hide those behind them.
    this.#shortCursor =
      short.length < viewsPerStep || last === undefined
        ? { have: -1, key: 0n }
        : { have: last.have, key: last.key }
    for (const block of short) consider(block)
    let looked = 0
    for (const key of this.#lacking.keys()) {
      if (looked++ >= viewsPerStep) break
      consider(this.#turn.store.blocks.byKey(key))
    }
    return views
  }

  #viewOf(block: Block): RepairView<Node> {
    const holders = this.#holders(block)
    const underWay = [...this.#orders.values()]
      .filter(order => order.key === block.key)
      .map(order => order.target)
    const limit = this.#turn.now - this.#turn.settings.repairDelayMs
    const good = holders.filter(node => !this.#isBad(block.key, node.id))
    const counted = good.filter(node => (node.isUp || node.downSinceMs > limit) && !node.row.draining)
    return {
      key: block.key,
      length: block.length,
      wanted: block.wanted,
      sources: good.filter(node => node.isUp),
      counted: [...new Set([...counted, ...underWay])],
      // A bad copy may be replaced in its place.
      occupied: [...good, ...underWay].map(node => node.id),
    }
  }

  #end(order: CopyOrder): void {
    this.#orders.delete(order.id)
  }
}
