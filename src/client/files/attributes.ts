import { type Attr, type AttrChange, S_IFMT, type StatFs } from '../../core/attr.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { fileBytesMax } from '../../core/limits.ts'
import { second } from '../../core/units.ts'
import { attrFromWire, leaseToWire, setAttrToWire } from '../../wire/attr.ts'
import type { AttrReply, SetAttr } from '../../wire/gen/cairn/v1/session.ts'
import { u64 } from '../../wire/validate.ts'
import type { Inode } from '../cache/inode.ts'
import { atLeast } from '../cache/inode-cache.ts'
import type { AttrPort } from '../ports.ts'
import { chain, type FilesContext, mustBeOurs, mustBeWritable } from './context.ts'
import type { PromisedAttributes } from './promised-attributes.ts'
import { noteLoss } from './losses.ts'
import { whileChanging } from './while-changing.ts'

/** How often a writer who shares a file asks whether it still does. */
const regainPauseMs = 1 * second

/**
 * What stat shows: the attributes committed at the master, with what was written here and not yet
 * stored counted in, and access times that the master will be told of.
 */
export class Attributes implements AttrPort {
  readonly #context: FilesContext
  readonly #promised: PromisedAttributes

  constructor(context: FilesContext, promised: PromisedAttributes) {
    this.#context = context
    this.#promised = promised
  }

  get(ino: Ino): Attr | Promise<Attr> {
    return chain(this.committed(ino), attr => this.shown(this.latest(attr)))
  }

  /** Never older than what any program was told. */
  committed(ino: Ino): Attr | Promise<Attr> {
    const { cache } = this.#context
    mustBeOurs(cache.get(ino))
    return cache.attr(ino) ?? this.#ask(ino)
  }

  /** As committed, however late the master is back: fails with the session only, or as the inode is gone. */
  async inTheEnd(ino: Ino): Promise<Attr> {
    try {
      return await this.committed(ino)
    } catch (thrown) {
      if (FsError.from(thrown).code !== 'ETIMEDOUT') throw thrown
      return await this.#told(ino, this.#context.session.post({ $case: 'getAttr', value: { ino } }, 'attr'))
    }
  }

  latest(resolved: Attr): Attr {
    return this.#context.cache.attr(resolved.ino) ?? resolved
  }

  creation(ino: Ino): Promise<void> | undefined {
    const { cache, session } = this.#context
    const creation = cache.get(ino)?.creation
    if (creation === undefined) return undefined
    session.hurry()
    return session.patiently(creation)
  }

  isAlone(ino: Ino): boolean {
    const node = this.#context.cache.get(ino)
    return node !== undefined && (node.lease === 'write' || node.gone)
  }

  noteCommitted(attr: Attr, early: boolean): void {
    const { cache, session } = this.#context
    cache.noteCommand(attr)
    const node = early ? cache.get(attr.ino) : undefined
    if (node === undefined) return
    const settling = session.call({ $case: 'settle', value: { ino: attr.ino } }, 'done').then(
      () => undefined,
      () => undefined,
    )
    node.settling = settling
    void settling.then(() => {
      if (node.settling === settling) node.settling = undefined
    })
  }

  keepsPages(ino: Ino): boolean {
    return (this.#context.cache.get(ino)?.cachedWriters ?? 0) > 0
  }

  shown(attr: Attr): Attr {
    const { cache, data } = this.#context
    const shown = data.known(attr.ino)?.overlay(attr) ?? attr
    const atime = cache.get(attr.ino)?.atime
    return atime === undefined ? shown : { ...shown, atime }
  }

  /**
   * Gets the lease that an open file needs, if it is not held. The master gives what it can: none while
   * others share the file for writing.
   */
  acquire(node: Inode, lease: 'read' | 'write'): void | Promise<void> {
    const { cache } = this.#context
    if (cache.trusted(node) && atLeast(node.lease, lease)) return undefined
    return this.#acquire(node, lease)
  }

  /**
   * Asks again for the write lease of a file that is open for writing and was looked at by others. No write waits
   * for it. While others have the file open for writing it is not to be had: asked for seldom.
   */
  regain(node: Inode): void {
    const { env, cache } = this.#context
    if (node.lease === 'write' && cache.trusted(node)) return
    if (node.regaining || node.recalling || node.writers === 0 || env.clock.now() < node.regainFrom) return
    node.regaining = true
    const asked = this.#acquire(node, 'write').catch((thrown: unknown) => {
      env.log.debug('The write lease was not had again', { ino: node.ino, why: messageOf(thrown) })
    })
    void asked.then(() => {
      node.regaining = false
      if (node.lease !== 'write') node.regainFrom = env.clock.now() + regainPauseMs
    })
  }

  set(ino: Ino, change: AttrChange): Attr | Promise<Attr> {
    mustBeWritable(this.#context.options)
    if (change.size !== undefined && change.size > fileBytesMax)
      throw new FsError('EFBIG', `inode ${ino}: size ${change.size}, at most ${fileBytesMax} is possible`)
    const node = this.#context.cache.make(ino)
    mustBeOurs(node)
    if (node.gone) return this.#setRemoved(node, change)
    const promised = this.#promised.promise(node, change)
    if (promised !== undefined) return this.shown(promised)
    if (change.size === undefined) return node.turns.run(() => this.#set(node, change))
    node.truncating += 1
    return Promise.resolve(node.turns.run(() => this.#set(node, change))).finally(() => {
      node.truncating -= 1
    })
  }

  async statfs(): Promise<StatFs> {
    const reply = await this.#context.session.call({ $case: 'statFs', value: {} }, 'statFs')
    return {
      totalBytes: u64(reply.totalBytes, 'statfs.total_bytes'),
      availableBytes: u64(reply.availableBytes, 'statfs.available_bytes'),
      files: u64(reply.files, 'statfs.files'),
      filesFree: u64(reply.filesFree, 'statfs.files_free'),
    }
  }

  /** A write by somebody who may not keep them: setuid and setgid go first, as the kernel does it. */
  async killSuidgid(node: Inode): Promise<void> {
    const { session, cache } = this.#context
    const value: SetAttr = { ino: node.ino, ...noTimes, killSuidgid: true, time: session.time() }
    await whileChanging(this.#context, [node.ino], async () => {
      const reply = await session.call({ $case: 'setAttr', value }, 'attr')
      cache.dropAcls(node)
      cache.noteCommand(attrFromWire(reply.attr))
    })
  }

  /** Called in the inode's turn, like what changes the contents. */
  #set(node: Inode, change: AttrChange): Promise<Attr> {
    return whileChanging(this.#context, [node.ino], () => this.#send(node, change))
  }

  async #send(node: Inode, change: AttrChange): Promise<Attr> {
    if (change.size === undefined) return this.shown(this.latest(await this.#sendNow(node, change)))
    const file = this.#context.data.known(node.ino)
    let attr: Attr
    let cutBytes = 0
    try {
      cutBytes = (await file?.cutTo(change.size)) ?? 0
      attr = await this.#sendNow(node, change)
    } catch (thrown) {
      const error = FsError.from(thrown)
      // It may have happened, and what was cut off must not come back then.
      const unknown = error.code === 'EIO' || error.code === 'EPROTO'
      const restored = !unknown && file?.cutRefused() !== false
      if (cutBytes > 0 && !restored) noteLoss(node, error)
      throw error
    } finally {
      file?.cutEnded()
    }
    return this.shown(this.latest(attr))
  }

  async #sendNow(node: Inode, change: AttrChange): Promise<Attr> {
    const { session, cache, data } = this.#context
    const resized = change.size !== undefined
    if (resized || change.mtime !== undefined) data.known(node.ino)?.mtimeSet()
    const value = setAttrToWire(node.ino, change, session.time())
    const reply = await session.call({ $case: 'setAttr', value }, 'attr')
    // A mode changes the ACL; everything but times takes file capabilities.
    if (change.atime === undefined && change.mtime === undefined) cache.dropAcls(node)
    if (change.atime !== undefined) node.atime = undefined
    const attr = attrFromWire(reply.attr)
    cache.noteCommand(attr)
    if (resized) data.known(node.ino)?.forgetExtents()
    return attr
  }

  /** A removed directory or file that a program still refers to: only this mount knows it. */
  #setRemoved(node: Inode, change: AttrChange): Attr {
    const { attr } = node
    // Its session died, and the file with it.
    if (attr === undefined) throw new FsError('EIO', `inode ${node.ino} is gone`)
    const now = this.#context.session.time()
    const at = (time: AttrChange['atime'], before: bigint) => (time === 'now' ? now : (time ?? before))
    node.attr = {
      ...attr,
      mode: change.mode === undefined ? attr.mode : (attr.mode & S_IFMT) | change.mode,
      uid: change.uid ?? attr.uid,
      gid: change.gid ?? attr.gid,
      atime: at(change.atime, attr.atime),
      mtime: at(change.mtime, attr.mtime),
      ctime: now,
    }
    return node.attr
  }

  async #ask(ino: Ino): Promise<Attr> {
    return this.#told(ino, this.#context.session.call({ $case: 'getAttr', value: { ino } }, 'attr'))
  }

  async #told(ino: Ino, asked: Promise<AttrReply>): Promise<Attr> {
    const { cache } = this.#context
    const { mark } = cache
    const attr = attrFromWire((await asked).attr)
    cache.noteQuery(attr, mark)
    return cache.attr(ino) ?? attr
  }

  async #acquire(node: Inode, lease: 'read' | 'write'): Promise<void> {
    const { session, cache } = this.#context
    const { mark } = cache
    const value = { ino: node.ino, kind: leaseToWire(lease), open: node.opens > 0 }
    const reply = await session.call({ $case: 'acquire', value }, 'acquire')
    cache.noteQuery(attrFromWire(reply.attr), mark)
  }
}

const noTimes = { atime: undefined, mtime: undefined, ctime: undefined } as const
