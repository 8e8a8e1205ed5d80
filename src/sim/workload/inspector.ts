import { isDirectory, S_IFDIR, S_IFLNK } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Mounted } from '../cluster/mount-machine.ts'
import type { FileModel } from '../model/file-model.ts'
import { type DirNode, linksOfDirectory, type Tree } from '../model/tree.ts'
import { agrees, type Found, type Memory, outline, outlineFound, possibleTrees } from './memory.ts'

/** Compares what a mount shows with what is known. Each finding is a line; system calls that fail throw. */
export class Inspector {
  readonly #mount: Mounted
  readonly #pid: number

  constructor(mount: Mounted, pid: number) {
    this.#mount = mount
    this.#pid = pid
  }

  /**
   * Finds out whether what was not answered has happened, and settles the memory accordingly. A line if the
   * names are neither those before nor those after it.
   */
  async settleNames(memory: Memory): Promise<string | undefined> {
    memory.changes += 1
    if (!memory.made) {
      memory.made = await this.#exists(memory.directory)
      memory.unanswered = undefined
      return undefined
    }
    const found = await this.walk(memory.directory)
    const trees = [...possibleTrees(memory, this.#mount.session.identity.session)]
    memory.unanswered = undefined
    memory.promised = []
    const tree = trees.find(possible => agrees(possible, found))
    if (tree === undefined)
      return `${memory.directory} has ${outlineFound(found)}; expected ${trees.map(outline).join('; or ')}`
    memory.tree = tree
    return undefined
  }

  /** Reads every file; what it finds is what they contain from now on. And counts the links of directories. */
  async readAll(memory: Memory): Promise<string | undefined> {
    const seen = new Map<FileModel, string>()
    for (const { path, node } of [{ path: '', node: memory.tree.root }, ...memory.tree.paths()]) {
      if (node.kind === 'dir') {
        const wrong = await this.#checkLinks(`${memory.directory}${path}`, node)
        if (wrong !== undefined) return wrong
      }
      if (node.kind !== 'file' || seen.has(node.file)) continue
      seen.set(node.file, path)
      const wrong = await this.#checkFile(memory.tree, `${memory.directory}${path}`, node.file)
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

  async #checkLinks(path: string, node: DirNode): Promise<string | undefined> {
    const { nlink } = await this.#mount.names.stat(path, this.#pid)
    const expected = linksOfDirectory(node)
    return nlink === expected ? undefined : `${path}: ${nlink} links, expected ${expected}`
  }

  async #checkFile(tree: Tree, path: string, file: FileModel): Promise<string | undefined> {
    const { names } = this.#mount
    const attr = await names.stat(path, this.#pid)
    const wrong = file.judgeSize(attr.size)
    if (wrong !== undefined) return `${path} (inode ${attr.ino}): ${wrong}`
    if (attr.nlink !== tree.linksOf(file))
      return `${path}: ${attr.nlink} links, expected ${tree.linksOf(file)}`
    const content = await this.read(path, attr.size + 100)
    if (content.length !== attr.size)
      return `${path}: ${content.length} bytes read, but its size is ${attr.size}`
    const bad = file.judge(0, content.length, content)
    if (bad !== undefined) return `${path} (inode ${attr.ino}): ${bad}`
    file.found(content)
    return undefined
  }

  async read(path: string, length: number): Promise<Buffer> {
    const { io } = this.#mount
    const opened = await io.open(path, { read: true }, this.#pid)
    try {
      return await io.read(opened, 0, length)
    } finally {
      await io.close(opened)
    }
  }

  async #exists(path: string): Promise<boolean> {
    try {
      return isDirectory((await this.#mount.names.stat(path, this.#pid)).mode)
    } catch (error) {
      if (error instanceof FsError && error.code === 'ENOENT') return false
      throw error
    }
  }

  /** Everything below a directory. */
  async walk(directory: string, below = ''): Promise<Found[]> {
    const found: Found[] = []
    for (const { name, ino, type } of await this.#mount.names.readdir(`${directory}${below}`, this.#pid)) {
      const path = `${below}/${name}`
      const kind = type === S_IFDIR ? 'dir' : type === S_IFLNK ? 'symlink' : 'file'
      found.push({ path, kind, ino })
      if (kind === 'dir') found.push(...(await this.walk(directory, path)))
    }
    return found
  }
}
