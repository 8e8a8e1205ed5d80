/**
 * A machine's disk: what is on stable storage, and what only its memory knows. A power cut keeps, of
 * what was not synced, whatever chance says: each name old or new, of each file's tail any prefix, and of
 * a harsh disk each sector of it for itself: written, zeros, or what lay there before. The death of a
 * process alone loses nothing. A disk may fill up, fail, turn read-only, and rot.
 */
import {
  type Disk,
  type DiskFile,
  type DiskSpace,
  type DiskWriter,
  type LentBytes,
  lentBytesMax,
  sectorBytes,
} from '../../chunkserver/disk/disk.ts'
import { assert, must } from '../../core/assert.ts'
import { FsError } from '../../core/errors.ts'
import type { HostEnv } from './host.ts'
import type { Prng } from './prng.ts'

interface Node {
  bytes: Buffer
  length: number
  /** Up to here the bytes survive a power cut. */
  synced: number
}

interface Folder {
  /** As the running system sees it. */
  names: Map<string, Node>
  /** As a power cut leaves it at least. */
  durable: Map<string, Node>
}

export type DiskImage = ReadonlyMap<string, Folder>

/** Outlives the processes that use it. */
export class DiskPlatter {
  readonly prng: Prng
  capacityBytes: number
  /** Chance that an operation takes long. */
  slow = 0.01
  /** Chance that a change fails with EIO, part of it done perhaps. */
  failing = 0
  /** Nothing can be changed. */
  readOnly = false
  /** A power cut takes each sector that was not synced for itself. */
  harsh: Prng | undefined
  /** Planted bugs: datasync answers at once and syncs nothing; so does the sync of a folder; nothing is unlinked. */
  lying = false
  lyingFolders = false
  hoarding = false
  readonly #folders = new Map<string, Folder>([['.', emptyFolder()]])

  constructor(prng: Prng, capacityBytes: number) {
    this.prng = prng
    this.capacityBytes = capacityBytes
  }

  folder(path: string): Folder {
    const folder = this.#folders.get(path)
    if (folder === undefined) throw new FsError('ENOENT', `no folder ${path}`)
    return folder
  }

  hasFolder(path: string): boolean {
    return this.#folders.has(path)
  }

  makeFolder(path: string): boolean {
    this.folder(parentOf(path))
    // Folders are made once, when a store is; that one can lose them is not worth modelling.
    if (this.#folders.has(path)) return false
    this.#folders.set(path, emptyFolder())
    return true
  }

  get usedBytes(): number {
    const nodes = new Set<Node>()
    for (const folder of this.#folders.values()) for (const node of folder.names.values()) nodes.add(node)
    let sum = 0
    for (const node of nodes) sum += node.length
    return sum
  }

  /** The machine loses power. */
  cutPower(): void {
    for (const folder of this.#folders.values()) {
      for (const name of new Set([...folder.names.keys(), ...folder.durable.keys()])) {
        const [now, then] = [folder.names.get(name), folder.durable.get(name)]
        const kept = now === then || this.prng.chance(0.5) ? now : then
        if (kept === undefined) folder.durable.delete(name)
        else folder.durable.set(name, kept)
      }
      folder.names = new Map(folder.durable)
    }
    const nodes = new Set([...this.#folders.values()].flatMap(folder => [...folder.names.values()]))
    for (const node of nodes) this.#tear(node)
  }

  /** What is on it, to be put back some day. */
  image(): DiskImage {
    const copies = new Map<Node, Node>()
    const copyOf = (node: Node): Node => {
      const copy = copies.get(node) ?? { ...node, bytes: Buffer.from(node.bytes) }
      copies.set(node, copy)
      return copy
    }
    const namesOf = (names: Map<string, Node>) =>
      new Map([...names].map(([name, node]) => [name, copyOf(node)]))
    return new Map(
      [...this.#folders].map(([path, { names, durable }]) => [
        path,
        { names: namesOf(names), durable: namesOf(durable) },
      ]),
    )
  }

  /** Its machine is down, and somebody puts an old copy of the disk in place. It is used up. */
  putBack(image: DiskImage): void {
    this.#folders.clear()
    for (const [path, folder] of image) this.#folders.set(path, folder)
  }

  /** A new disk is in its place. */
  wipe(): void {
    this.#folders.clear()
    this.#folders.set('.', emptyFolder())
  }

  /** Flips a bit of some file in the folders below `under`; tells which file, if there was one. */
  rot(under: string): string | undefined {
    const files = [...this.#folders]
      .filter(([path]) => path === under || path.startsWith(`${under}/`))
      .flatMap(([path, folder]) =>
        [...folder.names].map(([name, node]) => ({ path: `${path}/${name}`, node })),
      )
      .filter(({ node }) => node.length > 0)
    if (files.length === 0) return undefined
    const { path, node } = this.prng.pick(files)
    const at = this.prng.below(node.length)
    node.bytes[at] = must(node.bytes[at], 'byte') ^ (1 << this.prng.below(8))
    return path
  }

  /** Why a change fails now; undefined if it does not. */
  get refusal(): FsError | undefined {
    if (this.readOnly) return new FsError('EROFS', 'the disk is read-only')
    return this.failing > 0 && this.prng.chance(this.failing)
      ? new FsError('EIO', 'the disk failed')
      : undefined
  }

  /** All files of a folder, for checks. */
  names(path: string): string[] {
    return [...this.folder(path).names.keys()]
  }

  #tear(node: Node): void {
    if (node.synced === node.length) return
    if (this.harsh !== undefined) {
      this.#tearSectors(node, this.harsh)
      return
    }
    const kept = node.synced + this.prng.below(node.length - node.synced + 1)
    const whole = node.synced + this.prng.below(kept - node.synced + 1)
    // The length reached the disk, what it covers did not.
    node.bytes.fill(0, whole, kept)
    node.length = kept
    node.synced = kept
  }

  #tearSectors(node: Node, prng: Prng): void {
    const { synced, length, bytes } = node
    node.length = prng.chance(0.5) ? length : synced + prng.below(length - synced + 1)
    for (let at = synced; at < node.length; ) {
      const end = Math.min(node.length, (Math.floor(at / sectorBytes) + 1) * sectorBytes)
      const fate = prng.unit()
      if (fate < 0.25) bytes.fill(0, at, end)
      else if (fate < 0.4) bytes.set(prng.bytes(end - at), at)
      at = end
    }
    node.synced = node.length
  }
}

const emptyFolder = (): Folder => ({ names: new Map(), durable: new Map() })

/** The disk as one start of its machine uses it. */
export class SimDisk implements Disk {
  readonly #env: HostEnv
  readonly #platter: DiskPlatter

  constructor(env: HostEnv, platter: DiskPlatter) {
    this.#env = env
    this.#platter = platter
  }

  async create(path: string): Promise<DiskWriter> {
    const { folder, name } = this.#at(path)
    if (folder.names.has(name)) throw new FsError('EEXIST', `${path} exists`)
    this.#point('create')
    this.#mayWrite()
    if (this.#platter.usedBytes > this.#platter.capacityBytes) throw new FsError('ENOSPC', 'the disk is full')
    const node: Node = { bytes: Buffer.alloc(0), length: 0, synced: 0 }
    folder.names.set(name, node)
    await this.#work(0.01, 0.1)
    return new SimFile(this.#env, this.#platter, node)
  }

  createLog(path: string): Promise<DiskWriter> {
    return this.create(path)
  }

  async open(path: string): Promise<SimFile> {
    const { folder, name } = this.#at(path)
    await this.#work(0.01, 0.1)
    const node = folder.names.get(name)
    if (node === undefined) throw new FsError('ENOENT', `no file ${path}`)
    return new SimFile(this.#env, this.#platter, node)
  }

  async rename(from: string, to: string): Promise<void> {
    const old = this.#at(from)
    const node = old.folder.names.get(old.name)
    if (node === undefined) throw new FsError('ENOENT', `no file ${from}`)
    this.#point('rename')
    this.#mayWrite()
    const target = this.#at(to)
    old.folder.names.delete(old.name)
    target.folder.names.set(target.name, node)
    await this.#work(0.01, 0.1)
  }

  async unlink(path: string): Promise<void> {
    const { folder, name } = this.#at(path)
    if (!folder.names.has(name)) throw new FsError('ENOENT', `no file ${path}`)
    this.#point('unlink')
    this.#mayWrite()
    if (!this.#platter.hoarding) folder.names.delete(name)
    await this.#work(0.01, 0.1)
  }

  async list(path: string): Promise<string[]> {
    return [...this.#platter.folder(path).names.keys()]
  }

  async makeFolder(path: string): Promise<boolean> {
    return this.#platter.makeFolder(path)
  }

  async syncFolder(path: string): Promise<void> {
    const folder = this.#platter.folder(path)
    this.#point('syncFolder')
    const names = new Map(folder.names)
    await this.#work(0.1, 2)
    this.#mayWrite()
    if (!this.#platter.lying && !this.#platter.lyingFolders) folder.durable = names
  }

  async space(): Promise<DiskSpace> {
    const { capacityBytes, usedBytes } = this.#platter
    return { totalBytes: capacityBytes, freeBytes: Math.max(0, capacityBytes - usedBytes) }
  }

  #at(path: string): { folder: Folder; name: string } {
    return { folder: this.#platter.folder(parentOf(path)), name: path.slice(path.lastIndexOf('/') + 1) }
  }

  #mayWrite(): void {
    const { refusal } = this.#platter
    if (refusal !== undefined) throw refusal
  }

  #point(operation: string): void {
    this.#env.point(`disk ${operation}`)
  }

  #work(least: number, most: number): Promise<void> {
    return work(this.#env, this.#platter, least, most)
  }
}

export class SimFile implements DiskFile, DiskWriter {
  readonly #env: HostEnv
  readonly #platter: DiskPlatter
  readonly #node: Node

  constructor(env: HostEnv, platter: DiskPlatter, node: Node) {
    this.#env = env
    this.#platter = platter
    this.#node = node
  }

  async append(data: Uint8Array): Promise<void> {
    const { capacityBytes, usedBytes, refusal } = this.#platter
    if (refusal !== undefined) throw refusal
    if (usedBytes + data.length > capacityBytes) throw new FsError('ENOSPC', 'the disk is full')
    this.#env.point('disk append')
    await work(this.#env, this.#platter, 0.02, 0.3)
    // Taken only now: a buffer that was used again before this resolved shows as wrong bytes.
    const node = this.#node
    if (node.bytes.length < node.length + data.length) {
      const larger = Buffer.alloc(Math.max(2 * node.bytes.length, node.length + data.length))
      node.bytes.copy(larger, 0, 0, node.length)
      node.bytes = larger
    }
    node.bytes.set(data, node.length)
    node.length += data.length
  }

  async read(offset: number, length: number): Promise<LentBytes> {
    assert(offset % sectorBytes === 0 && length <= lentBytesMax, 'what is read begins at a sector')
    await work(this.#env, this.#platter, 0.02, 0.5)
    const { bytes, length: end } = this.#node
    const lent = Buffer.from(bytes.subarray(offset, Math.max(offset, Math.min(end, offset + length))))
    let held = true
    return {
      bytes: lent,
      // Somebody else's from now on: who still looks sees what is wrong.
      release: () => {
        assert(held, 'bytes are released twice')
        held = false
        lent.fill(0xa5)
      },
    }
  }

  /** As who waits for the disk reads it. */
  readNow(into: Uint8Array, offset: number): number {
    const { bytes, length } = this.#node
    return bytes.copy(into, 0, offset, Math.max(offset, Math.min(length, offset + into.length)))
  }

  async size(): Promise<number> {
    return this.#node.length
  }

  async datasync(): Promise<void> {
    if (this.#platter.lying) return
    this.#env.point('disk datasync')
    const { length } = this.#node
    await work(this.#env, this.#platter, 0.2, 4)
    const { refusal } = this.#platter
    if (refusal !== undefined) throw refusal
    this.#node.synced = Math.max(this.#node.synced, length)
  }

  async close(): Promise<void> {
    // Closing syncs nothing.
  }
}

function work(env: HostEnv, platter: DiskPlatter, least: number, most: number): Promise<void> {
  assert(env.alive, 'a machine that stopped does nothing')
  const time = platter.prng.between(least, most)
  return env.delay(platter.prng.chance(platter.slow) ? time * 50 : time)
}

const parentOf = (path: string): string => (path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.')
