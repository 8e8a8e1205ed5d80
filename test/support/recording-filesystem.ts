import { type AttrChange, isDirectory } from '#src/core/attr.ts'
import { type Ino, rootIno } from '#src/core/ids.ts'
import type { Name } from '#src/core/name.ts'
import type {
  Answer,
  AttrAnswer,
  Caller,
  Entry,
  FallocateMode,
  Handle,
  NewInode,
  OpenFlags,
  RenameMode,
  WriteFlags,
} from '#src/fuse/filesystem.ts'
import type { DiskEvent } from './disk-events.ts'
import { MemoryFileSystem } from './memory-filesystem.ts'

/** Keeps what is done to it, in order: what a disk would get to see, and when it was asked to make sure of it. */
export class RecordingFileSystem extends MemoryFileSystem {
  readonly events: DiskEvent[] = []

  #note(event: DiskEvent): void {
    this.events.push(event)
  }

  #made(parent: Ino, name: Name, entry: Entry, folder: boolean): Entry {
    this.#note({ op: 'name', folder: parent, name, ino: entry.attr.ino, isFolder: folder })
    return entry
  }

  override mknod(parent: Ino, name: Name, how: NewInode, caller: Caller): Entry {
    return this.#made(parent, name, super.mknod(parent, name, how, caller), isDirectory(how.mode))
  }

  override link(number: Ino, parent: Ino, name: Name): Entry {
    return this.#made(parent, name, super.link(number, parent, name), false)
  }

  override unlink(parent: Ino, name: Name): void {
    super.unlink(parent, name)
    this.#note({ op: 'noName', folder: parent, name })
  }

  override rmdir(parent: Ino, name: Name): void {
    super.rmdir(parent, name)
    this.#note({ op: 'noName', folder: parent, name })
  }

  override rename(from: Ino, name: Name, to: Ino, newName: Name, mode: RenameMode): void {
    const node = this.nodes.get(from)?.children.get(name)?.node
    super.rename(from, name, to, newName, mode)
    if (node === undefined) return
    this.#note({ op: 'name', folder: to, name: newName, ino: node.ino, isFolder: isDirectory(node.mode) })
    this.#note({ op: 'noName', folder: from, name })
  }

  override create(
    parent: Ino,
    name: Name,
    how: NewInode,
    flags: OpenFlags,
    exclusive: boolean,
    caller: Caller,
  ) {
    const known = this.nodes.get(parent)?.children.has(name) === true
    const made = super.create(parent, name, how, flags, exclusive, caller)
    if (!known) this.#made(parent, name, made.entry, false)
    return made
  }

  override open(number: Ino, flags: OpenFlags) {
    if (flags.truncate) this.#note({ op: 'size', ino: number, size: 0 })
    return super.open(number, flags)
  }

  override setattr(number: Ino, change: AttrChange): Answer<AttrAnswer> {
    const answer = super.setattr(number, change)
    if (change.size !== undefined) this.#note({ op: 'size', ino: number, size: change.size })
    return answer
  }

  override write(
    number: Ino,
    handle: Handle,
    offset: number,
    data: Uint8Array,
    flags: WriteFlags,
  ): Answer<number> {
    const at = flags.append ? (this.nodes.get(number)?.size ?? 0) : offset
    this.#note({ op: 'write', ino: number, at, data: Uint8Array.from(data) })
    return super.write(number, handle, offset, data, flags)
  }

  override fallocate(number: Ino, handle: Handle, offset: number, length: number, mode: FallocateMode): void {
    if (mode.punchHole || mode.zeroRange) throw new Error('what is recorded punches no holes')
    super.fallocate(number, handle, offset, length, mode)
    if (!mode.keepSize) this.#note({ op: 'size', ino: number, size: this.nodes.get(number)?.size ?? 0 })
  }

  override copyFileRange(): never {
    throw new Error('what is recorded copies no ranges')
  }

  override fsync(number?: Ino): void {
    super.fsync()
    this.#note({ op: 'sync', ino: number ?? rootIno })
  }

  override fsyncdir(number?: Ino): void {
    super.fsyncdir()
    this.#note({ op: 'syncFolder', ino: number ?? rootIno })
  }
}
