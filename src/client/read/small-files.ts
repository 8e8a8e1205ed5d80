import type { Env } from '../../core/env.ts'
import { messageOf } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { smallAtOnce, wireVersionSmall } from '../../core/limits.ts'
import { toIno } from '../../wire/validate.ts'
import type { MasterPort } from '../ports.ts'
import type { BlockReader } from './block-reader.ts'
import type { FileExtents } from './file-extents.ts'
import type { FileReader } from './file-reader.ts'
import { deferred } from '../waiting.ts'

/** A file of one piece at most, of which nothing is known yet but its size. */
export interface SmallFile {
  readonly ino: Ino
  readonly size: number
  readonly extents: FileExtents
  readonly reader: FileReader
}

/**
 * Reads many small files ahead: one question to the master for the extents of all, and one to each node for the
 * blocks that are read from it. Whoever opens one of them meanwhile waits for that. What is not answered so is asked
 * for alone by who needs it.
 */
export class SmallFiles {
  readonly #env: Env
  readonly #master: MasterPort
  readonly #blocks: BlockReader

  constructor(env: Env, master: MasterPort, blocks: BlockReader) {
    this.#env = env
    this.#master = master
    this.#blocks = blocks
  }

  /** Never rejects. */
  async readAhead(files: readonly SmallFile[]): Promise<void> {
    if (this.#master.facts.version < wireVersionSmall) {
      for (const { reader, size } of files) reader.prefetch(0, size, size)
      return
    }
    const parts: Promise<void>[] = []
    for (let at = 0; at < files.length; at += smallAtOnce)
      parts.push(this.#together(files.slice(at, at + smallAtOnce)))
    await Promise.all(parts)
  }

  async #together(files: readonly SmallFile[]): Promise<void> {
    const known = deferred<undefined>()
    const expected = new Map(
      files.map(({ ino, size, extents }) => [ino, extents.expect(size, known.promise)]),
    )
    try {
      const inos = files.map(({ ino }) => ino)
      const reply = await this.#master.call({ $case: 'getExtentsOf', value: { inos } }, 'extentsOf')
      for (const { ino, extents } of reply.files)
        if (extents !== undefined) expected.get(toIno(ino, 'extents_of.ino'))?.(extents)
    } catch (thrown) {
      this.#env.log.debug('small files were not read ahead', { files: files.length, why: messageOf(thrown) })
    }
    const blocks = this.#blocks.readAheadSmall(files.flatMap(({ extents, size }) => extents.within(0, size)))
    known.resolve(undefined)
    await blocks
  }
}
