import type { Checksums } from '../../core/checksum.ts'
import type { Env } from '../../core/env.ts'
import type { FsError } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'
import type { AttrPort, MasterPort } from '../ports.ts'
import type { BlockStore } from './block-store.ts'
import type { ChunkPool } from './chunk-pool.ts'
import type { SpaceGrant } from './space-grant.ts'

/** What all writers of a mount share; `Writer` is FileWriter, which this file cannot name without a cycle. */
export interface WriteContext<Writer> {
  readonly env: Env
  readonly master: MasterPort
  readonly attrs: AttrPort
  readonly checksums: Checksums
  readonly pool: ChunkPool
  readonly space: SpaceGrant
  readonly blocks: BlockStore
  readonly schedule: WriteSchedule<Writer>
  readonly written: WrittenData
}

/** Whoever wrote a small file, or a part of one, may read it soon. */
export interface WrittenData {
  /** Keeps a copy of a whole block that is stored and committed, if it is small. */
  keep(id: BlockId, data: Uint8Array): void
}

/** How a writer reports to whoever decides when files are written back. */
export interface WriteSchedule<Writer> {
  /** Takes memory and space for `bytes` more, if there are; else the writer waits with `admitted`. */
  tryAdmit(bytes: number): boolean
  /** Resolves when memory and space were taken. Rejects with ENOSPC, or why nothing can be written back. */
  admitted(bytes: number): Promise<void>
  /** The file has dirty bytes that are not sealed. */
  dirtied(file: Writer): void
  /** Nobody has the file open: what is dirty is stored soon. */
  closed(file: Writer): void
  /** Everything dirty of the file was sealed. */
  sealed(file: Writer): void
  /** The file's dirty bytes, sealed or not, changed by this much. */
  counted(file: Writer, change: number): void
  /** A write-back failed; what it held is dirty again, unless it was dropped. */
  failed(file: Writer, error: FsError): void
}
