import type { Attr } from '../../core/attr.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Inode } from '../cache/inode.ts'
import type { FileData } from '../ports.ts'
import type { FilesContext } from './context.ts'

/**
 * Inodes that lose their names. One that is open here lives on at the master as an orphan of this
 * session, until the last handle is closed; what was written to one that is not open need never be
 * sent. A program may still refer to a removed inode that is not open (a working directory, O_PATH):
 * its last attributes are kept until the kernel forgets it.
 */
export class Removals {
  readonly #context: FilesContext

  constructor(context: FilesContext) {
    this.#context = context
  }

  /**
   * Runs a removal that tells the master whether the inode is open here. Nobody opens it meanwhile
   * (see `settled`), and removals of one inode by several names follow each other.
   */
  async during(ino: Ino, removal: (open: boolean) => Promise<void>): Promise<void> {
    const node = this.#context.cache.make(ino)
    await this.settled(node)
    const running = removal(node.opens > 0)
    const settled = running.then(
      () => undefined,
      () => undefined,
    )
    node.removal = settled
    try {
      await running
    } finally {
      if (node.removal === settled) node.removal = undefined
    }
  }

  /**
   * Runs what gives the inode another name. If that is its first (O_TMPFILE), the last close meanwhile does not give it
   * up: see `linked`.
   */
  async whileLinking<T>(ino: Ino, link: () => Promise<T>): Promise<T> {
    const node = this.#context.cache.make(ino)
    const before = node.linking
    const running = link()
    const settled = Promise.allSettled([before, running])
    node.linking = settled
    try {
      return await running
    } finally {
      if (node.linking === settled) node.linking = undefined
    }
  }

  /** Waits until it is known whether the inode has a name. */
  async linked(node: Inode): Promise<void> {
    while (node.linking !== undefined) await node.linking
  }

  /** Waits for removals under way. */
  async settled(node: Inode): Promise<void> {
    while (node.removal !== undefined) await node.removal
  }

  /** A name of it went. */
  note(attr: Attr, orphaned: boolean): void {
    const { cache } = this.#context
    const node = cache.make(attr.ino)
    if (attr.nlink > 0) {
      cache.noteCommand(attr)
      return
    }
    node.removed = true
    node.orphaned = orphaned
    node.attr = attr
    cache.noteCommand(attr)
    if (node.opens === 0) void this.discard(node)
  }

  /**
   * The last handle of a removed inode was closed here, or there was none. Only if another mount has it open,
   * too, anybody can reach its bytes: then what was written is stored first.
   */
  async discard(node: Inode): Promise<void> {
    const { data, env } = this.#context
    const file = data.known(node.ino)
    // Who refers to it still sees it with what was written and read here.
    const attr = node.attr === undefined ? undefined : (file?.overlay(node.attr) ?? node.attr)
    node.attr = attr === undefined || node.atime === undefined ? attr : { ...attr, atime: node.atime }
    node.atime = undefined
    node.discarding = true
    try {
      if (node.orphaned) await this.#closeOrphan(node, file)
      if (file === undefined || node.opens > 0) return
      await file.discardFrom(0)
      file.takeError()
      data.release(node.ino)
    } catch (thrown) {
      const gone = thrown instanceof FsError && (thrown.code === 'ENOENT' || thrown.code === 'ESTALE')
      if (!gone) env.log.warn('A removed file was not given up', { ino: node.ino, why: messageOf(thrown) })
    } finally {
      node.discarding = false
      if (node.forgotten) this.forgotten(node.ino)
    }
  }

  async #closeOrphan(node: Inode, file: FileData | undefined): Promise<void> {
    const { session, env } = this.#context
    const { ino } = node
    // Posted: it is sent however late the master is back, since it keeps the file as long as the session.
    const close = (unsent: boolean) => session.post({ $case: 'closeOrphan', value: { ino, unsent } }, 'done')
    const dirty = file !== undefined && file.dirtyBytes > 0
    // From here on nobody may open it: what he wrote would be nobody's, since the master keeps it for us no longer.
    node.orphaned = false
    try {
      await close(dirty)
    } catch (thrown) {
      if (!(thrown instanceof FsError) || thrown.code !== 'EBUSY') throw thrown
      await file?.flush().catch((lost: unknown) => {
        env.log.error('What was written to a removed file that is open elsewhere is lost', {
          ino,
          why: messageOf(lost),
        })
      })
      await close(false)
    }
    // The master has released it with that: claimed again, it would stand in the way of who has it now.
    node.lease = 'none'
  }

  /** The kernel has forgotten it: a removed inode is of no more use. */
  forgotten(ino: Ino): void {
    const { cache } = this.#context
    const node = cache.get(ino)
    if (node?.removed !== true || node.opens > 0) return
    node.forgotten = true
    if (!node.discarding && node.linking === undefined) cache.remove(node)
  }
}
