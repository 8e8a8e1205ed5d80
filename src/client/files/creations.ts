import {
  type Attr,
  isDirectory,
  isRegular,
  isSymlink,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  S_ISGID,
} from '../../core/attr.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { type Name, nameToBytes } from '../../core/name.ts'
import { attrFromWire, attrFromWireIfPresent } from '../../wire/attr.ts'
import type { EntryReply } from '../../wire/gen/cairn/v1/session.ts'
import { toIno, u32 } from '../../wire/validate.ts'
import type { Inode } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'
import { newDirent } from './dirents.ts'
import type { NewFile } from './new-file.ts'
import type { Promises } from './promises.ts'

/** Inode numbers asked for at once, and how many are left when more are asked for. */
const inosPerCall = 1000
const inosLeft = 400

const noBytes = new Uint8Array(0)

/**
 * Inodes that programs were told of before the master made them (see Promises): attributes by our own rules, a
 * reserved inode number, Create on its way.
 */
export class Creations {
  readonly #context: FilesContext
  readonly #promises: Promises
  /** Reserved numbers, for the session of that incarnation. */
  #inos: { next: Ino; readonly end: bigint }[] = []
  #incarnation = -1
  #asking = false

  constructor(context: FilesContext, promises: Promises) {
    this.#context = context
    this.#promises = promises
  }

  /** The new inode, or undefined if that must be asked. `target`: of a symlink. */
  promise(parent: Ino, name: Name, how: NewFile, target?: Name): Attr | undefined {
    const { cache, session } = this.#context
    const directory = cache.get(parent)
    if (!this.#promises.hasRoom || !this.#promises.covers(directory) || !directory.plain) return undefined
    // A default ACL may be on its way.
    if (directory.changing > 0 || !this.#promises.allows(how.mode)) return undefined
    if (cache.name(parent, name) !== null) return undefined
    const ino = this.#takeIno()
    if (ino === undefined) return undefined
    const time = session.time()
    const attr = firstAttr(ino, how, directory.attr, time, target)
    const isDir = isDirectory(attr.mode)
    const post = session.post(
      {
        $case: 'create',
        value: {
          parent,
          name: nameToBytes(name),
          target: target === undefined ? noBytes : nameToBytes(target),
          exclusive: true,
          tmpfile: false,
          writeLease: isRegular(attr.mode),
          time,
          ...how,
          ino,
        },
      },
      'entry',
    )
    const node = cache.make(ino)
    node.lease = 'write'
    node.within = directory.tenure
    node.attr = attr
    node.target = target
    // A directory inherits the default ACL, of which there is none.
    if (isDir) cache.noteEmpty(ino, parent)
    node.plain = isDir
    cache.promiseName(directory, name, ino)
    cache.noteNoCapability(ino)
    this.#promises.touch(directory, time)
    const links = isDir ? 1 : 0
    directory.attr = { ...directory.attr, nlink: directory.attr.nlink + links }
    directory.promised += 1
    directory.linksToCome += links
    const answered = (reply: EntryReply | undefined): void => {
      directory.promised -= 1
      directory.linksToCome -= links
      cache.listPromised(directory, reply && newDirent(name, attr, reply.cookie))
    }
    const made = post.then(
      reply => {
        // In one turn, before what was answered together with it is noted: that has counted it already.
        answered(reply)
        node.creation = undefined
        // Whatever was done to it since is answered later.
        if (node.attr === attr) cache.noteMade(attrFromWire(reply.attr))
        cache.noteMade(attrFromWireIfPresent(reply.parent, 'parent'))
      },
      (thrown: unknown) => {
        answered(undefined)
        throw this.#lost(directory, node, name, FsError.from(thrown))
      },
    )
    node.creation = made
    this.#promises.add(made)
    return attr
  }

  /** Who makes one thing may make more. */
  prepare(): void {
    this.#refill()
  }

  /** What programs were told is not so. */
  #lost(directory: Inode, node: Inode, name: Name, why: FsError): FsError {
    const { cache, env, kernel } = this.#context
    env.log.error('A new name is lost', {
      ino: node.ino,
      directory: directory.ino,
      name,
      why: messageOf(why),
    })
    const error = this.#promises.lost(`inode ${node.ino} was not made`, why)
    node.lost ??= error
    this.#promises.unmade(directory.ino, error)
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
function firstAttr(
  ino: Ino,
  { mode, umask, rdev, uid, gid }: NewFile,
  directory: Attr,
  time: bigint,
  target: Name | undefined,
): Attr {
  const type = mode & S_IFMT
  const isDir = type === S_IFDIR
  const inherits = (directory.mode & S_ISGID) !== 0
  const bits = isSymlink(mode) ? mode & 0o7777 : mode & 0o7777 & ~(umask & 0o777)
  return {
    ino,
    mode: type | bits | (inherits && isDir ? S_ISGID : 0),
    nlink: isDir ? 2 : 1,
    uid,
    gid: inherits ? directory.gid : gid,
    rdev: type === S_IFCHR || type === S_IFBLK ? rdev : 0,
    size: isDir ? 4096 : (target?.length ?? 0),
    allocated: 0,
    atime: time,
    mtime: time,
    ctime: time,
    btime: time,
  }
}
