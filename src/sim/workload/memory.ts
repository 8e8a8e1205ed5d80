import type { FileModel } from '../model/file-model.ts'
import { type Tree, type TreeChange, type TreeNode } from '../model/tree.ts'

/** What was asked and not yet answered when the machine stopped: it may have happened. */
export interface Unanswered {
  readonly session: bigint
  readonly names?: TreeChange
  readonly data?: { readonly file: FileModel; readonly change: (content: Buffer) => Buffer }
}

/** What is known of one directory that one program works in. It outlives the program. */
export interface Memory {
  /** Path of the directory. */
  readonly directory: string
  tree: Tree
  unanswered: Unanswered | undefined
  /** Its directory was made for sure. */
  made: boolean
  files: number
  /** Operations that were answered. */
  done: number
}

export interface Found {
  readonly path: string
  readonly kind: TreeNode['kind']
  /** What tells files apart: paths with the same are one file. */
  readonly identity: unknown
}

/** Names and what they lead to, in one text, in which equal trees are equal. */
export function outline(found: Iterable<Found>): string {
  const first = new Map<unknown, string>()
  const lines: string[] = []
  for (const { path, kind, identity } of [...found].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const same = first.get(identity)
    if (kind !== 'dir' && same === undefined) first.set(identity, path)
    lines.push(kind === 'dir' ? `${path}/` : `${path} ${kind}${same === undefined ? '' : ` = ${same}`}`)
  }
  return lines.join('\n')
}

export function* outlineOf(tree: Tree): Generator<Found> {
  for (const { path, node } of tree.paths())
    yield { path, kind: node.kind, identity: node.kind === 'file' ? node.file : node }
}
