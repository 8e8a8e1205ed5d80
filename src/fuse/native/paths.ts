import { type Attr, isDirectory } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import { type Ino, rootIno } from '../../core/ids.ts'
import { type Name, nameFromText, nameToBytes, nameToText } from '../../core/name.ts'
import type { Caller, FileSystem } from '../filesystem.ts'

/** What a path leads to. The attributes are those of its last step; the root's are asked for. */
export interface Found {
  readonly ino: Ino
  readonly attr: Attr | undefined
}

/** Where a name is, or is to be. */
export interface Place {
  readonly parent: Ino
  readonly name: Name
}

/**
 * Leads from libfuse's paths to inodes, by a lookup for each step: the file system answers those of its cache.
 * Every lookup is taken back when the call that made it has ended.
 */
export class Paths {
  readonly #fs: FileSystem
  readonly #caller: Caller

  constructor(fs: FileSystem, caller: Caller) {
    this.#fs = fs
    this.#caller = caller
  }

  /** Runs `work` on what the path leads to. ENOENT, ENOTDIR. */
  async at<T>(path: string, work: (found: Found) => T | Promise<T>): Promise<T> {
    const held: Ino[] = []
    try {
      return await work(await this.#walk(stepsOf(path), held))
    } finally {
      for (const ino of held) this.#fs.forget(ino, 1)
    }
  }

  /** Runs `work` on the place that a path names. */
  async placed<T>(path: string, work: (place: Place) => T | Promise<T>): Promise<T> {
    const steps = stepsOf(path)
    const name = steps.pop()
    if (name === undefined) throw new FsError('EINVAL', 'the root has no name')
    const held: Ino[] = []
    try {
      const { ino } = await this.#walk(steps, held)
      return await work({ parent: ino, name })
    } finally {
      for (const ino of held) this.#fs.forget(ino, 1)
    }
  }

  async #walk(steps: readonly Name[], held: Ino[]): Promise<Found> {
    let found: Found = { ino: this.#fs.root ?? rootIno, attr: undefined }
    for (const name of steps) {
      if (found.attr !== undefined && !isDirectory(found.attr.mode)) throw new FsError('ENOTDIR', name)
      const { attr } = await this.#fs.lookup(found.ino, name, this.#caller)
      if (attr === undefined) throw new FsError('ENOENT', nameToText(name))
      held.push(attr.ino)
      found = { ino: attr.ino, attr }
    }
    return found
  }
}

function stepsOf(path: string): Name[] {
  return path.split('/').flatMap(step => (step === '' ? [] : [nameFromNative(step)]))
}

/**
 * A name, a target or the name of an attribute as fuse-native hands it over: as text. EINVAL for what was no UTF-8:
 * what it was is lost, and it must not be taken for another.
 */
export function nameFromNative(text: string): Name {
  if (text.includes('\u{FFFD}')) throw new FsError('EINVAL', `${text} was not UTF-8`)
  return nameFromText(text)
}

/** As text, if it is UTF-8. */
export function nameAsText(name: Name): string | undefined {
  const bytes = nameToBytes(name)
  const text = bytes.toString('utf8')
  return Buffer.from(text, 'utf8').equals(bytes) ? text : undefined
}
