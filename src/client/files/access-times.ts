import type { Attr } from '../../core/attr.ts'
import { messageOf } from '../../core/errors.ts'
import { nsPerSecond, second } from '../../core/units.ts'
import { attrFromWire, timeToWire } from '../../wire/attr.ts'
import type { Inode } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'

const day = 24n * 3600n * nsPerSecond

/** As the kernel's relatime: only if it would otherwise look unread, or daily. */
function isDue(attr: Attr, now: bigint): boolean {
  return attr.atime <= attr.mtime || attr.atime <= attr.ctime || now - attr.atime >= day
}

/**
 * How long the master is not told: whoever reads many new files often removes them, or does more with them, soon. Others
 * who ask hear of them at once (a recall).
 */
const untoldMs = 60 * second
/** More are told of before. */
const untoldMax = 4096
/** Told of at once: they share the master with everything else. */
const toldAtOnce = 256

/**
 * Access times: shown at once, told to the master some time later, many in one message. A crash of the mount loses
 * those of the last minute, as one of a machine does with lazytime on a disk.
 */
export class AccessTimes {
  readonly #context: FilesContext
  readonly #pending = new Set<Inode>()
  #armed = false

  constructor(context: FilesContext) {
    this.#context = context
  }

  /** Whether reading it now would change its access time. `attr` as programs see it. */
  due(attr: Attr): boolean {
    const { options, session } = this.#context
    if (options.readOnly || options.atime === 'noatime') return false
    return options.atime === 'strictatime' || isDue(attr, session.time())
  }

  /** It was read. */
  touch(node: Inode, attr: Attr): void {
    if (!this.due(attr)) return
    node.atime = this.#context.session.time()
    this.#pending.add(node)
    if (this.#pending.size > untoldMax) void this.#tellSome()
    if (this.#armed) return
    this.#armed = true
    this.#context.env.timers.after(this.#context.options.atimeDelayMs ?? untoldMs, () => {
      this.#armed = false
      void this.flush()
    })
  }

  get pending(): boolean {
    return this.#pending.size > 0
  }

  /** Tells the master of all. Never rejects: an access time is no promise. */
  async flush(): Promise<void> {
    while (this.pending) await this.#tellSome()
  }

  async #tellSome(): Promise<void> {
    const some: Promise<void>[] = []
    for (const node of this.#pending) {
      some.push(this.flushOne(node))
      if (some.length === toldAtOnce) break
    }
    await Promise.all(some)
  }

  async flushOne(node: Inode): Promise<void> {
    this.#pending.delete(node)
    const { atime } = node
    if (atime === undefined || node.removed) return
    const { session, cache, env } = this.#context
    try {
      // A commit of nothing else: reading changes no other time.
      const nothing = {
        extents: [],
        blocks: [],
        mtime: undefined,
        killSuidgid: false,
        append: false,
        pages: false,
      }
      const value = { ino: node.ino, ...nothing, atime: timeToWire(atime), time: session.time() }
      const reply = await session.call({ $case: 'commit', value }, 'commit')
      cache.noteCommand(attrFromWire(reply.attr))
    } catch (thrown) {
      env.log.debug('An access time was not stored', { ino: node.ino, why: messageOf(thrown) })
    }
    if (node.atime === atime) node.atime = undefined
  }

  forget(): void {
    for (const node of this.#pending) node.atime = undefined
    this.#pending.clear()
  }
}
