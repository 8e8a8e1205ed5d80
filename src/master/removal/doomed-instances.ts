import { second } from '../../core/units.ts'
import type { Generation } from '../../core/ids.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node } from '../nodes/node-registry.ts'

interface Instance {
  readonly id: Buffer
  readonly generation: Generation
}

/** The order stands, or is not even told yet. */
const untold = undefined

/** Grants and receipts are judged by the same clock; this is for the work between. */
const marginMs = 10 * second
/** The newest generation is noted this often. */
const sampleMs = 30 * second

const nameOf = (node: Node, id: Buffer, generation: Generation): string =>
  `${node.id}/${id.toString('hex')}/${generation}`

/**
 * Instances that are about to be deleted on a node, or were a moment ago. What the node says meanwhile may be
 * older than that: a listing on its way still has them, and to take them for copies would be to count on what is
 * gone. An instance is doomed until all changes are known that the node had made when it answered the order.
 * That is forgotten with the connection: a node ends what it was told to delete before it attaches again, and tells
 * its changes first.
 *
 * A receipt may come later still: an instance can be taken for one more copy of a block that is there already, and
 * go with that block, while its own commit is on its way. So those that went are remembered until no grant can be
 * theirs any more. What went before a start of the master is not known: of generations from then, only
 * those count that a node has told.
 */
export class DoomedInstances {
  readonly #turn: Turn
  /** The first generation that was issued since the start. */
  readonly #first: bigint
  readonly #byNode = new Map<Node, Map<string, bigint | typeof untold>>()
  /** By name, until when; the oldest first. */
  readonly #gone = new Map<string, number>()
  /** Which generation came next, and when: the first is as old as a grant can be. */
  readonly #samples: { readonly ms: number; readonly generation: bigint }[]

  constructor(turn: Turn) {
    this.#turn = turn
    this.#first = this.#next
    this.#samples = [{ ms: turn.now, generation: this.#first }]
  }

  add(node: Node, { id, generation }: Instance): void {
    let instances = this.#byNode.get(node)
    if (instances === undefined) {
      instances = new Map()
      this.#byNode.set(node, instances)
    }
    instances.set(nameOf(node, id, generation), untold)
    this.#remember(node, id, generation)
  }

  has(node: Node, id: Buffer, generation: Generation): boolean {
    return this.#byNode.get(node)?.has(nameOf(node, id, generation)) ?? false
  }

  /** Whether a receipt for the instance proves nothing any more. */
  refuses(node: Node, id: Buffer, generation: Generation): boolean {
    if (this.has(node, id, generation)) return true
    return generation < this.#first
      ? !this.#isKnown(node, id, generation)
      : this.#gone.has(nameOf(node, id, generation))
  }

  /** The node has done what it could of an order, as of its change `sequence`. */
  answered(node: Node, instances: readonly Instance[], sequence: bigint): void {
    const doomed = this.#byNode.get(node)
    if (doomed === undefined) return
    for (const { id, generation } of instances) {
      doomed.set(nameOf(node, id, generation), sequence)
      this.#remember(node, id, generation)
    }
    this.changesKnown(node)
  }

  /** The node's changes are known as far as its row says. */
  changesKnown(node: Node): void {
    const doomed = this.#byNode.get(node)
    if (doomed === undefined) return
    for (const [name, sequence] of doomed)
      if (sequence !== untold && sequence <= node.row.knownSequence) doomed.delete(name)
    if (doomed.size === 0) this.#byNode.delete(node)
  }

  detached(node: Node): void {
    this.#byNode.delete(node)
  }

  /** Forgets what no grant can be for any more. */
  tidy(): void {
    const { now } = this.#turn
    for (const [name, until] of this.#gone) {
      if (until > now) break
      this.#gone.delete(name)
    }
    const last = this.#samples.at(-1)
    if (last !== undefined && now - last.ms < sampleMs) return
    this.#samples.push({ ms: now, generation: this.#next })
    for (let second = this.#samples[1]; second !== undefined; second = this.#samples[1]) {
      if (now - second.ms < this.#keepMs) break
      this.#samples.shift()
    }
  }

  get #next(): bigint {
    return this.#turn.store.counters.peek('generation')
  }

  get #keepMs(): number {
    return this.#turn.settings.grantMs + marginMs
  }

  #remember(node: Node, id: Buffer, generation: Generation): void {
    const [oldest] = this.#samples
    const { now } = this.#turn
    if (generation < this.#first) return
    if (oldest !== undefined && now - oldest.ms >= this.#keepMs && generation < oldest.generation) return
    const name = nameOf(node, id, generation)
    this.#gone.delete(name)
    this.#gone.set(name, now + this.#keepMs)
  }

  #isKnown(node: Node, id: Buffer, generation: Generation): boolean {
    const { strays, blocks, replicas } = this.#turn.store
    if (strays.has(node.id, id, generation)) return true
    const owner = blocks.owner(id)
    return owner !== undefined && replicas.generationOn(owner.key, node.id) === generation
  }
}
