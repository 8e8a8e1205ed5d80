import { type Attr, isDirectory, S_IFLNK } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { nameBytesMax, symlinkBytesMax } from '../../core/limits.ts'
import { type Name, nameToBytes } from '../../core/name.ts'
import { attrFromWire, attrFromWireIfPresent } from '../../wire/attr.ts'
import type { Create } from '../../wire/gen/cairn/v1/session.ts'
import { RenameMode as WireRenameMode } from '../../wire/gen/cairn/v1/session.ts'
import { toSymlinkTarget } from '../../wire/validate.ts'
import type { Inode } from '../cache/inode.ts'
import type { AccessTimes } from './access-times.ts'
import type { Attributes } from './attributes.ts'
import { chain, type FilesContext, mustBeWritable } from './context.ts'
import type { Creations } from './creations.ts'
import { newDirent } from './dirents.ts'
import type { Listings } from './listings.ts'
import { noteLoss, throwUnheardLoss } from './losses.ts'
import type { NewFile } from './new-file.ts'
import type { PromisedNames } from './promised-names.ts'
import type { Removals } from './removals.ts'
import { whileChanging } from './while-changing.ts'

export type RenameMode = 'replace' | 'noreplace' | 'exchange' | 'whiteout' | 'noreplace-whiteout'

const renameModes = {
  replace: WireRenameMode.RENAME_MODE_REPLACE,
  noreplace: WireRenameMode.RENAME_MODE_NOREPLACE,
  exchange: WireRenameMode.RENAME_MODE_EXCHANGE,
  whiteout: WireRenameMode.RENAME_MODE_WHITEOUT,
  // That there is nothing to replace is seen to here.
  'noreplace-whiteout': WireRenameMode.RENAME_MODE_WHITEOUT,
} as const

const noBytes = new Uint8Array(0)
/** Times that a name may turn out to lead elsewhere before the operation gives up. */
const attemptsMax = 10

/** Names in directories: looking up, making, linking, renaming, removing. */
export class Names {
  readonly #context: FilesContext
  readonly #attributes: Attributes
  readonly #atimes: AccessTimes
  readonly #removals: Removals
  readonly #listings: Listings
  readonly #creations: Creations
  readonly #promised: PromisedNames

  constructor(
    context: FilesContext,
    attributes: Attributes,
    atimes: AccessTimes,
    removals: Removals,
    listings: Listings,
    creations: Creations,
    promised: PromisedNames,
  ) {
    this.#context = context
    this.#listings = listings
    this.#creations = creations
    this.#promised = promised
    this.#attributes = attributes
    this.#atimes = atimes
    this.#removals = removals
  }

  /** What the name leads to, or undefined if there is no such name. */
  lookup(parent: Ino, name: Name): Attr | undefined | Promise<Attr | undefined> {
    checkName(name)
    const { cache } = this.#context
    const ino = cache.name(parent, name)
    if (ino === null) return undefined
    if (ino === undefined) return this.#ask(parent, name)
    const attr = cache.attr(ino)
    if (attr === undefined) return this.#askWithNeighbours(parent, name, ino)
    this.#listings.noteUse(parent)
    return this.#attributes.shown(attr)
  }

  /** The inode of this number, if it can still be reached. */
  self(ino: Ino): Attr | Promise<Attr> {
    const node = this.#context.cache.get(ino)
    if (node?.gone === true) throw new FsError('ESTALE', `inode ${ino} is gone`)
    return this.#attributes.get(ino)
  }

  readlink(ino: Ino): Name | Promise<Name> {
    const { cache } = this.#context
    const node = cache.make(ino)
    const target = cache.trusted(node) || node.gone ? node.target : undefined
    return chain(target ?? this.#askTarget(node), found => {
      if (node.attr !== undefined) this.#atimes.touch(node, this.#attributes.shown(node.attr))
      return found
    })
  }

  /** Makes anything but a symlink. EEXIST if the name is taken. */
  make(parent: Ino, name: Name, how: NewFile): Promise<Attr> {
    return this.create(parent, name, how, { exclusive: true, writeLease: false })
  }

  symlink(parent: Ino, name: Name, target: Name, who: { uid: number; gid: number }): Promise<Attr> {
    if (target.length > symlinkBytesMax) throw new FsError('ENAMETOOLONG', `${target.length} bytes`)
    const how = { mode: S_IFLNK | 0o777, umask: 0, rdev: 0, ...who }
    return this.create(parent, name, how, { exclusive: true, writeLease: false, target })
  }

  async create(
    parent: Ino,
    name: Name,
    how: NewFile,
    more: { readonly exclusive: boolean; readonly writeLease: boolean; readonly target?: Name },
  ): Promise<Attr> {
    mustBeWritable(this.#context.options)
    checkName(name)
    const promised = this.#creations.promise(parent, name, how, more.target)
    if (promised !== undefined) return promised
    return whileChanging(this.#context, [parent], async () => {
      const { attr, cookie } = await this.#create({
        parent,
        name: nameToBytes(name),
        target: more.target === undefined ? noBytes : nameToBytes(more.target),
        exclusive: more.exclusive,
        tmpfile: false,
        writeLease: more.writeLease,
        ino: 0n,
        ...how,
      })
      const { cache } = this.#context
      cache.addName(parent, newDirent(name, attr, cookie))
      // The kernel is about to ask for it.
      if (more.exclusive || looksNew(attr)) cache.noteNoCapability(attr.ino)
      return this.#attributes.shown(attr)
    })
  }

  /** A file without a name, which lives until its last handle is closed, or gets one by link. */
  async tmpfile(parent: Ino, how: NewFile): Promise<Attr> {
    mustBeWritable(this.#context.options)
    const { attr } = await this.#create({
      parent,
      name: noBytes,
      target: noBytes,
      // Whether it may be linked is the kernel's to know (O_EXCL).
      exclusive: false,
      tmpfile: true,
      writeLease: true,
      ino: 0n,
      ...how,
    })
    return attr
  }

  async link(ino: Ino, parent: Ino, name: Name): Promise<Attr> {
    mustBeWritable(this.#context.options)
    checkName(name)
    return this.#removals.whileLinking(ino, () => this.#link(ino, parent, name))
  }

  async #link(ino: Ino, parent: Ino, name: Name): Promise<Attr> {
    const { session, cache } = this.#context
    await this.#settle(ino)
    const value = { ino, parent, name: nameToBytes(name), time: session.time() }
    return whileChanging(this.#context, [ino, parent], async () => {
      const reply = await session.call({ $case: 'link', value }, 'entry')
      const attr = attrFromWire(reply.attr)
      const node = cache.get(ino)
      if (node !== undefined) {
        node.removed = false
        node.orphaned = false
        // The answer tells the kernel of it.
        node.forgotten = false
      }
      cache.noteCommand(attr)
      cache.noteCommand(attrFromWireIfPresent(reply.parent, 'parent'))
      cache.addName(parent, newDirent(name, attr, reply.cookie))
      return this.#attributes.shown(attr)
    })
  }

  async remove(parent: Ino, name: Name, directory: boolean): Promise<void> {
    mustBeWritable(this.#context.options)
    checkName(name)
    this.#listings.removing()
    if (directory ? this.#promised.removeDirectory(parent, name) : this.#promised.remove(parent, name)) return
    await this.#untilItHolds(parent, name, async () => {
      const ino = await this.#resolve(parent, name)
      if (ino === undefined) throw new FsError('ENOENT', 'No such name')
      const changed = [parent, ino]
      await this.#removals.during(ino, open =>
        whileChanging(this.#context, changed, () => this.#remove(parent, name, directory, ino, open)),
      )
    })
  }

  /** `who` a whiteout belongs to. */
  async rename(
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    mode: RenameMode,
    who: { readonly uid: number; readonly gid: number },
  ): Promise<void> {
    mustBeWritable(this.#context.options)
    checkName(name)
    checkName(newName)
    await this.#untilItHolds(newParent, newName, async () => {
      const source = await this.#resolve(parent, name)
      if (source !== undefined) await this.#settle(source)
      const target = await this.#resolve(newParent, newName)
      const simple = mode === 'replace' || (mode === 'noreplace' && target === undefined)
      if (simple && this.#promised.rename(parent, name, newParent, newName)) return
      if (mode === 'noreplace-whiteout' && target !== undefined) throw new FsError('EEXIST')
      // An exchange gives both a new name.
      if (mode === 'exchange' && target !== undefined) await this.#settle(target)
      const changed = [parent, newParent, source, target]
      const send = (open: boolean) =>
        whileChanging(this.#context, changed, () =>
          this.#rename(parent, name, newParent, newName, mode, who, source, target, open),
        )
      if (target === undefined || mode === 'exchange') await send(false)
      else await this.#removals.during(target, send)
    })
  }

  async #rename(
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    mode: RenameMode,
    { uid, gid }: { readonly uid: number; readonly gid: number },
    source: Ino | undefined,
    target: Ino | undefined,
    targetOpen: boolean,
  ): Promise<void> {
    const { session, cache } = this.#context
    const value = {
      parent,
      name: nameToBytes(name),
      newParent,
      newName: nameToBytes(newName),
      mode: renameModes[mode],
      // Another mount may give the name to another file meanwhile: that one is meant.
      expected: 0n,
      expectedTarget: target ?? 0n,
      targetOpen,
      time: session.time(),
      uid,
      gid,
    }
    const reply = await session.call({ $case: 'rename', value }, 'rename')
    const attr = attrFromWire(reply.attr)
    cache.noteCommand(attr)
    cache.noteCommand(attrFromWireIfPresent(reply.parent, 'parent'))
    cache.noteCommand(attrFromWireIfPresent(reply.newParent, 'new_parent'))
    // Its `..` may be another now.
    cache.dropListing(attr.ino)
    const replaced = attrFromWireIfPresent(reply.target, 'target')
    // Both names of one file: rename does nothing at all.
    if (source === target) return
    const whiteout = attrFromWireIfPresent(reply.whiteout, 'whiteout')
    if (whiteout !== undefined) cache.noteCommand(whiteout)
    const left = mode === 'exchange' ? replaced : whiteout
    cache.changeName(parent, name, left?.ino ?? null)
    cache.changeName(newParent, newName, attr.ino)
    if (replaced === undefined) return
    if (mode === 'exchange') cache.noteCommand(replaced)
    else this.#removals.note(replaced, reply.orphaned)
  }

  async #remove(parent: Ino, name: Name, directory: boolean, ino: Ino, open: boolean): Promise<void> {
    const { session, cache } = this.#context
    const value = {
      parent,
      name: nameToBytes(name),
      directory,
      expected: ino,
      open: open && !directory,
      time: session.time(),
    }
    const reply = await session.call({ $case: 'unlink', value }, 'remove')
    cache.noteCommand(attrFromWireIfPresent(reply.parent, 'parent'))
    cache.changeName(parent, name, null)
    this.#removals.note(attrFromWire(reply.attr), reply.orphaned)
  }

  /** Repeats what was refused because the name leads elsewhere by now (ESTALE). */
  async #untilItHolds(parent: Ino, name: Name, attempt: () => Promise<void>): Promise<void> {
    for (let attempts = 1; ; attempts++) {
      try {
        await attempt()
        return
      } catch (thrown) {
        if (!(thrown instanceof FsError) || thrown.code !== 'ESTALE' || attempts === attemptsMax) throw thrown
        this.#context.cache.forgetName(parent, name)
      }
    }
  }

  async #resolve(parent: Ino, name: Name): Promise<Ino | undefined> {
    const known = this.#context.cache.name(parent, name)
    if (known !== undefined) return known ?? undefined
    return (await this.#ask(parent, name))?.ino
  }

  /**
   * What was written to it is stored: so a name never leads to less than was written before it was given.
   * If it was lost meanwhile and nobody has heard of it, this operation says so.
   */
  async #settle(ino: Ino): Promise<void> {
    const { cache, data } = this.#context
    const file = data.known(ino)
    if (file !== undefined && file.dirtyBytes > 0)
      await file.flush().catch((thrown: unknown) => {
        noteLoss(cache.make(ino), FsError.from(thrown))
      })
    throwUnheardLoss(this.#context, ino)
  }

  /** The inode, and the place of its name in the directory. */
  async #create(how: Omit<Create, 'time'>): Promise<{ readonly attr: Attr; readonly cookie: bigint }> {
    const { session, cache } = this.#context
    const reply = await session.call({ $case: 'create', value: { ...how, time: session.time() } }, 'entry')
    const attr = attrFromWire(reply.attr)
    cache.noteCommand(attr)
    cache.noteCommand(attrFromWireIfPresent(reply.parent, 'parent'))
    cache.notePlain(how.parent as Ino, reply.plainParent)
    if (isDirectory(attr.mode)) {
      cache.noteEmpty(attr.ino, how.parent as Ino)
      // It inherits the default ACL.
      cache.notePlain(attr.ino, reply.plainParent)
    }
    this.#creations.prepare()
    return { attr, cookie: reply.cookie }
  }

  async #ask(parent: Ino, name: Name): Promise<Attr | undefined> {
    const { session, cache } = this.#context
    const { mark } = cache
    const value = { parent, name: nameToBytes(name) }
    const reply = await session.call({ $case: 'lookup', value }, 'entry')
    const directory = attrFromWireIfPresent(reply.parent, 'parent')
    if (directory !== undefined) cache.noteQuery(directory, mark)
    const attr = attrFromWireIfPresent(reply.attr)
    cache.noteName(parent, name, attr?.ino ?? null, mark)
    if (attr === undefined) {
      if (cache.missed(parent)) void this.#listings.fill(parent)
      return undefined
    }
    cache.noteQuery(attr, mark)
    return this.#attributes.shown(cache.attr(attr.ino) ?? attr)
  }

  /** The name is known from a listing: whoever looks at one entry after the other gets them many at a time. */
  async #askWithNeighbours(parent: Ino, name: Name, ino: Ino): Promise<Attr | undefined> {
    const { cache } = this.#context
    await this.#listings.attributesAhead(parent)
    const attr = cache.name(parent, name) === ino ? cache.attr(ino) : undefined
    return attr === undefined ? this.#ask(parent, name) : this.#attributes.shown(attr)
  }

  async #askTarget(node: Inode): Promise<Name> {
    const { session, cache } = this.#context
    const { mark } = cache
    const reply = await session.call({ $case: 'readLink', value: { ino: node.ino } }, 'readLink')
    const target = toSymlinkTarget(reply.target)
    if (node.lease !== 'none' && node.changed <= mark) node.target = target
    return target
  }
}

/** Nothing was done to it since it was made. */
export const looksNew = (attr: Attr): boolean => attr.size === 0 && attr.btime === attr.ctime

/** The kernel passes names that are too long for us, and never empty ones, `.` or `..`. */
export function checkName(name: Name): void {
  if (name.length > nameBytesMax) throw new FsError('ENAMETOOLONG', `A name of ${name.length} bytes`)
}
