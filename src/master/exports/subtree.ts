/**
 * Where inodes are: whether a directory is below another one, or a file has a name there. Directories know their parent,
 * so the way up is walked, and remembered until a name has moved between directories; of a file its names say where it is
 * (store/exports.ts).
 */
import { isDirectory } from '../../core/attr.ts'
import { type Ino, rootIno, type SessionId } from '../../core/ids.ts'
import type { Store } from '../store/store.ts'

/** Directories that are remembered, of all roots together. */
const knownMax = 100_000

export class Subtrees {
  readonly #store: Store
  readonly #byRoot = new Map<Ino, Map<Ino, boolean>>()
  #known = 0

  constructor(store: Store) {
    this.#store = store
  }

  /** A name went from one directory to another: what was below it may be elsewhere. */
  moved(): void {
    this.#byRoot.clear()
    this.#known = 0
  }

  /**
   * Whether a session of an export of the directory `root` may name the inode: it is there, or it is one without a name
   * that the session has open, or a number that it may use for a new file.
   */
  shows(root: Ino, session: SessionId, ino: bigint): boolean {
    const { inodes, orphans, exports, inoRanges } = this.#store
    if (ino === root) return true
    const inode = inodes.find(ino)
    if (inode === undefined) return inoRanges.isReserved(session, ino)
    if (inode.nlink === 0) return orphans.isOf(inode.ino, session)
    if (isDirectory(inode.mode)) return this.contains(root, inode.ino)
    return exports.parentsOf(ino).some(parent => this.contains(root, parent))
  }

  /** Whether the directory is `root` or lies below it. */
  contains(root: Ino, directory: Ino): boolean {
    let known = this.#byRoot.get(root)
    if (known === undefined) this.#byRoot.set(root, (known = new Map<Ino, boolean>()))
    const passed: Ino[] = []
    let found: boolean | undefined
    for (let at: Ino | undefined = directory; found === undefined; ) {
      if (at === root) found = true
      else if (at === undefined || at === rootIno) found = false
      else {
        found = known.get(at)
        if (found !== undefined) break
        passed.push(at)
        at = this.#store.inodes.parentOf(at)
      }
    }
    for (const ino of passed) known.set(ino, found)
    this.#known += passed.length
    if (this.#known > knownMax) this.moved()
    return found
  }
}
