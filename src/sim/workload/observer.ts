import { FsError } from '../../core/errors.ts'
import type { Mounted } from '../cluster/mount-machine.ts'
import { type FileModel, judgeAmong, judgeSizeAmong } from '../model/file-model.ts'
import type { Prng } from '../world/prng.ts'
import { Inspector } from './inspector.ts'
import { agrees, type Memory, outline, outlineFound } from './memory.ts'

/** What another program works on. */
export interface Neighbour {
  readonly memory: Memory
  /** Its mount may have lost what it had not stored, or does not know yet that it did. */
  readonly uncertain: boolean
}

/**
 * Looks into the directories of other programs, on this mount or another: it must see what was
 * answered before it looked, or what came while it looked, and nothing else.
 */
export class Observer {
  readonly #mount: Mounted
  readonly #inspector: Inspector
  readonly #prng: Prng
  readonly #pid: number

  constructor(mount: Mounted, prng: Prng, pid: number) {
    this.#mount = mount
    this.#inspector = new Inspector(mount, pid)
    this.#prng = prng
    this.#pid = pid
  }

  /** A line if something is wrong. System calls that fail throw. */
  async look(neighbour: Neighbour): Promise<string | undefined> {
    const { memory } = neighbour
    const files = [...memory.tree.paths()].filter(({ node }) => node.kind === 'file')
    if (files.length === 0 || this.#prng.chance(0.3)) return this.#lookAtNames(neighbour)
    const { path, node } = this.#prng.pick(files)
    return node.kind === 'file' ? this.#lookAtFile(neighbour, path, node.file) : undefined
  }

  async #lookAtNames({ memory, uncertain }: Neighbour): Promise<string | undefined> {
    if (!memory.made || memory.unanswered?.names !== undefined) return undefined
    if (uncertain && memory.promised.length > 0) return undefined
    const { changes } = memory
    const found = await this.#inspector.walk(memory.directory).catch((error: unknown) => {
      if (error instanceof FsError && memory.changes !== changes) return undefined
      throw error
    })
    if (found === undefined || memory.changes !== changes || agrees(memory.tree, found)) return undefined
    return `${memory.directory} has ${outlineFound(found)}; expected ${outline(memory.tree)}`
  }

  async #lookAtFile(
    { memory, uncertain }: Neighbour,
    path: string,
    file: FileModel,
  ): Promise<string | undefined> {
    if (memory.unanswered?.names !== undefined) return undefined
    if (uncertain && memory.promised.length > 0) return undefined
    const { changes } = memory
    const watch = file.watch(uncertain)
    const underWay = memory.unanswered?.data
    if (underWay?.file === file) watch.contents.push(...watch.contents.map(underWay.change))
    try {
      const at = `${memory.directory}${path}`
      const attr = await this.#mount.names.stat(at, this.#pid)
      if (memory.changes !== changes) return undefined
      if (file.ino !== undefined && attr.ino !== file.ino)
        return `${at} is inode ${attr.ino}, expected ${file.ino}`
      const size = judgeSizeAmong(watch.contents, attr.size)
      if (size !== undefined) return `${at}: ${size}`
      const length = 500_000
      const content = await this.#inspector.read(at, length)
      const wrong = judgeAmong(watch.contents, 0, length, content)
      return wrong === undefined || memory.changes !== changes
        ? undefined
        : `${at} (inode ${attr.ino}): ${wrong}`
    } catch (error) {
      // It may be gone by now.
      if (error instanceof FsError && memory.changes !== changes) return undefined
      throw error
    } finally {
      file.unwatch(watch)
    }
  }
}
