import { type Attr, S_IFBLK, S_IFCHR, S_IFMT, S_ISGID, S_ISUID } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Inode } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'

/** More that the master has not done yet: the next waits. */
const pendingMax = 1024

/**
 * Changes of names, and of attributes, that programs were told of before the master made them.
 *
 *   promised (done here, and on its way) ──► made
 *                                       └──► lost: ENOSPC, EIO
 *
 * Only under a write lease, on a directory where nobody else can then see or take a name, and only what cannot fail by
 * what others do. All calls of a session are executed in their order, so what comes after it (a commit, another name,
 * the answer to a recall) finds it made. As with written data, who wants to know that it is stored asks with fsync, of
 * any file or of the directory; without, a crash of this mount may take the last ones, as a crash takes the last
 * changes of a local file system.
 */
export class Promises {
  readonly #context: FilesContext
  readonly #pending = new Set<Promise<void>>()

  constructor(context: FilesContext) {
    this.#context = context
  }

  /** Whether it, or a name in it, may be changed so. */
  covers(node: Inode | undefined): node is Inode & { attr: Attr } {
    if (node?.attr === undefined || this.#context.session.rules.judged) return false
    if (this.#pending.size >= pendingMax) return false
    const { lease, recalling, removed } = node
    return lease === 'write' && !recalling && !removed && this.#context.cache.trusted(node)
  }

  /** Whether the master has room for more names: what is promised before it says that it has not is kept all the same. */
  get hasRoom(): boolean {
    return !this.#context.session.diskFull
  }

  /** Whether the export lets a mode be set, or given to something new. */
  allows(mode: number): boolean {
    const { noSetuid, noDevices } = this.#context.session.rules
    const type = mode & S_IFMT
    if (noDevices && (type === S_IFBLK || type === S_IFCHR)) return false
    return !noSetuid || (mode & (S_ISUID | S_ISGID)) === 0
  }

  /** Shows that names in the directory changed. */
  touch(directory: Inode & { attr: Attr }, time: bigint): void {
    const changed = changeTime(directory.attr, time)
    directory.attr = { ...directory.attr, mtime: changed, ctime: changed }
    // Later than what was set, of which the master may have yet to hear.
    if (directory.setting !== undefined) directory.setting = { ...directory.setting, mtime: changed }
  }

  /** Notes what is on its way; whoever asks for it hears of a failure, which is logged in any case. */
  add(made: Promise<void>): void {
    this.#pending.add(made)
    made.catch(() => undefined).finally(() => this.#pending.delete(made))
  }

  /** What to tell of a promise that the master did not keep. */
  lost(what: string, why: FsError): FsError {
    return new FsError(why.code === 'ENOSPC' ? 'ENOSPC' : 'EIO', `${what}: ${why.message}`, { cause: why })
  }

  /** Names in the directory, and its attributes, are not what programs were told: the master is asked again. */
  unmade(directory: Ino, why: FsError): void {
    const { cache, kernel } = this.#context
    // The end of the session may have taken it from the cache.
    const node = cache.make(directory)
    node.lost ??= why
    if (!node.gone) node.attr = undefined
    void kernel?.inode(directory, false)
  }

  get pending(): boolean {
    return this.#pending.size > 0
  }

  /** Everything promised so far was answered, whatever the answer. */
  async answered(): Promise<void> {
    if (!this.pending) return
    this.#context.session.hurry()
    await Promise.allSettled([...this.#pending])
  }

  /** As `answered`, for who does not wait for ever: rejects with ETIMEDOUT where the master is away for too long. */
  async heard(): Promise<PromiseSettledResult<void>[]> {
    const { session } = this.#context
    session.hurry()
    return await session.patiently(Promise.allSettled([...this.#pending]))
  }

  /** Everything promised so far is made. Rejects with the first that is lost, or ETIMEDOUT. */
  async settled(): Promise<void> {
    const results = await this.heard()
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
}

/** As the master has it (src/master/namespace/times.ts). */
export const changeTime = ({ ctime }: Attr, time: bigint): bigint => (time >= ctime ? time : ctime + 1n)
