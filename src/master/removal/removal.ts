/**
 * Removing blocks that nobody refers to. What is deleted here cannot be brought back, so every step
 * is on the master's disk before a node hears of it, and any error stops it, at that node, for a minute.
 *
 *   state       rows                              left by
 *   ─────────── ───────────────────────────────── ─────────────────────────────────────────────────────
 *   live        blocks refs > 0                   the last reference goes → condemned (with the time)
 *   condemned   blocks refs = 0                   a reference → live. Old enough, not pinned, and no
 *                                                 session still to reclaim → deleting. When space runs
 *                                                 out, old enough is one second
 *   deleting    blocks, replicas rows             each node is told (id, generation); its confirmation
 *                                                 drops the replicas row; the last one → gone
 *   gone        none                              never: the same content again is a new block, with
 *                                                 a new key, already while the old one is deleting
 *
 *   stray       strays (node, id, generation):    a commit with its receipt → a copy of that block.
 *               on a node, named by no block      Older than any grant can be → deleted on this node
 *   superfluous a copy more than wanted           the replicas row goes first; then as an old stray
 *
 * Why a node never deletes what is needed: an order names a generation, the node deletes only that
 * one, and whatever is put later has a higher one. What an order names is no copy, whatever a node said before it
 * carried it out (doomed-instances.ts). Why no commit names what was deleted: a receipt is refused once its grant
 * has expired, a stray is left alone until then, receipts for what went earlier are refused, and a key in state
 * deleting is answered "put it again". A node that is away keeps its rows; it is told when it is back.
 */
import type { BlockKey, Generation } from '../../core/ids.ts'
import { minute } from '../../core/units.ts'
import { errorFromWire } from '../../wire/attr.ts'
import { u63 } from '../../wire/validate.ts'
import type { Deleted } from '../../wire/gen/cairn/v1/nodes.ts'
import type { Turn } from '../engine/turn.ts'
import { type Node, type NodeRegistry, ns } from '../nodes/node-registry.ts'
import type { Block } from '../store/blocks.ts'
import type { Suspects } from '../repair/suspects.ts'
import type { DoomedInstances } from './doomed-instances.ts'
import type { Pins } from './pins.ts'

/** Instances in one order, and orders under way at one node. */
const instancesPerOrder = 500
const ordersPerNode = 2
/** A node that could not delete is asked again after so long, if it has not attached anew before. */
const stoppedMs = 1 * minute
/** Grants and receipts are judged by the same clock; this is for the work between. */
const strayMarginMs = 10_000

interface Doomed {
  /** Absent for a stray or a superfluous copy. */
  readonly key: BlockKey | undefined
  readonly id: Buffer
  readonly generation: Generation
}

interface Order {
  readonly id: bigint
  readonly node: Node
  readonly instances: readonly Doomed[]
}

export class Removal {
  /** Hears of blocks that got one more copy, which was a stray. */
  onRecorded: (key: BlockKey) => void = () => undefined
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #pins: Pins
  readonly #suspects: Suspects
  readonly #doomed: DoomedInstances
  /** A session may hold references from before the restart that it could not tell yet. */
  readonly #inGrace: () => boolean
  readonly #orders = new Map<bigint, Order>()
  /** Keys whose deletion is under way somewhere: not ordered twice. Key and node. */
  readonly #ordered = new Set<string>()
  readonly #superfluous = new Map<Node, Doomed[]>()
  /** Space runs out: condemned blocks do not wait. */
  readonly #isShort: () => boolean
  #short = false
  #nextStrayMs = 0
  /** Of the blocks in state deleting, the one up to which their nodes were told. */
  #deletingAfter: Block | undefined

  constructor(
    turn: Turn,
    nodes: NodeRegistry,
    pins: Pins,
    suspects: Suspects,
    doomed: DoomedInstances,
    inGrace: () => boolean,
    isShort: () => boolean,
  ) {
    this.#turn = turn
    this.#nodes = nodes
    this.#pins = pins
    this.#suspects = suspects
    this.#doomed = doomed
    this.#inGrace = inGrace
    this.#isShort = isShort
  }

  /** More space may be seen soon: blocks are on their way out, or nodes have yet to say what they have. */
  get isFreeing(): boolean {
    const { store } = this.#turn
    for (const node of this.#nodes.all())
      if (node.isUp && (node.freed || node.recentBytes + node.unconfirmedBytes > 0)) return true
    return this.#orders.size > 0 || store.blocks.condemned.count > 0n || store.doomed.first() !== undefined
  }

  /** Orders that were not answered yet. */
  ordersByNode(): Map<Node, number> {
    const counts = new Map<Node, number>()
    for (const { node } of this.#orders.values()) counts.set(node, (counts.get(node) ?? 0) + 1)
    return counts
  }

  /** A copy that is not wanted: its row is gone already. */
  removeCopy(node: Node, id: Buffer, generation: Generation): void {
    const list = this.#superfluous.get(node) ?? []
    this.#superfluous.set(node, list)
    list.push({ key: undefined, id, generation })
    this.#doomed.add(node, { id, generation })
  }

  /** The answer to an order. */
  deleted(node: Node, wire: Deleted): void {
    const order = this.#orders.get(wire.order)
    if (order === undefined || order.node !== node) return
    this.#forgetOrder(order)
    this.#doomed.answered(node, order.instances, u63(wire.sequence, 'deleted.sequence'))
    const [error] = wire.errors
    if (error !== undefined) {
      node.removalStopped = errorFromWire(error).message
      node.removalStoppedMs = this.#turn.now
      this.#turn.out.log('error', 'removal stopped', { node: node.id, why: node.removalStopped })
      return
    }
    const { store } = this.#turn
    node.freed = true
    for (const { key, id, generation } of order.instances) {
      store.strays.settled(node.id, id, generation)
      this.removed(node, id, generation)
      if (key === undefined || store.replicas.generationOn(key, node.id) !== generation) continue
      store.replicas.forget(key, node.id)
      if (store.blocks.byKey(key)?.have === 0) store.blocks.gone(key)
    }
  }

  /** The node has the instance no more. */
  removed(node: Node, id: Uint8Array, generation: Generation): void {
    const owner = this.#turn.store.blocks.owner(id)
    if (owner !== undefined && this.#suspects.whyBad(owner.key, node.id, generation) !== undefined)
      this.#suspects.gone(owner.key, [node.id])
  }

  /** Orders to a node that is gone are told again when it is back. */
  detached(node: Node): void {
    for (const order of [...this.#orders.values()]) if (order.node === node) this.#forgetOrder(order)
    this.#superfluous.delete(node)
    this.#doomed.detached(node)
  }

  /** One step of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    if (this.#inGrace()) return false
    for (const node of this.#nodes.all()) this.#resume(node)
    this.#doomed.tidy()
    const more = this.#condemnedToDeleting(budget)
    this.#orderDeleting(budget)
    if (this.#turn.now >= this.#nextStrayMs) {
      this.#nextStrayMs = this.#turn.now + 1000
      for (const node of this.#nodes.all()) this.#orderStrays(node)
    }
    for (const [node, list] of this.#superfluous)
      if (this.#mayOrder(node)) this.#order(node, list.splice(0, instancesPerOrder))
    return more
  }

  #condemnedToDeleting(budget: number): boolean {
    const { store, time, settings } = this.#turn
    const until = time - ns(this.#noteShortage() ? settings.condemnedShortMs : settings.condemnedMs)
    const old = store.blocks.condemnedBefore(until, budget)
    let moved = 0
    for (const block of old) {
      if (this.#pins.isPinned(block.key)) continue
      store.blocks.beginDeleting(block.key, time)
      const remembered = this.#nameBadCopies(block.key)
      this.#doom(block)
      // It is never read again.
      this.#suspects.settled(block.key)
      if (block.have === 0 && !remembered) store.blocks.gone(block.key)
      moved += 1
    }
    return moved > 0 && old.length === budget
  }

  /**
   * Bad copies that were given up, but perhaps not deleted yet, have rows again until their nodes have: one that came back
   * with its copy when the block is forgotten would offer it for the same content, written again. Whether there are any.
   */
  #nameBadCopies(key: BlockKey): boolean {
    const { replicas } = this.#turn.store
    const left = this.#suspects
      .of(key)
      .filter(
        ({ node }) => this.#nodes.find(node) !== undefined && replicas.generationOn(key, node) === undefined,
      )
    for (const { node, generation } of left) replicas.record(key, node, generation)
    return left.length > 0
  }

  /** Whoever has a receipt for one of its copies is not to count on it any more, told to its node or not. */
  #doom({ key, id }: Block): void {
    for (const { node: number, generation } of this.#turn.store.replicas.of(key)) {
      const node = this.#nodes.find(number)
      if (node !== undefined) this.#doomed.add(node, { id, generation })
    }
  }

  /** Whether blocks go early, and a log line when that begins and ends. */
  #noteShortage(): boolean {
    const short = this.#isShort()
    if (short !== this.#short) {
      this.#short = short
      if (short) this.#turn.out.log('warn', 'space runs out: removed blocks are deleted without waiting')
      else this.#turn.out.log('info', 'there is space again: removed blocks are kept for their time')
    }
    return short
  }

  /**
   * Tells nodes of the blocks in state deleting, oldest first, and round again: those whose nodes are away are passed by.
   */
  #orderDeleting(budget: number): void {
    const { store } = this.#turn
    const perNode = new Map<Node, Doomed[]>()
    if (![...this.#nodes.all()].some(node => this.#mayOrder(node))) return
    let isFull = false
    const blocks = store.blocks.deletingAfter(this.#deletingAfter, budget)
    this.#deletingAfter = blocks.length < budget ? undefined : blocks.at(-1)
    for (const block of blocks) {
      const replicas = store.replicas.of(block.key)
      if (replicas.length === 0) store.blocks.gone(block.key)
      for (const { node: id, generation } of replicas) {
        const node = this.#nodes.find(id)
        if (node === undefined || !this.#mayOrder(node) || this.#ordered.has(`${block.key}/${id}`)) continue
        const list = perNode.get(node) ?? []
        perNode.set(node, list)
        list.push({ key: block.key, id: block.id, generation })
        isFull ||= list.length >= instancesPerOrder
      }
      if (!isFull) continue
      this.#deletingAfter = block
      break
    }
    for (const [node, list] of perNode) this.#order(node, list)
  }

  #orderStrays(node: Node): void {
    if (!this.#mayOrder(node)) return
    const { store, time, settings } = this.#turn
    const until = time - ns(settings.grantMs + strayMarginMs)
    const doomed: Doomed[] = []
    for (const { id, generation, length } of store.strays.olderThan(node.id, until, instancesPerOrder)) {
      if (this.#doomed.has(node, id, generation)) continue
      const owner = store.blocks.owner(id)
      if (owner === undefined || owner.length !== length) doomed.push({ key: undefined, id, generation })
      else {
        // Its block was committed with other receipts: it is one more copy.
        store.strays.settled(node.id, id, generation)
        store.replicas.record(owner.key, node.id, generation)
        this.onRecorded(owner.key)
      }
    }
    this.#order(node, doomed)
  }

  /** What the order named is still in the tables: it is told again. */
  #resume(node: Node): void {
    if (node.removalStopped === '' || this.#turn.now - node.removalStoppedMs < stoppedMs) return
    node.removalStopped = ''
    this.#turn.out.log('info', 'removal is tried again', { node: node.id })
  }

  #mayOrder(node: Node): boolean {
    if (node.connection === undefined || node.removalStopped !== '') return false
    if (this.#turn.store.restores.isUnverified(node.id)) return false
    let underWay = 0
    for (const order of this.#orders.values()) if (order.node === node) underWay += 1
    return underWay < ordersPerNode
  }

  #order(node: Node, instances: readonly Doomed[]): void {
    if (instances.length === 0 || node.connection === undefined) return
    const order: Order = { id: this.#turn.store.counters.issue('order'), node, instances }
    this.#orders.set(order.id, order)
    for (const instance of instances) this.#doomed.add(node, instance)
    for (const { key } of instances) if (key !== undefined) this.#ordered.add(`${key}/${node.id}`)
    this.#turn.out.node(node.connection, {
      $case: 'delete',
      value: { order: order.id, blocks: instances.map(({ id, generation }) => ({ id, generation })) },
    })
  }

  #forgetOrder(order: Order): void {
    this.#orders.delete(order.id)
    for (const { key } of order.instances)
      if (key !== undefined) this.#ordered.delete(`${key}/${order.node.id}`)
  }
}
