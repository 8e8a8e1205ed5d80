import {
  type Attr,
  type AttrChange,
  isDirectory,
  S_IFMT,
  S_ISGID,
  S_ISUID,
  type TimeChange,
} from '../../core/attr.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { attrFromWire, setAttrToWire } from '../../wire/attr.ts'
import type { Inode } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'
import type { Promises } from './promises.ts'

/**
 * So much later than what the file shows is the time of a promise, at least: what was sent before it and is not
 * answered is then earlier at the master, too, and told from what comes after by its ctime (InodeCache).
 */
const laterNs = 1000n

/**
 * Mode, owner and times that programs were told of before the master set them (see Promises): under the write lease on
 * the inode, which is recalled before anybody else sees them.
 */
export class PromisedAttributes {
  readonly #context: FilesContext
  readonly #promises: Promises

  constructor(context: FilesContext, promises: Promises) {
    this.#context = context
    this.#promises = promises
  }

  /** The file as it is then, or undefined if the master must be asked. Only with nobody ahead in the inode's turns. */
  promise(node: Inode, change: AttrChange): Attr | undefined {
    const { session, cache, data } = this.#context
    if (!this.#promises.covers(node) || node.changing > 0 || !node.turns.idle) return undefined
    const { attr } = node
    const time = session.time()
    if (time <= attr.ctime + laterNs || !isPlain(change, attr)) return undefined
    if (change.mode !== undefined && !this.#promises.allows(change.mode)) return undefined
    const post = session.post({ $case: 'setAttr', value: setAttrToWire(node.ino, change, time) }, 'attr')
    if (change.mtime !== undefined) data.known(node.ino)?.mtimeSet()
    if (change.atime !== undefined) node.atime = undefined
    if (change.mode !== undefined || isChown(change)) cache.dropAcls(node)
    node.setting = { ...node.setting, ...valuesOf(change, attr, time) }
    node.settings += 1
    node.promised += 1
    cache.notePromised(node, { ...attr, ...node.setting, ctime: time })
    const told = node.attr
    this.#promises.add(
      post.then(
        reply => {
          ended(node)
          // What was told since is later.
          if (node.attr === told) cache.noteMade(attrFromWire(reply.attr))
        },
        (thrown: unknown) => {
          ended(node)
          throw this.#lost(node, FsError.from(thrown))
        },
      ),
    )
    return told
  }

  /** What programs were told is not so. */
  #lost(node: Inode, why: FsError): FsError {
    const { cache, env, kernel } = this.#context
    env.log.error('A change of attributes is lost', { ino: node.ino, why: messageOf(why) })
    const error = this.#promises.lost(`inode ${node.ino} did not get its attributes`, why)
    node.lost ??= error
    cache.drop(node)
    void kernel?.inode(node.ino, false)
    return error
  }
}

function ended(node: Inode): void {
  node.promised -= 1
  node.settings -= 1
  if (node.settings === 0) node.setting = undefined
}

/** Whether it is sure what the master makes of it, and that it can. */
function isPlain(change: AttrChange, { mode }: Attr): boolean {
  const { size, ctime, killSuidgid, atime, mtime } = change
  if (size !== undefined || ctime !== undefined) return false
  if (change.mode === undefined && (atime ?? mtime) === undefined && !isChown(change)) return false
  if ((mode & (S_ISUID | S_ISGID)) === 0) return true
  // A new owner takes setuid and setgid, whether the kernel says so or not, but of a directory.
  return killSuidgid !== true && (!isChown(change) || isDirectory(mode))
}

const isChown = ({ uid, gid }: AttrChange): boolean => uid !== undefined || gid !== undefined

/** What it sets. */
function valuesOf({ mode, uid, gid, atime, mtime }: AttrChange, attr: Attr, now: bigint): Partial<Attr> {
  const at = (time: TimeChange): bigint => (time === 'now' ? now : time)
  return {
    ...(mode === undefined ? undefined : { mode: (attr.mode & S_IFMT) | (mode & 0o7777) }),
    ...(uid === undefined ? undefined : { uid }),
    ...(gid === undefined ? undefined : { gid }),
    ...(atime === undefined ? undefined : { atime: at(atime) }),
    ...(mtime === undefined ? undefined : { mtime: at(mtime) }),
  }
}
