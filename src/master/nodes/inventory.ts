/**
 * What nodes report to have, and what the master makes of it.
 *
 * Changes carry consecutive sequence numbers and are applied idempotently; they are acknowledged with
 * the step that stored them. After attaching, and now and then, the node's digests as of a sequence
 * number are compared with the master's view (replica rows and strays) as of the same number: only
 * buckets that differ are listed, and only listings change anything:
 *
 *   in the listing, not in the view  → a copy of a block that the master has; else a stray
 *   in the view, not in the listing  → the copy is lost: its row goes, repair makes another
 *
 * Rows that a receipt made before the node's change arrived are newer than the listing: see
 * Unconfirmed.
 */
import { FsError } from '../../core/errors.ts'
import { type BlockKey, blockIdFromBytes, type Generation } from '../../core/ids.ts'
import type { BlockChange, BucketListing, Changes, InventoryDigest } from '../../wire/gen/cairn/v1/nodes.ts'
import { listOf, toBlockId, toBlockLength, toGeneration, u32, u63 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { Store } from '../store/store.ts'
import { bucketBounds, instanceBytes, prefixBitsFor, prefixBitsMax } from './inventory-digest.ts'
import type { Node, NodeRegistry } from './node-registry.ts'
import type { DoomedInstances } from '../removal/doomed-instances.ts'
import type { Unconfirmed } from './unconfirmed.ts'

const changesMax = 100_000
/** After a listing that raced with changes, the digest is asked for again this much later. */
const retryMs = 2000
/** After a restore nodes are compared this often until all of them was. */
const unverifiedMs = 5000

type Hash = (bytes: Uint8Array) => bigint

/** A comparison under way. */
interface Comparison {
  readonly sequence: bigint
  readonly prefixBits: number
  readonly digests: readonly bigint[]
  /** Next bucket to be compared. */
  next: number
  /** Buckets with changes after `sequence`: their digests say nothing. */
  readonly touched: Set<number>
  /** Buckets whose listing has not come whole. */
  readonly asked: Set<number>
  /** Listings that are not complete yet. */
  readonly listed: Map<number, BlockChange[]>
}

interface NodeInventory {
  askMs: number
  comparison: Comparison | undefined
  /** Of a node that is not verified since a restore: buckets that were found, or made, equal. */
  agreed: { readonly prefixBits: number; readonly buckets: Set<number> } | undefined
}

export interface InventoryEvents {
  /** Copies of a block came or went: it may have too few or too many now. */
  changed(key: BlockKey): void
  /** The node has the instance no more, whether it counted or not. */
  removed(node: Node, id: Uint8Array, generation: Generation): void
}

interface Instance {
  readonly id: Buffer
  readonly generation: Generation
  readonly length: number
  /** Absent for a stray. */
  readonly key: BlockKey | undefined
}

export class Inventory {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #unconfirmed: Unconfirmed
  readonly #doomed: DoomedInstances
  readonly #events: InventoryEvents
  readonly #hash: Hash
  /** The node was told once that changes are in the database, which are not. */
  readonly #rolledBack: (node: Node) => void
  readonly #byNode = new Map<Node, NodeInventory>()

  constructor(
    turn: Turn,
    nodes: NodeRegistry,
    unconfirmed: Unconfirmed,
    doomed: DoomedInstances,
    hash: Hash,
    events: InventoryEvents,
    rolledBack: (node: Node) => void,
  ) {
    this.#turn = turn
    this.#nodes = nodes
    this.#unconfirmed = unconfirmed
    this.#doomed = doomed
    this.#hash = hash
    this.#events = events
    this.#rolledBack = rolledBack
  }

  /** `sequence`: its last change. */
  attached(node: Node, sequence: bigint): void {
    this.#unconfirmed.attached(node, sequence)
    this.#byNode.set(node, { askMs: this.#turn.now, comparison: undefined, agreed: undefined })
  }

  detached(node: Node): void {
    this.#byNode.delete(node)
  }

  changes(node: Node, wire: Changes): void {
    const first = u63(wire.first, 'changes.first')
    const known = node.row.knownSequence
    const list = listOf(wire.changes, changesMax, 'changes.changes')
    if (first < 1n) throw new FsError('EPROTO', 'changes.first: 0')
    if (first > known + 1n) {
      // The node cannot tell them any more: a comparison finds what they were.
      this.#turn.out.log('warn', 'changes of a node are missing', { node: node.id, known, first })
      this.#askSoon(node, 0)
      // It forgets none before it has the master's word for it, which leaves after the commit.
      this.#rolledBack(node)
    }
    for (const [index, change] of list.entries()) if (first + BigInt(index) > known) this.#apply(node, change)
    const last = first + BigInt(list.length) - 1n
    if (last > known) this.#nodes.changesKnown(node, last)
    this.#doomed.changesKnown(node)
    this.#unconfirmed.changesKnown(node)
    if (node.connection !== undefined)
      this.#turn.out.node(node.connection, {
        $case: 'ackChanges',
        value: { sequence: node.row.knownSequence },
      })
  }

  /** The node's digests arrived: compares them, in steps. */
  digest(node: Node, wire: InventoryDigest): void {
    const inventory = this.#byNode.get(node)
    if (inventory === undefined) return
    const prefixBits = u32(wire.prefixBits, 'digest.prefix_bits', prefixBitsMax)
    if (wire.digests.length !== 2 ** prefixBits)
      throw new FsError('EPROTO', `digest.digests: ${wire.digests.length}, ${2 ** prefixBits} expected`)
    const sequence = u63(wire.sequence, 'digest.sequence')
    if (sequence !== node.row.knownSequence) {
      this.#askSoon(node, retryMs)
      return
    }
    inventory.comparison = {
      sequence,
      prefixBits,
      digests: wire.digests,
      next: 0,
      touched: new Set(),
      asked: new Set(),
      listed: new Map(),
    }
    // At once, while no change can have come in between.
    this.#compare(node, inventory.comparison, this.#turn.settings.rowsPerTick)
  }

  listing(node: Node, wire: BucketListing): void {
    const comparison = this.#byNode.get(node)?.comparison
    if (comparison === undefined || wire.prefixBits !== comparison.prefixBits) return
    const bucket = u32(wire.bucket, 'listing.bucket', 2 ** comparison.prefixBits - 1)
    const listed = comparison.listed.get(bucket) ?? []
    comparison.listed.set(bucket, listed)
    for (const block of wire.blocks) listed.push(block)
    if (!wire.last) return
    comparison.listed.delete(bucket)
    // As of another moment than what the master knows: what is missing may just have moved.
    if (u63(wire.sequence, 'listing.sequence') === node.row.knownSequence) {
      this.#resolve(node, comparison.prefixBits, bucket, listed)
      this.#agree(node, comparison.prefixBits, bucket)
    } else {
      this.#askSoon(node, retryMs)
      return
    }
    comparison.asked.delete(bucket)
    this.#checkWhole(node, comparison)
  }

  /** Asks for digests and compares buckets, up to `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    let left = budget
    for (const [node, inventory] of this.#byNode) {
      const { comparison } = inventory
      if (comparison !== undefined && comparison.next < comparison.digests.length)
        left = this.#compare(node, comparison, left)
      else if (this.#turn.now >= inventory.askMs && node.connection !== undefined) {
        const unverified = this.#turn.store.restores.isUnverified(node.id)
        inventory.askMs = this.#turn.now + (unverified ? unverifiedMs : this.#turn.settings.inventoryMs)
        const prefixBits = prefixBitsFor(node.blocks)
        this.#turn.out.node(node.connection, { $case: 'askDigest', value: { prefixBits } })
      }
      if (left <= 0) return true
    }
    return false
  }

  #askSoon(node: Node, ms: number): void {
    const inventory = this.#byNode.get(node)
    if (inventory === undefined) return
    inventory.comparison = undefined
    inventory.askMs = Math.min(inventory.askMs, this.#turn.now + ms)
  }

  #apply(node: Node, change: BlockChange): void {
    const id = toBlockId(change.id, 'changes.id')
    const generation = toGeneration(change.generation, 'changes.generation')
    const comparison = this.#byNode.get(node)?.comparison
    comparison?.touched.add(bucketOf(change.id, comparison.prefixBits))
    if (change.removed) this.#removed(node, Buffer.from(change.id), generation)
    else {
      const length = toBlockLength(change.length, 'changes.length')
      this.#unconfirmed.confirmed(node, id, generation)
      this.#present(node, Buffer.from(change.id), generation, length)
    }
  }

  /** The node has the instance: a copy of the block of that id, or a stray until a commit names it. */
  #present(node: Node, id: Buffer, generation: Generation, length: number): void {
    const { store, time } = this.#turn
    // It is on its way out, or gone already.
    if (this.#doomed.has(node, id, generation)) return
    const owner = store.blocks.owner(id)
    if (owner === undefined || owner.length !== length) {
      store.strays.seen({ node: node.id, id, generation, length, since: time })
      return
    }
    const known = store.replicas.generationOn(owner.key, node.id)
    // The same content was removed, and written again while this node was away.
    if (known === undefined && store.blocks.isDeletingOn(id, node.id, generation)) return
    store.strays.settled(node.id, id, generation)
    store.replicas.record(owner.key, node.id, generation)
    if (known === undefined) this.#events.changed(owner.key)
  }

  #removed(node: Node, id: Buffer, generation: Generation): void {
    const { store } = this.#turn
    store.strays.settled(node.id, id, generation)
    this.#events.removed(node, id, generation)
    const owner = store.blocks.owner(id)
    if (owner === undefined || store.replicas.generationOn(owner.key, node.id) !== generation) return
    store.replicas.forget(owner.key, node.id)
    this.#events.changed(owner.key)
  }

  /** Compares digests from `next` on; asks for listings of what differs. Returns what is left of the budget. */
  #compare(node: Node, comparison: Comparison, budget: number): number {
    const buckets: number[] = []
    let left = budget
    while (left > 0 && comparison.next < comparison.digests.length) {
      const bucket = comparison.next++
      const view = viewOf(this.#turn.store, node, bucket, comparison.prefixBits)
      left -= view.length + 1
      if (comparison.touched.has(bucket)) {
        // The first comparison leaves none out: what the node has is taken for known after it.
        if (!node.compared) buckets.push(bucket)
        continue
      }
      const hash = view.reduce((sum, { id, generation, length }) => {
        if (this.#isNewer(node, id)) return sum
        return sum ^ this.#hash(instanceBytes(id, generation, length))
      }, 0n)
      if (hash !== comparison.digests[bucket]) buckets.push(bucket)
      else this.#agree(node, comparison.prefixBits, bucket)
    }
    if (buckets.length > 0 && node.connection !== undefined) {
      this.#turn.out.node(node.connection, {
        $case: 'askBuckets',
        value: { prefixBits: comparison.prefixBits, buckets },
      })
      for (const bucket of buckets) comparison.asked.add(bucket)
      this.#turn.out.log('info', 'inventory differs', { node: node.id, buckets: buckets.length })
    }
    this.#checkWhole(node, comparison)
    return left
  }

  /** What is known of a bucket is what the node has. After a restore, with the last one, its rows are trusted. */
  #agree(node: Node, prefixBits: number, bucket: number): void {
    const { restores } = this.#turn.store
    const inventory = this.#byNode.get(node)
    if (inventory === undefined || !restores.isUnverified(node.id)) return
    if (inventory.agreed?.prefixBits !== prefixBits) inventory.agreed = { prefixBits, buckets: new Set() }
    const { buckets } = inventory.agreed
    buckets.add(bucket)
    if (buckets.size < 2 ** prefixBits) return
    restores.verified(node.id)
    this.#turn.out.log('info', 'a node was compared with the restored database', { node: node.id })
  }

  /** All was compared; what changed meanwhile was told. */
  #checkWhole(node: Node, { next, digests, asked }: Comparison): void {
    if (next === digests.length && asked.size === 0) node.compared = true
  }

  #resolve(node: Node, prefixBits: number, bucket: number, listed: readonly BlockChange[]): void {
    const { store } = this.#turn
    const has = new Map<string, BlockChange>()
    for (const block of listed) has.set(toBlockId(block.id, 'listing.id'), block)
    for (const { id, generation, key } of viewOf(store, node, bucket, prefixBits)) {
      const name = id.toString('hex')
      const found = has.get(name)
      if (found?.generation === generation) has.delete(name)
      if (found !== undefined && found.generation >= generation) continue
      if (this.#isNewer(node, id)) continue
      if (key === undefined) store.strays.settled(node.id, id, generation)
      else {
        this.#turn.out.log('warn', 'a copy is lost', {
          node: node.id,
          block: id.toString('hex'),
          generation,
        })
        store.replicas.forget(key, node.id)
        this.#events.removed(node, id, generation)
        this.#events.changed(key)
      }
    }
    for (const block of has.values()) {
      const generation = toGeneration(block.generation, 'listing.generation')
      const length = toBlockLength(block.length, 'listing.length')
      this.#unconfirmed.confirmed(node, blockIdFromBytes(block.id), generation)
      this.#present(node, Buffer.from(block.id), generation, length)
    }
  }

  #isNewer(node: Node, id: Buffer): boolean {
    return this.#unconfirmed.has(node, blockIdFromBytes(id))
  }
}

/** What the master believes the node to have of a bucket. */
function viewOf(store: Store, node: Node, bucket: number, prefixBits: number): Instance[] {
  const { from, to } = bucketBounds(bucket, prefixBits)
  return [
    ...store.replicas.between(node.id, from, to),
    ...store.strays.between(node.id, from, to).map(stray => ({ ...stray, key: undefined })),
  ]
}

function bucketOf(id: Uint8Array, prefixBits: number): number {
  return prefixBits === 0 ? 0 : Buffer.from(id.subarray(0, 2)).readUInt16BE(0) >>> (16 - prefixBits)
}
