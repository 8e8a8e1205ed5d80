/**
 * Where blocks that need something are found: in the rows of nodes that came, went or changed their part; among
 * those with too few or too many rows; among those with bad copies, since one that was removed may be wanted again;
 * and among all, when a zone or machine has come, and else slowly, again and again: what no event told of is found then.
 * Everything is looked at in steps; a block that is found goes to `look`.
 */
import type { BlockKey } from '../../core/ids.ts'
import type { Turn } from '../engine/turn.ts'
import { minute } from '../../core/units.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'

/** Blocks with too few or too many copies are looked for this often, so many at once. */
const pageMs = 250
const pageBlocks = 1000
/** All blocks are looked at in pages of this size where nothing calls for it, and no sooner again than after so long. */
const slowPageBlocks = 32
const roundMs = 10 * minute
/** Rows of one node that are looked at before another one's. */
const scanRowsMin = 100

/** A look at all rows of a node: from `from` on, then, if it began in the middle, from the first one up to `upTo`. */
interface Scan {
  readonly from: bigint
  readonly upTo: bigint | undefined
  readonly isSecondPart: boolean
}

export class FindWork {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #look: (key: BlockKey) => void
  readonly #known: (key: BlockKey) => boolean
  readonly #suspects: () => IterableIterator<BlockKey>
  /** Blocks to be looked at: copies came or went. */
  readonly #changed = new Set<BlockKey>()
  /** Nodes whose rows are to be looked at: the one that waited for longest comes first. */
  readonly #scans = new Map<Node, Scan>()
  /** Nodes that were away, or failing, for too long. */
  readonly #givenUp = new Set<Node>()
  /** Zones and machines for which all blocks were looked at. */
  readonly #places = new Set<string>()
  /** From which key on all blocks are looked at; undefined when they have been. */
  #all: bigint | undefined
  /** The same without a reason, and when that begins anew. */
  #slowly = 0n
  #nextRoundMs: number
  /** Where among the blocks with bad copies it is. */
  #suspectsLeft: IterableIterator<BlockKey> | undefined
  #nextPageMs = 0
  #surplusCursor = 0n
  #shortCursor: { readonly have: number; readonly key: bigint } = { have: -1, key: 0n }

  /** `known`: needs no second look; `suspects`: blocks with bad copies. */
  constructor(
    turn: Turn,
    nodes: NodeRegistry,
    look: (key: BlockKey) => void,
    known: (key: BlockKey) => boolean,
    suspects: () => IterableIterator<BlockKey>,
  ) {
    this.#turn = turn
    this.#nodes = nodes
    this.#look = look
    this.#known = known
    this.#suspects = suspects
    this.#nextRoundMs = turn.now + roundMs
    for (const node of nodes.all()) this.nodeChanged(node)
  }

  get isScanning(): boolean {
    return this.#scans.size > 0
  }

  changed(key: BlockKey): void {
    this.#changed.add(key)
  }

  /** A look that is under way goes on, and round: who comes and goes all the time does not keep it at the beginning. */
  nodeChanged(node: Node): void {
    const from = this.#scans.get(node)?.from ?? 0n
    this.#scans.set(node, { from, upTo: from === 0n ? undefined : from, isSecondPart: false })
  }

  nodeRemoved(node: Node): void {
    this.#scans.delete(node)
    this.#givenUp.delete(node)
  }

  everyNode(): void {
    for (const node of this.#nodes.all()) this.nodeChanged(node)
  }

  /** One step of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    this.#noteGivenUp()
    this.#notePlaces()
    // Neither may keep the other from what it has to do.
    const unused = this.#lookAtChanged(Math.ceil(budget / 2))
    const left = this.#lookAtChanged(this.#scan(unused + Math.floor(budget / 2)))
    if (this.#turn.now >= this.#nextPageMs) {
      this.#nextPageMs = this.#turn.now + pageMs
      this.#lookAtShort()
      this.#lookAtSurplus()
      this.#lookAtSuspects()
      this.#lookAtAll()
      this.#lookSlowly()
    }
    return left <= 0
  }

  /** A node that is given up now, or not any more: its rows are looked at again. */
  #noteGivenUp(): void {
    for (const node of this.#nodes.all()) {
      const at = this.#nodes.givenUpAtMs(node)
      const givenUp = at !== undefined && this.#turn.now >= at
      if (givenUp === this.#givenUp.has(node)) continue
      if (givenUp) {
        this.#givenUp.add(node)
        // Blocks that are written meanwhile are spread without it.
        this.#places.delete(placeOf(node))
      } else this.#givenUp.delete(node)
      this.nodeChanged(node)
    }
  }

  /** A zone or machine that was not there before, or was for no block of a dedup domain: blocks may be spread over it. */
  #notePlaces(): void {
    for (const node of this.#nodes.accepting()) {
      const place = placeOf(node)
      if (this.#places.has(place)) continue
      this.#places.add(place)
      if (this.#places.size > 1) this.#all = 0n
    }
  }

  /** Looks at the rows of nodes that came or went, of each some. Returns what is left of the budget. */
  #scan(budget: number): number {
    let left = budget
    const share = Math.max(scanRowsMin, Math.ceil(budget / Math.max(1, this.#scans.size)))
    for (const [node, scan] of [...this.#scans]) {
      if (left <= 0) break
      const limit = Math.min(left, share)
      const rows = this.#turn.store.replicas.ofNode(node.id, scan.from, limit)
      for (const { block } of rows) this.#look(block)
      left -= rows.length
      const last = rows.length < limit ? undefined : rows.at(-1)
      this.#scans.delete(node)
      const rest = restOf(scan, last?.block)
      if (rest !== undefined) this.#scans.set(node, rest)
    }
    return left
  }

  #lookAtChanged(budget: number): number {
    let left = budget
    for (const key of this.#changed) {
      if (left <= 0) break
      left -= 1
      this.#changed.delete(key)
      this.#look(key)
    }
    return left
  }

  #lookAtShort(): void {
    const { have, key } = this.#shortCursor
    const short = this.#turn.store.blocks.shortAfter(have, key, pageBlocks)
    const last = short.at(-1)
    this.#shortCursor = short.length < pageBlocks || last === undefined ? { have: -1, key: 0n } : last
    for (const block of short) if (!this.#known(block.key)) this.#look(block.key)
  }

  /** Of which fewer copies are wanted than there are: a file's number was lowered, or a node came back. */
  #lookAtSurplus(): void {
    const found = this.#turn.store.blocks.surplusAfter(this.#surplusCursor, pageBlocks)
    this.#surplusCursor = found.length < pageBlocks ? 0n : (found.at(-1)?.key ?? 0n)
    for (const { key } of found) if (!this.#known(key)) this.#look(key)
  }

  #lookAtSuspects(): void {
    this.#suspectsLeft ??= this.#suspects()
    for (let looks = 0; looks < pageBlocks; looks++) {
      const next = this.#suspectsLeft.next()
      if (next.done === true) {
        this.#suspectsLeft = undefined
        return
      }
      if (!this.#known(next.value)) this.#look(next.value)
    }
  }

  #lookAtAll(): void {
    if (this.#all === undefined) return
    const blocks = this.#turn.store.blocks.liveAfter(this.#all, pageBlocks)
    for (const { key } of blocks) if (!this.#known(key)) this.#look(key)
    this.#all = blocks.length < pageBlocks ? undefined : blocks.at(-1)?.key
  }

  #lookSlowly(): void {
    if (this.#turn.now < this.#nextRoundMs) return
    const blocks = this.#turn.store.blocks.liveAfter(this.#slowly, slowPageBlocks)
    for (const { key } of blocks) if (!this.#known(key)) this.#look(key)
    this.#slowly = blocks.at(-1)?.key ?? 0n
    if (blocks.length === slowPageBlocks) return
    this.#slowly = 0n
    this.#nextRoundMs = this.#turn.now + roundMs
  }
}

const placeOf = ({ zone, host, knowsDomains }: Node): string => `${zone}\0${host}\0${String(knowsDomains)}`

/** What is left to do of a look; `last`: the last row that was looked at, undefined when there are no more. */
function restOf({ upTo, isSecondPart }: Scan, last: bigint | undefined): Scan | undefined {
  if (upTo === undefined) return last === undefined ? undefined : { from: last, upTo, isSecondPart }
  if (!isSecondPart)
    return last === undefined ? { from: 0n, upTo, isSecondPart: true } : { from: last, upTo, isSecondPart }
  return last === undefined || last >= upTo ? undefined : { from: last, upTo, isSecondPart }
}
