import type { Ino } from '../../core/ids.ts'
import type { FileModel } from '../model/file-model.ts'
import { errnoOf, type Tree, type TreeChange, type TreeNode } from '../model/tree.ts'

/** What was asked and not yet answered when the machine stopped: it may have happened. */
export interface Unanswered {
  readonly session: bigint
  readonly names?: TreeChange
  readonly data?: { readonly file: FileModel; readonly change: (content: Buffer) => Buffer }
}

/** A change of files' names that is not stored for sure: its session's death may undo it, and those after it. */
export interface Promised {
  readonly session: bigint
  readonly before: Tree
}

/** What is known of one directory that one program works in. It outlives the program. */
export interface Memory {
  /** Path of the directory. */
  readonly directory: string
  tree: Tree
  unanswered: Unanswered | undefined
  /** Oldest first. */
  promised: Promised[]
  /** Its directory was made for sure. */
  made: boolean
  files: number
  /** Changes of names that were begun. */
  changes: number
  /** Operations that were answered. */
  done: number
}

export interface Found {
  readonly path: string
  readonly kind: TreeNode['kind']
  readonly ino: Ino
}

/** What the names may be, the likeliest first, as seen in a session. */
export function* possibleTrees(memory: Memory, session: bigint): Generator<Tree> {
  const lost = memory.promised.filter(promised => promised.session !== session).map(({ before }) => before)
  for (const tree of [memory.tree, ...lost.reverse()]) {
    yield tree
    const { names } = memory.unanswered ?? {}
    if (names === undefined || errnoOf(tree, names) !== undefined) continue
    const changed = tree.clone()
    names(changed)
    yield changed
  }
}

/** All that was promised is stored. */
export function keepPromises(memory: Memory): void {
  memory.promised = []
}

/** Every file that has a name, or will have one again if a promise is not kept. */
export function* filesOf({ tree, promised }: Memory): Generator<FileModel> {
  for (const known of [tree, ...promised.map(({ before }) => before)]) yield* known.files()
}

/** Whether names lead where a tree says; what inodes its files have is remembered then. */
export function agrees(tree: Tree, found: readonly Found[]): boolean {
  const byPath = new Map(found.map(entry => [entry.path, entry]))
  const inos = new Map<FileModel, Ino>()
  let paths = 0
  for (const { path, node } of tree.paths()) {
    const entry = byPath.get(path)
    paths += 1
    if (entry?.kind !== node.kind) return false
    if (node.kind !== 'file') continue
    const { file } = node
    if ((file.ino ?? inos.get(file) ?? entry.ino) !== entry.ino) return false
    inos.set(file, entry.ino)
  }
  if (paths !== found.length || new Set(inos.values()).size !== inos.size) return false
  for (const [file, ino] of inos) file.ino = ino
  return true
}

/** For people. */
export function outline(tree: Tree): string {
  const lines = [...tree.paths()].map(({ path, node }) =>
    node.kind === 'file' ? `${path} (inode ${node.file.ino ?? '?'})` : `${path} (${node.kind})`,
  )
  return lines.sort().join(', ')
}

export function outlineFound(found: readonly Found[]): string {
  const lines = found.map(({ path, kind, ino }) => `${path} (${kind === 'file' ? `inode ${ino}` : kind})`)
  return lines.sort().join(', ')
}
