import { type Attr, isDirectory } from '../../core/attr.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { type Name, nameToBytes } from '../../core/name.ts'
import { attrFromWire, attrFromWireIfPresent } from '../../wire/attr.ts'
import { RenameMode } from '../../wire/gen/cairn/v1/session.ts'
import type { Inode } from '../cache/inode.ts'
import type { FilesContext } from './context.ts'
import { changeTime, type Promises } from './promises.ts'
import type { Removals } from './removals.ts'

type Known = Inode & { attr: Attr }

/**
 * Files that lose or change their names before the master is told (see Promises). Only such as no other mount can
 * have anything of: else it would have to be asked whether it has the file open, and would see it as it was.
 */
export class PromisedNames {
  readonly #context: FilesContext
  readonly #promises: Promises
  readonly #removals: Removals

  constructor(context: FilesContext, promises: Promises, removals: Removals) {
    this.#context = context
    this.#promises = promises
    this.#removals = removals
  }

  /** Removes a file. False if the master must be asked. */
  remove(parent: Ino, name: Name): boolean {
    const { cache, session } = this.#context
    const directory = cache.get(parent)
    if (!this.#promises.covers(directory)) return false
    const node = this.#fileAt(directory, name)
    if (node === undefined) return false
    const time = session.time()
    const { ino } = node
    const open = node.opens > 0
    const value = { parent, name: nameToBytes(name), directory: false, expected: ino, open, time }
    const post = session.post({ $case: 'unlink', value }, 'remove')
    cache.changeName(parent, name, null)
    this.#promises.touch(directory, time)
    this.#loseName(node, time)
    this.#keep(
      [directory],
      post.then(reply => cache.noteMade(attrFromWireIfPresent(reply.parent, 'parent'))),
      why => {
        this.#isBack(node)
        this.#unknown(directory, name, why)
      },
    )
    return true
  }

  /**
   * Removes a directory that is certainly empty, and of which nobody else can have anything. False if the master must be
   * asked.
   */
  removeDirectory(parent: Ino, name: Name): boolean {
    const { cache, session } = this.#context
    const directory = cache.get(parent)
    if (!this.#promises.covers(directory)) return false
    const ino = cache.name(parent, name)
    const node = ino === undefined || ino === null ? undefined : cache.get(ino)
    if (!this.#promises.covers(node) || !isDirectory(node.attr.mode) || node.removal !== undefined)
      return false
    if (!node.complete || (node.names?.size ?? 0) > 0 || !node.soleDirectoryIn(directory)) return false
    const time = session.time()
    const value = {
      parent,
      name: nameToBytes(name),
      directory: true,
      expected: node.ino,
      open: false,
      time,
    }
    const post = session.post({ $case: 'unlink', value }, 'remove')
    cache.changeName(parent, name, null)
    this.#promises.touch(directory, time)
    directory.attr = { ...directory.attr, nlink: directory.attr.nlink - 1 }
    // Who has it open sees it empty: no master keeps a removed directory.
    this.#removals.note({ ...node.attr, nlink: 0, ctime: changeTime(node.attr, time) }, false)
    directory.linksToCome -= 1
    this.#keep(
      [directory],
      // In one turn, before what was answered together with it is noted: that has counted it already.
      post.then(
        reply => {
          directory.linksToCome += 1
          cache.noteMade(attrFromWireIfPresent(reply.parent, 'parent'))
        },
        (thrown: unknown) => {
          directory.linksToCome += 1
          throw thrown
        },
      ),
      why => {
        this.#isBack(node)
        this.#unknown(directory, name, why)
      },
    )
    return true
  }

  /** Gives a file another name, whose file loses it. False if the master must be asked. */
  rename(parent: Ino, name: Name, newParent: Ino, newName: Name): boolean {
    const { cache, session, data } = this.#context
    const [from, to] = [cache.get(parent), cache.get(newParent)]
    if (!this.#promises.hasRoom) return false
    if (!this.#promises.covers(from) || !this.#promises.covers(to)) return false
    const node = this.#fileAt(from, name)
    // What was written to it is stored first, so that a name never leads to less.
    if (node === undefined || (data.known(node.ino)?.dirtyBytes ?? 0) > 0) return false
    const taken = cache.name(newParent, newName)
    const target = taken === null ? undefined : this.#fileAt(to, newName)
    if (target === node || (taken !== null && target === undefined)) return false
    const time = session.time()
    const value = {
      parent,
      name: nameToBytes(name),
      newParent,
      newName: nameToBytes(newName),
      mode: RenameMode.RENAME_MODE_REPLACE,
      expected: node.ino,
      expectedTarget: target?.ino ?? 0n,
      targetOpen: (target?.opens ?? 0) > 0,
      time,
      uid: 0,
      gid: 0,
    }
    const post = session.post({ $case: 'rename', value }, 'rename')
    node.within = to.tenure
    cache.changeName(parent, name, null)
    cache.changeName(newParent, newName, node.ino)
    for (const directory of new Set([from, to])) this.#promises.touch(directory, time)
    cache.notePromised(node, { ...node.attr, ctime: changeTime(node.attr, time) })
    if (target !== undefined) this.#loseName(target, time)
    this.#keep(
      [from, to, node],
      post.then(reply => {
        if (!node.removed) cache.noteMade(attrFromWire(reply.attr))
        cache.noteMade(attrFromWireIfPresent(reply.parent, 'parent'))
        cache.noteMade(attrFromWireIfPresent(reply.newParent, 'new_parent'))
      }),
      why => {
        if (target !== undefined) this.#isBack(target)
        this.#unknown(from, name, why)
        this.#unknown(to, newName, why)
      },
    )
    return true
  }

  /** The file that the name certainly leads to, if nobody else can have anything of it. */
  #fileAt(directory: Inode, name: Name): Known | undefined {
    const { cache } = this.#context
    const ino = cache.name(directory.ino, name)
    const node = ino === undefined || ino === null ? undefined : cache.get(ino)
    if (node?.attr === undefined || isDirectory(node.attr.mode)) return undefined
    if (node.removed || node.orphaned || node.removal !== undefined) return undefined
    if (!cache.trusted(node) || node.recalling || !node.soleIn(directory)) return undefined
    return node as Known
  }

  #loseName(node: Known, time: bigint): void {
    const ctime = changeTime(node.attr, time)
    this.#removals.note({ ...node.attr, nlink: 0, ctime }, node.opens > 0)
  }

  #keep(nodes: readonly Inode[], made: Promise<void>, undo: (why: FsError) => void): void {
    for (const node of nodes) node.promised += 1
    const kept = made.finally(() => {
      for (const node of nodes) node.promised -= 1
    })
    this.#promises.add(
      kept.catch((thrown: unknown) => {
        const why = this.#promises.lost('a change of names was not made', FsError.from(thrown))
        undo(why)
        throw why
      }),
    )
  }

  /** The master has it still. What was written to it and not stored is gone. */
  #isBack(node: Inode): void {
    const { cache, kernel } = this.#context
    node.removed = false
    node.orphaned = false
    node.lease = 'none'
    cache.drop(node)
    void kernel?.inode(node.ino, true)
  }

  /** What programs were told of the name is not so. */
  #unknown(directory: Inode, name: Name, why: FsError): void {
    const { cache, env, kernel } = this.#context
    env.log.error('A change of names is lost', { directory: directory.ino, name, why: messageOf(why) })
    this.#promises.unmade(directory.ino, why)
    cache.forgetName(directory.ino, name)
    void kernel?.names()
  }
}
