import { type ErrnoName, FsError } from '../../core/errors.ts'
import type { FileModel } from './file-model.ts'

export interface DirNode {
  readonly kind: 'dir'
  readonly names: Map<string, TreeNode>
}
export interface FileNode {
  readonly kind: 'file'
  readonly file: FileModel
}
export interface LinkNode {
  readonly kind: 'symlink'
  readonly target: string
}
export type TreeNode = DirNode | FileNode | LinkNode

/** Its name, `.`, and the `..` of each directory in it. */
export const linksOfDirectory = ({ names }: DirNode): number =>
  2 + [...names.values()].filter(({ kind }) => kind === 'dir').length

/** A change of names. Throws the FsError that the system call must give. */
export type TreeChange = (tree: Tree) => void

/** The names below one directory, as a program knows them: every operation does what POSIX says, at once. */
export class Tree {
  readonly root: DirNode

  constructor(root: DirNode = { kind: 'dir', names: new Map() }) {
    this.root = root
  }

  /** The same files under names of their own. */
  clone(): Tree {
    return new Tree(cloneDir(this.root))
  }

  find(path: string): TreeNode | undefined {
    let node: TreeNode = this.root
    for (const name of split(path)) {
      if (node.kind !== 'dir') return undefined
      const next: TreeNode | undefined = node.names.get(name)
      if (next === undefined) return undefined
      node = next
    }
    return node
  }

  mkdir(path: string): void {
    this.#add(path, { kind: 'dir', names: new Map() })
  }

  create(path: string, file: FileModel): void {
    this.#add(path, { kind: 'file', file })
  }

  symlink(path: string, target: string): void {
    this.#add(path, { kind: 'symlink', target })
  }

  link(from: string, to: string): void {
    const node = this.#node(from)
    if (node.kind === 'dir') throw new FsError('EPERM', from)
    this.#add(to, node)
  }

  unlink(path: string): void {
    const { names, name } = this.#place(path)
    const node = names.get(name)
    if (node === undefined) throw new FsError('ENOENT', path)
    if (node.kind === 'dir') throw new FsError('EISDIR', path)
    names.delete(name)
  }

  rmdir(path: string): void {
    const { names, name } = this.#place(path)
    const node = names.get(name)
    if (node === undefined) throw new FsError('ENOENT', path)
    if (node.kind !== 'dir') throw new FsError('ENOTDIR', path)
    if (node.names.size > 0) throw new FsError('ENOTEMPTY', path)
    names.delete(name)
  }

  rename(from: string, to: string, mode: 'replace' | 'noreplace' | 'exchange'): void {
    const old = this.#place(from)
    const target = this.#place(to)
    const moved = old.names.get(old.name)
    if (moved === undefined) throw new FsError('ENOENT', from)
    const replaced = target.names.get(target.name)
    if (mode === 'noreplace' && replaced !== undefined) throw new FsError('EEXIST', to)
    if (mode === 'exchange' && replaced === undefined) throw new FsError('ENOENT', to)
    if (`${to}/`.startsWith(`${from}/`) && from !== to) throw new FsError('EINVAL', to)
    if (`${from}/`.startsWith(`${to}/`) && from !== to)
      throw new FsError(mode === 'exchange' ? 'EINVAL' : 'ENOTEMPTY', to)
    if (sameFile(moved, replaced)) return
    if (mode === 'replace' && replaced !== undefined) checkReplaced(moved, replaced, to)
    target.names.set(target.name, moved)
    if (mode === 'exchange' && replaced !== undefined) old.names.set(old.name, replaced)
    else old.names.delete(old.name)
  }

  /** Paths of everything below, each directory before what is in it. */
  *paths(): Generator<{ readonly path: string; readonly node: TreeNode }> {
    yield* below('', this.root)
  }

  *files(): Generator<FileModel> {
    const seen = new Set<FileModel>()
    for (const { node } of this.paths()) {
      if (node.kind !== 'file' || seen.has(node.file)) continue
      seen.add(node.file)
      yield node.file
    }
  }

  /** Number of names of a file. */
  linksOf(file: FileModel): number {
    let count = 0
    for (const { node } of this.paths()) if (node.kind === 'file' && node.file === file) count++
    return count
  }

  #add(path: string, node: TreeNode): void {
    const { names, name } = this.#place(path)
    if (names.has(name)) throw new FsError('EEXIST', path)
    names.set(name, node)
  }

  #node(path: string): TreeNode {
    const { names, name } = this.#place(path)
    const node = names.get(name)
    if (node === undefined) throw new FsError('ENOENT', path)
    return node
  }

  #place(path: string): { names: Map<string, TreeNode>; name: string } {
    const parts = split(path)
    const name = parts.pop() ?? ''
    let node: TreeNode = this.root
    for (const part of parts) {
      if (node.kind !== 'dir') throw new FsError('ENOTDIR', path)
      const next: TreeNode | undefined = node.names.get(part)
      if (next === undefined) throw new FsError('ENOENT', path)
      node = next
    }
    if (node.kind !== 'dir') throw new FsError('ENOTDIR', path)
    return { names: node.names, name }
  }
}

/** What a change would do: the errno it must give, or undefined. */
export function errnoOf(tree: Tree, change: TreeChange): ErrnoName | undefined {
  try {
    change(tree.clone())
    return undefined
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
}

function checkReplaced(moved: TreeNode, replaced: TreeNode, to: string): void {
  if (moved.kind === 'dir' && replaced.kind !== 'dir') throw new FsError('ENOTDIR', to)
  if (moved.kind !== 'dir' && replaced.kind === 'dir') throw new FsError('EISDIR', to)
  if (replaced.kind === 'dir' && replaced.names.size > 0) throw new FsError('ENOTEMPTY', to)
}

function sameFile(a: TreeNode, b: TreeNode | undefined): boolean {
  return a === b || (a.kind === 'file' && b?.kind === 'file' && a.file === b.file)
}

function cloneDir({ names }: DirNode): DirNode {
  return {
    kind: 'dir',
    names: new Map([...names].map(([name, node]) => [name, node.kind === 'dir' ? cloneDir(node) : node])),
  }
}

function* below(path: string, dir: DirNode): Generator<{ readonly path: string; readonly node: TreeNode }> {
  for (const [name, node] of dir.names) {
    yield { path: `${path}/${name}`, node }
    if (node.kind === 'dir') yield* below(`${path}/${name}`, node)
  }
}

const split = (path: string): string[] => path.split('/').filter(part => part !== '')
