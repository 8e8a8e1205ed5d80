import { type Attr, S_IFREG, S_ISGID } from '../../core/attr.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { second } from '../../core/units.ts'
import { type Name, nameToBytes } from '../../core/name.ts'
import { attrFromWire, attrFromWireIfPresent } from '../../wire/attr.ts'
import { toIno, u32 } from '../../wire/validate.ts'
import type { Inode } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'
import type { NewFile } from './new-file.ts'

/** More files that the master has not made yet: the next one waits. */
const pendingMax = 1024
/** Inode numbers asked for at once, and how many are left when more are asked for. */
const inosPerCall = 1000
const inosLeft = 400
/** After the master had no room for a file: nothing is promised for so long. */
const noRoomMs = 30 * second

const noBytes = new Uint8Array(0)

/**
 * Regular files that programs were told of before the master made them.
 *
 *   promised (attributes by our own rules, a reserved inode number, Create on its way) ──► made
 *                                                                                     └──► lost: ENOSPC, EIO
 *
 * Only under a write lease on the directory, where nobody else can see or take the name, and Create cannot
 * fail by what others do. All calls of a session are executed in their order, so what comes after it (a
 * commit, a rename, the answer to a recall) finds the file made. As with written data, who wants to know
 * that it is stored asks with fsync; without, a crash of this mount may take the last ones, as a crash takes
 * the last files of a local file system.
 */
export class Creations {
  readonly #context: FilesContext
  readonly #pending = new Set<Promise<void>>()
  /** Reserved numbers, for the session of that incarnation. */
  #inos: { next: Ino; readonly end: bigint }[] = []
  #incarnation = -1
  #asking = false
  /** Before that, on the clock, nothing is promised. */
  #promisesFrom = 0

  constructor(context: FilesContext) {
    this.#context = context
  }

  /** The new file, or undefined if that must be asked. */
  promise(parent: Ino, name: Name, how: NewFile): Attr | undefined {
    const { cache, session, env } = this.#context
    if (env.clock.now() < this.#promisesFrom) return undefined
    const directory = cache.get(parent)
    if (directory?.attr === undefined || !this.#rules(directory)) return undefined
    if (cache.name(parent, name) !== null || this.#pending.size >= pendingMax) return undefined
    const ino = this.#takeIno()
    if (ino === undefined) return undefined
    const time = session.time()
    const attr = firstAttr(ino, how, directory.attr, time)
    const post = session.post(
      {
        $case: 'create',
        value: {
          parent,
          name: nameToBytes(name),
          target: noBytes,
          exclusive: true,
          tmpfile: false,
          writeLease: true,
          time,
          ...how,
          ino,
        },
      },
      'entry',
    )
    cache.granted(ino, 'write')
    const node = cache.make(ino)
    node.attr = attr
    cache.changeName(parent, name, ino)
    cache.noteNoCapability(ino)
    const { ctime } = directory.attr
    const changed = time >= ctime ? time : ctime + 1n
    directory.attr = { ...directory.attr, mtime: changed, ctime: changed }
    directory.promised += 1
    const made = post.then(
      reply => {
        directory.promised -= 1
        node.creation = undefined
        // Whatever was done to it since is answered later.
        if (node.attr === attr) cache.noteMade(attrFromWire(reply.attr))
        cache.noteMade(attrFromWireIfPresent(reply.parent, 'parent'))
      },
      (thrown: unknown) => {
        directory.promised -= 1
        throw this.#lost(directory, node, name, FsError.from(thrown))
      },
    )
    node.creation = made
    this.#pending.add(made)
    // Who asks for it hears of a failure; it is logged in any case.
    made.catch(() => undefined).finally(() => this.#pending.delete(made))
    return attr
  }

  /** Who makes one thing may make more. */
  prepare(): void {
    this.#refill()
  }

  /** Everything promised so far is made. Rejects with the first that is lost. */
  async settled(): Promise<void> {
    this.#context.session.hurry()
    const results = await Promise.allSettled([...this.#pending])
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  #rules(directory: Inode): boolean {
    const { lease, plain, recalling, removed } = directory
    return lease === 'write' && plain && !recalling && !removed && this.#context.cache.trusted(directory)
  }

  /** What programs were told is not so. */
  #lost(directory: Inode, node: Inode, name: Name, why: FsError): FsError {
    const { cache, env, kernel } = this.#context
    env.log.error('A new file is lost', {
      ino: node.ino,
      directory: directory.ino,
      name,
      why: messageOf(why),
    })
    const full = why.code === 'ENOSPC'
    if (full) this.#promisesFrom = env.clock.now() + noRoomMs
    const message = `inode ${node.ino} was not made: ${why.message}`
    const error = new FsError(full ? 'ENOSPC' : 'EIO', message, { cause: why })
    node.lost ??= error
    directory.lost ??= error
    node.lease = 'none'
    cache.drop(node)
    cache.forgetName(directory.ino, name)
    void kernel?.names()
    void kernel?.inode(node.ino, true)
    return error
  }

  #takeIno(): Ino | undefined {
    this.#refill()
    const [range] = this.#inos
    if (range === undefined) return undefined
    const ino = range.next
    range.next = (ino + 1n) as Ino
    if (range.next === range.end) this.#inos.shift()
    return ino
  }

  #refill(): void {
    const { incarnation } = this.#context.session
    if (incarnation !== this.#incarnation) this.#inos = []
    this.#incarnation = incarnation
    const left = this.#inos.reduce((sum, { next, end }) => sum + Number(end - next), 0)
    if (left < inosLeft) void this.#askForInos(incarnation)
  }

  async #askForInos(incarnation: number): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    const { session, env } = this.#context
    try {
      const value = { count: inosPerCall }
      const reply = await session.call({ $case: 'reserveInos', value }, 'reserveInos')
      const next = toIno(reply.first, 'reserve_inos.first')
      const count = u32(reply.count, 'reserve_inos.count', inosPerCall, 1)
      if (session.incarnation === incarnation) this.#inos.push({ next, end: next + BigInt(count) })
    } catch (thrown) {
      env.log.debug('No inode numbers were reserved', { why: messageOf(thrown) })
    } finally {
      this.#asking = false
    }
  }
}

/** What the master will give it (src/master/namespace/create.ts), where the directory has no default ACL. */
function firstAttr(ino: Ino, how: NewFile, directory: Attr, time: bigint): Attr {
  return {
    ino,
    mode: S_IFREG | (how.mode & 0o7777 & ~(how.umask & 0o777)),
    nlink: 1,
    uid: how.uid,
    gid: (directory.mode & S_ISGID) === 0 ? how.gid : directory.gid,
    rdev: 0,
    size: 0,
    allocated: 0,
    atime: time,
    mtime: time,
    ctime: time,
    btime: time,
  }
}
