/**
 * Intervals that may overlap, found by the range they have a byte of: a treap by start, each node knowing the
 * furthest end below it. Its priorities are hashes of a counter, so that it is the same in every run.
 */
export interface TreeNode<T> {
  readonly start: bigint
  readonly end: bigint
  readonly value: T
  readonly number: number
  readonly priority: number
  furthest: bigint
  left: TreeNode<T> | undefined
  right: TreeNode<T> | undefined
}

export class IntervalTree<T> {
  #root: TreeNode<T> | undefined
  #count = 0

  add(start: bigint, end: bigint, value: T): TreeNode<T> {
    const number = this.#count++
    const node = {
      start,
      end,
      value,
      number,
      priority: mixed(number),
      furthest: end,
      left: undefined,
      right: undefined,
    }
    this.#root = insert(this.#root, node)
    return node
  }

  delete(node: TreeNode<T>): void {
    this.#root = remove(this.#root, node)
  }

  /** The first in the order of starts that has a byte of the range and that `wanted` takes. */
  find(start: bigint, end: bigint, wanted: (value: T) => boolean): T | undefined {
    return find(this.#root, start, end, wanted)?.value
  }
}

const isBefore = <T>(a: TreeNode<T>, b: TreeNode<T>): boolean =>
  a.start < b.start || (a.start === b.start && a.number < b.number)

function insert<T>(root: TreeNode<T> | undefined, node: TreeNode<T>): TreeNode<T> {
  if (root === undefined) return node
  if (node.priority > root.priority) {
    const [left, right] = split(root, node)
    node.left = left
    node.right = right
    return updated(node)
  }
  if (isBefore(node, root)) root.left = insert(root.left, node)
  else root.right = insert(root.right, node)
  return updated(root)
}

/** What is before the node, and what is after it. */
function split<T>(
  root: TreeNode<T> | undefined,
  at: TreeNode<T>,
): [TreeNode<T> | undefined, TreeNode<T> | undefined] {
  if (root === undefined) return [undefined, undefined]
  if (isBefore(root, at)) {
    const [left, right] = split(root.right, at)
    root.right = left
    return [updated(root), right]
  }
  const [left, right] = split(root.left, at)
  root.left = right
  return [left, updated(root)]
}

function remove<T>(root: TreeNode<T> | undefined, node: TreeNode<T>): TreeNode<T> | undefined {
  if (root === undefined) return undefined
  if (root === node) return merge(root.left, root.right)
  if (isBefore(node, root)) root.left = remove(root.left, node)
  else root.right = remove(root.right, node)
  return updated(root)
}

function merge<T>(left: TreeNode<T> | undefined, right: TreeNode<T> | undefined): TreeNode<T> | undefined {
  if (left === undefined) return right
  if (right === undefined) return left
  if (left.priority > right.priority) {
    left.right = merge(left.right, right)
    return updated(left)
  }
  right.left = merge(left, right.left)
  return updated(right)
}

function find<T>(
  root: TreeNode<T> | undefined,
  start: bigint,
  end: bigint,
  wanted: (value: T) => boolean,
): TreeNode<T> | undefined {
  if (root === undefined || root.furthest < start) return undefined
  const left = find(root.left, start, end, wanted)
  if (left !== undefined) return left
  if (root.start > end) return undefined
  if (root.end >= start && wanted(root.value)) return root
  return find(root.right, start, end, wanted)
}

function updated<T>(node: TreeNode<T>): TreeNode<T> {
  let furthest = node.end
  if (node.left !== undefined && node.left.furthest > furthest) furthest = node.left.furthest
  if (node.right !== undefined && node.right.furthest > furthest) furthest = node.right.furthest
  node.furthest = furthest
  return node
}

/** Spreads a counter over 32 bits. */
function mixed(number: number): number {
  let hash = Math.imul(number + 1, 0x9e3779b1)
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 0
}
