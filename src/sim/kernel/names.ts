import { type Attr, isDirectory } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { Dirent } from '../../core/attr.ts'
import type { Answer, Entry, FileSystem } from '../../fuse/filesystem.ts'
import type { Kernel } from './kernel.ts'
import type { KernelInode } from './kernel-inode.ts'

/** Where a path leads: its parent directory and last name. */
export interface Place {
  readonly parent: KernelInode
  readonly name: Name
}

export type RenameMode = 'replace' | 'noreplace' | 'exchange'

/**
 * System calls on names. Paths are absolute, of plain names. Those that end in `At` begin at a directory that
 * is open, as openat(2) does.
 */
export class Names {
  readonly #kernel: Kernel

  constructor(kernel: Kernel) {
    this.#kernel = kernel
  }

  /** The inode of a path; ENOENT, ENOTDIR. */
  async walk(path: string, pid: number): Promise<KernelInode> {
    let inode = this.#kernel.root
    for (const name of namesOf(path)) {
      const next = await this.#lookup(inode, name, pid)
      if (next === undefined) throw new FsError('ENOENT', `no ${name} in inode ${inode.ino}`)
      inode = next
    }
    return inode
  }

  async place(path: string, pid: number): Promise<Place> {
    const names = namesOf(path)
    const name = names.pop()
    if (name === undefined) throw new FsError('EBUSY', 'the root has no name')
    const parent = await this.walk(`/${names.join('/')}`, pid)
    if (!isDirectory(parent.attr.mode)) throw new FsError('ENOTDIR', path)
    return { parent, name }
  }

  /** O_PATH: what the name leads to, or undefined. It is kept until `letGo`. */
  async holdAt({ parent, name }: Place, pid: number): Promise<KernelInode | undefined> {
    const inode = await this.#lookup(parent, name, pid)
    if (inode !== undefined) inode.opens += 1
    return inode
  }

  letGo(inode: KernelInode): void {
    inode.opens -= 1
    this.#kernel.release(inode)
  }

  async stat(path: string, pid: number): Promise<Attr> {
    return this.#kernel.freshAttr(await this.walk(path, pid), pid)
  }

  /** Of a directory. */
  async fsync(path: string, pid: number): Promise<void> {
    const inode = await this.walk(path, pid)
    await this.#kernel.request(`fsyncdir ${path}`, async fs =>
      fs.fsyncdir(inode.ino, 0n, false, this.#kernel.caller(pid)),
    )
  }

  async mkdir(path: string, pid: number): Promise<void> {
    await this.mkdirAt(await this.place(path, pid), pid)
  }

  /** The inode's number, which programs are not told. */
  async mkdirAt({ parent, name }: Place, pid: number): Promise<Ino> {
    return this.#inParent(parent, `mkdir ${name}`, async () => {
      if ((await this.lookupLocked(parent, name, pid)) !== undefined) throw new FsError('EEXIST', name)
      const how = { mode: 0o040755, umask: 0o022, rdev: 0 }
      const made = await this.#made(parent, name, name, fs =>
        fs.mkdir(parent.ino, name, how, this.#kernel.caller(pid)),
      )
      return made.ino
    })
  }

  async symlink(path: string, target: Name, pid: number): Promise<void> {
    const { parent, name } = await this.place(path, pid)
    await this.#inParent(parent, `symlink ${path}`, async () => {
      if ((await this.lookupLocked(parent, name, pid)) !== undefined) throw new FsError('EEXIST', path)
      await this.#made(parent, name, path, fs =>
        fs.symlink(parent.ino, name, target, this.#kernel.caller(pid)),
      )
    })
  }

  async readlink(path: string, pid: number): Promise<Name> {
    const inode = await this.walk(path, pid)
    return this.#kernel.request(`readlink ${path}`, fs => fs.readlink(inode.ino, this.#kernel.caller(pid)))
  }

  async link(from: string, to: string, pid: number): Promise<void> {
    const source = await this.walk(from, pid)
    if (isDirectory(source.attr.mode)) throw new FsError('EPERM', from)
    source.opens += 1
    try {
      await this.linkAt(source, await this.place(to, pid), pid)
    } finally {
      this.letGo(source)
    }
  }

  async linkAt(source: KernelInode, { parent, name }: Place, pid: number): Promise<void> {
    await this.#inParent(parent, `link ${name}`, async () => {
      if ((await this.lookupLocked(parent, name, pid)) !== undefined) throw new FsError('EEXIST', name)
      await source.lock.run('exclusive', `link ${name}`, () =>
        this.#made(parent, name, name, fs => fs.link(source.ino, parent.ino, name, this.#kernel.caller(pid))),
      )
    })
  }

  async unlink(path: string, pid: number): Promise<void> {
    await this.removeAt(await this.place(path, pid), false, pid)
  }

  async rmdir(path: string, pid: number): Promise<void> {
    await this.removeAt(await this.place(path, pid), true, pid)
  }

  async rename(from: string, to: string, mode: RenameMode, pid: number): Promise<void> {
    const below = (path: string, of: string) => path !== of && `${path}/`.startsWith(`${of}/`)
    const trap = below(to, from)
      ? 'EINVAL'
      : below(from, to)
        ? mode === 'exchange'
          ? 'EINVAL'
          : 'ENOTEMPTY'
        : undefined
    await this.renameAt(await this.place(from, pid), await this.place(to, pid), mode, pid, trap)
  }

  /**
   * `trap`: one place lies below the other, as the kernel sees it; else the master does. Returns the inode that
   * both names were found to lead to, one after the other: then nobody is asked and nothing is done.
   */
  async renameAt(
    old: Place,
    target: Place,
    mode: RenameMode,
    pid: number,
    trap?: 'EINVAL' | 'ENOTEMPTY',
  ): Promise<KernelInode | undefined> {
    const who = `rename ${old.name} ${target.name}`
    const locks = [...new Set([old.parent, target.parent])].sort((a, b) => (a.ino < b.ino ? -1 : 1))
    const work = () => this.#renameLocked(old, target, mode, who, pid, trap)
    const [first, second] = locks
    if (first === undefined) return undefined
    if (second === undefined) return first.lock.run('exclusive', who, work)
    return this.#kernel.renames.run('exclusive', who, () =>
      first.lock.run('exclusive', who, () => second.lock.run('exclusive', who, work)),
    )
  }

  /** All names of a directory but . and .., as one pass of getdents gives them. */
  async readdir(path: string, pid: number): Promise<Dirent[]> {
    return this.readdirAt(await this.walk(path, pid), pid)
  }

  async readdirAt(inode: KernelInode, pid: number): Promise<Dirent[]> {
    const kernel = this.#kernel
    inode.opens += 1
    try {
      const opened = await kernel.request(`opendir ${inode.ino}`, fs =>
        fs.opendir(inode.ino, kernel.caller(pid)),
      )
      const found: Dirent[] = []
      const room = 1 + kernel.prng.below(8)
      const plus = kernel.prng.chance(0.5)
      for (let cookie = 0n; ; ) {
        const batch = await this.#readBatch(inode, opened.handle, cookie, room, plus, pid)
        const last = batch.at(-1)
        if (last === undefined) break
        cookie = last.cookie
        found.push(...batch)
      }
      await kernel.request(`releasedir ${inode.ino}`, fs => fs.releasedir(inode.ino, opened.handle))
      return found.filter(({ name }) => name !== '.' && name !== '..')
    } finally {
      inode.opens -= 1
      kernel.release(inode)
    }
  }

  /** With the parent's lock held. */
  async lookupLocked(parent: KernelInode, name: Name, pid: number): Promise<KernelInode | undefined> {
    const kernel = this.#kernel
    const dentry = kernel.dentry(parent, name)
    if (dentry !== undefined && kernel.isValid(dentry)) return dentry.inode
    return this.#ask(parent, name, pid)
  }

  async #readBatch(
    inode: KernelInode,
    handle: bigint,
    cookie: bigint,
    room: number,
    plus: boolean,
    pid: number,
  ): Promise<Dirent[]> {
    const kernel = this.#kernel
    return inode.lock.run('shared', `readdir ${inode.ino}`, async () => {
      const batch: Dirent[] = []
      const links: (() => void)[] = []
      const { version, epoch } = kernel
      await kernel.request(`readdir ${inode.ino}`, fs =>
        fs.readdir(
          inode.ino,
          handle,
          cookie,
          plus,
          (dirent, entry) => {
            if (batch.length >= room) return false
            batch.push(dirent)
            if (entry !== undefined && dirent.name !== '.' && dirent.name !== '..')
              links.push(() => {
                const child = kernel.instantiate(entry, version)
                kernel.setDentry(inode, dirent.name, child, entry.nameTtlMs, epoch)
              })
            return true
          },
          kernel.caller(pid),
        ),
      )
      for (const link of links) link()
      return batch
    })
  }

  async #lookup(parent: KernelInode, name: Name, pid: number): Promise<KernelInode | undefined> {
    const kernel = this.#kernel
    if (!isDirectory(parent.attr.mode)) throw new FsError('ENOTDIR', `inode ${parent.ino}`)
    const dentry = kernel.dentry(parent, name)
    if (dentry !== undefined && kernel.isValid(dentry)) return dentry.inode
    // A known name is asked about without the directory's lock; only if it changed, it is looked up anew.
    if (dentry?.inode !== undefined) {
      const { inode } = dentry
      const { version, epoch } = kernel
      // The name that is being asked about keeps its inode.
      inode.opens += 1
      let answer
      try {
        answer = await kernel.request(`revalidate ${name}`, fs =>
          fs.lookup(parent.ino, name, kernel.caller(pid)),
        )
      } finally {
        inode.opens -= 1
        kernel.release(inode)
      }
      if (answer.attr !== undefined && answer.attr.ino === inode.ino) {
        kernel.instantiate(answer, version)
        dentry.until = kernel.now + answer.nameTtlMs
        dentry.epoch = epoch
        return inode
      }
      if (answer.attr !== undefined) kernel.release(kernel.instantiate(answer, version))
      if (kernel.dentry(parent, name) === dentry) kernel.dropDentry(parent, name)
    }
    return parent.lock.run('shared', `lookup ${name} in ${parent.ino}`, () =>
      this.lookupLocked(parent, name, pid),
    )
  }

  async #ask(parent: KernelInode, name: Name, pid: number): Promise<KernelInode | undefined> {
    const kernel = this.#kernel
    const { version, epoch } = kernel
    const answer = await kernel.request(`lookup ${name} in ${parent.ino}`, fs =>
      fs.lookup(parent.ino, name, kernel.caller(pid)),
    )
    const inode = answer.attr === undefined ? undefined : kernel.instantiate(answer, version)
    kernel.setDentry(parent, name, inode, answer.nameTtlMs, epoch)
    return inode
  }

  async #made(
    parent: KernelInode,
    name: Name,
    path: string,
    make: (fs: FileSystem) => Answer<Entry>,
  ): Promise<KernelInode> {
    const kernel = this.#kernel
    const { version, epoch } = kernel
    const entry = await kernel.request(`make ${path}`, make)
    const inode = kernel.instantiate(entry, version)
    kernel.setDentry(parent, name, inode, entry.nameTtlMs, epoch)
    parent.attrUntil = 0
    return inode
  }

  async removeAt({ parent, name }: Place, directory: boolean, pid: number): Promise<void> {
    const kernel = this.#kernel
    const who = `${directory ? 'rmdir' : 'unlink'} ${name}`
    let victim: KernelInode | undefined
    await this.#inParent(parent, who, async () => {
      const inode = await this.lookupLocked(parent, name, pid)
      if (inode === undefined) throw new FsError('ENOENT', name)
      if (isDirectory(inode.attr.mode) !== directory)
        throw new FsError(directory ? 'ENOTDIR' : 'EISDIR', name)
      victim = inode
      await inode.lock.run('exclusive', who, async () => {
        try {
          await kernel.request(who, fs =>
            directory
              ? fs.rmdir(parent.ino, name, kernel.caller(pid))
              : fs.unlink(parent.ino, name, kernel.caller(pid)),
          )
        } catch (error) {
          // What the name leads to now is anybody's guess.
          kernel.dropDentry(parent, name)
          throw error
        }
        inode.version = kernel.nextVersion()
        inode.attrUntil = 0
        parent.attrUntil = 0
        kernel.dropDentry(parent, name)
      })
    })
    if (victim !== undefined) kernel.release(victim)
  }

  async #renameLocked(
    old: Place,
    target: Place,
    mode: RenameMode,
    who: string,
    pid: number,
    trap: 'EINVAL' | 'ENOTEMPTY' | undefined,
  ): Promise<KernelInode | undefined> {
    const kernel = this.#kernel
    const moved = await this.lookupLocked(old.parent, old.name, pid)
    if (moved === undefined) throw new FsError('ENOENT', who)
    const replaced = await this.lookupLocked(target.parent, target.name, pid)
    if (mode === 'noreplace' && replaced !== undefined) throw new FsError('EEXIST', who)
    if (mode === 'exchange' && replaced === undefined) throw new FsError('ENOENT', who)
    // One is above the other also where the places were found by other ways (lock_rename in fs/namei.c).
    if (moved === target.parent) throw new FsError('EINVAL', who)
    if (replaced === old.parent) throw new FsError(mode === 'exchange' ? 'EINVAL' : 'ENOTEMPTY', who)
    if (trap !== undefined) throw new FsError(trap, who)
    // So does vfs_rename in fs/namei.c, whether they are two links or another mount moved it in between.
    if (moved === replaced) return moved
    if (replaced !== undefined && mode === 'replace') {
      const [a, b] = [isDirectory(moved.attr.mode), isDirectory(replaced.attr.mode)]
      if (a !== b) throw new FsError(a ? 'ENOTDIR' : 'EISDIR', who)
    }
    const ask = () =>
      kernel.request(who, fs =>
        fs.rename(old.parent.ino, old.name, target.parent.ino, target.name, mode, kernel.caller(pid)),
      )
    try {
      // Of files the kernel locks the one that is replaced, and both in an exchange.
      if (replaced === undefined || replaced === moved) await ask()
      else await replaced.lock.run('exclusive', who, ask)
    } catch (error) {
      kernel.dropDentry(old.parent, old.name)
      kernel.dropDentry(target.parent, target.name)
      throw error
    }
    const held = [moved, replaced].filter(inode => inode !== undefined)
    for (const inode of held) inode.opens += 1
    const dentries = [kernel.dentry(old.parent, old.name), kernel.dentry(target.parent, target.name)] as const
    const { epoch } = kernel
    for (const inode of [moved, replaced, old.parent, target.parent])
      if (inode !== undefined) {
        inode.version = kernel.nextVersion()
        inode.attrUntil = 0
      }
    // The dentry moves with what was known of its validity.
    const left = (until: number | undefined) => Math.max(0, (until ?? 0) - kernel.now)
    kernel.setDentry(target.parent, target.name, moved, left(dentries[0]?.until), dentries[0]?.epoch ?? epoch)
    if (mode === 'exchange')
      kernel.setDentry(old.parent, old.name, replaced, left(dentries[1]?.until), dentries[1]?.epoch ?? epoch)
    else kernel.dropDentry(old.parent, old.name)
    for (const inode of held) {
      inode.opens -= 1
      kernel.release(inode)
    }
    return undefined
  }

  #inParent<T>(parent: KernelInode, who: string, work: () => Promise<T>): Promise<T> {
    return parent.lock.run('exclusive', who, work)
  }
}

export const namesOf = (path: string): Name[] => path.split('/').filter(part => part !== '') as Name[]
