/**
 * The locks of one kind (fcntl or flock) on one file, and who waits for one. Says what is in whose way; when
 * somebody is let through is the table's.
 */
import type { LockRange } from '../../core/attr.ts'
import type { SessionId } from '../../core/ids.ts'
import { type LockChange, LockRanges, overlap } from '../../core/lock-ranges.ts'
import { IntervalTree, type TreeNode } from './interval-tree.ts'

/** Who holds or asks: the kernel's lock owner within a mount. */
export interface LockOwner {
  readonly session: SessionId
  readonly owner: bigint
  readonly flock: boolean
}

/** One owner of the whole cluster. */
export type OwnerKey = string

/** Names a waiting request: chosen by the caller, unique among those that wait. */
export type Ticket = string

export interface HeldLock {
  readonly key: OwnerKey
  readonly who: LockOwner
  readonly range: LockRange
}

interface Holding {
  readonly who: LockOwner
  readonly ranges: LockRanges
  readonly nodes: Map<LockRange, TreeNode<HeldLock>>
}

export interface Waiting {
  readonly ticket: Ticket
  readonly file: FileLocks
  readonly who: LockOwner
  readonly key: OwnerKey
  readonly change: LockChange & { readonly kind: LockRange['kind'] }
  /** In the order of their coming. */
  readonly order: number
  readonly sinceMs: number
  /** Lets those who came before go first, though only they and nobody who holds a lock are in its way. */
  patient: boolean
}

/** Part of a file of which somebody holds less than before; 'read': of what was shared, so only writers gain. */
export type Freed = Pick<LockRange, 'kind' | 'start' | 'end'>

/** How many are found by range before the whole queue is gone through. */
const fewMax = 64

type ByKind<T> = Readonly<Record<LockRange['kind'], IntervalTree<T>>>

export class FileLocks {
  readonly #holdings = new Map<OwnerKey, Holding>()
  readonly #held: ByKind<HeldLock> = { read: new IntervalTree(), write: new IntervalTree() }
  readonly #queue = new Map<Waiting, TreeNode<Waiting>>()
  readonly #queued: ByKind<Waiting> = { read: new IntervalTree(), write: new IntervalTree() }

  get isEmpty(): boolean {
    return this.#holdings.size === 0 && this.#queue.size === 0
  }

  /**
   * Those who wait for a part, in the order of their coming. Where they are few, they are found without looking at
   * the others.
   */
  *waitingFor(part: Freed): Generator<Waiting> {
    const few: Waiting[] = []
    const isMore = (waiting: Waiting): boolean => few.push(waiting) > fewMax
    this.#queued.write.find(part.start, part.end, isMore)
    if (few.length <= fewMax) this.#queued.read.find(part.start, part.end, isMore)
    if (few.length <= fewMax) few.sort((a, b) => a.order - b.order)
    // Who goes meanwhile is left out.
    for (const waiting of few.length <= fewMax ? few : this.#queue.keys())
      if (this.#queue.has(waiting) && overlap(waiting.change, part)) yield waiting
  }

  holds(key: OwnerKey): boolean {
    return this.#holdings.has(key)
  }

  kindOf(key: OwnerKey): LockRange['kind'] | undefined {
    return this.#holdings.get(key)?.ranges.all[0]?.kind
  }

  /** What each owner holds. */
  *holdings(): Generator<{ readonly who: LockOwner; readonly ranges: readonly LockRange[] }> {
    for (const { who, ranges } of this.#holdings.values()) yield { who, ranges: ranges.all }
  }

  /** In the order of their coming. */
  waiters(): IterableIterator<Waiting> {
    return this.#queue.keys()
  }

  ownersOf(session: SessionId): LockOwner[] {
    return [...this.#holdings.values()].map(({ who }) => who).filter(who => who.session === session)
  }

  /** The lock of another owner with the lowest start that is in the way, and that `wanted` takes. */
  inTheWay(
    key: OwnerKey,
    { kind, start, end }: LockChange,
    wanted: (lock: HeldLock) => boolean = () => true,
  ): HeldLock | undefined {
    if (kind === 'unlock') return undefined
    const isOther = (lock: HeldLock): boolean => lock.key !== key && wanted(lock)
    const writer = this.#held.write.find(start, end, isOther)
    if (kind === 'read') return writer
    const reader = this.#held.read.find(start, end, isOther)
    if (writer === undefined || reader === undefined) return writer ?? reader
    return reader.range.start < writer.range.start ? reader : writer
  }

  /** Whether somebody who came before `order` waits for what the change excludes. */
  isQueuedFor(key: OwnerKey, { kind, start, end }: LockChange, order: number): boolean {
    const isBefore = (other: Waiting): boolean => other.order < order && other.key !== key
    if (kind === 'unlock') return false
    if (this.#queued.write.find(start, end, isBefore) !== undefined) return true
    return kind === 'write' && this.#queued.read.find(start, end, isBefore) !== undefined
  }

  /** What the owner holds less than before. Nothing of others may be in the way. */
  apply(key: OwnerKey, who: LockOwner, change: LockChange): Freed[] {
    let holding = this.#holdings.get(key)
    if (holding === undefined) {
      holding = { who, ranges: new LockRanges(), nodes: new Map() }
      this.#holdings.set(key, holding)
    }
    const { removed, added } = holding.ranges.apply(change)
    const freed: Freed[] = []
    for (const range of removed) {
      if (change.kind === 'unlock' || (change.kind === 'read' && range.kind === 'write')) {
        const start = range.start > change.start ? range.start : change.start
        const end = range.end < change.end ? range.end : change.end
        if (start <= end) freed.push({ kind: range.kind, start, end })
      }
      if (added.includes(range)) continue
      const node = holding.nodes.get(range)
      holding.nodes.delete(range)
      if (node !== undefined) this.#held[range.kind].delete(node)
    }
    for (const range of added)
      if (!holding.nodes.has(range))
        holding.nodes.set(range, this.#held[range.kind].add(range.start, range.end, { key, who, range }))
    if (holding.ranges.isEmpty) this.#holdings.delete(key)
    return freed
  }

  enqueue(waiting: Waiting): void {
    const { kind, start, end } = waiting.change
    this.#queue.set(waiting, this.#queued[kind].add(start, end, waiting))
  }

  dequeue(waiting: Waiting): void {
    const node = this.#queue.get(waiting)
    this.#queue.delete(waiting)
    if (node !== undefined) this.#queued[waiting.change.kind].delete(node)
  }

  isWaiting(waiting: Waiting): boolean {
    return this.#queue.has(waiting)
  }

  /** Nobody waits who came before. */
  isFirst(waiting: Waiting): boolean {
    for (const first of this.#queue.keys()) return first === waiting
    return false
  }
}
