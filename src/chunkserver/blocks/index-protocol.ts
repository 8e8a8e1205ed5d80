import type { BlockId } from '../../core/ids.ts'

/**
 * What the store asks its index, as plain values that can be cloned to a Worker. Byte fields own
 * their memory: a view would drag its whole buffer along.
 */

/** Where a block's bytes are. */
export const place = { row: 0, file: 1 } as const
export type Place = (typeof place)[keyof typeof place]

/** One stored block, without its bytes. */
export interface BlockRow {
  readonly id: BlockId
  readonly generation: bigint
  readonly length: number
  readonly place: Place
  readonly checksums: Uint8Array
}

/** A change as the master learns it. */
export interface ChangeRow {
  readonly id: BlockId
  readonly generation: bigint
  readonly length: number
  readonly removed: boolean
}

export interface Totals {
  readonly blocks: number
  readonly files: number
  /** Bytes on disk, as `storedBytes` counts them. */
  readonly bytes: number
  /** Sequence number of the last change. */
  readonly sequence: bigint
}

export interface StoreIdentity {
  /** Empty until the master accepted the store. */
  readonly cluster: Uint8Array
  /** 0 until then. */
  readonly node: bigint
  /** Random identity of the folder. */
  readonly store: Uint8Array
  /** Rises each time the store is opened. */
  readonly incarnation: bigint
}

/** What a file without a row has in it, for who knows the dedup domain that its name may be made with. */
export interface UnprovenFile {
  readonly id: BlockId
  readonly length: number
  /** Of its bytes: what would be its name in no domain. */
  readonly sha256: BlockId
}

export interface Opened {
  readonly identity: StoreIdentity
  readonly totals: Totals
  /** The folder was new: the index was made by this opening. */
  readonly fresh: boolean
  /** The last user closed it in order: folder and index agree, but for files that are `unproven`. */
  readonly clean: boolean
  /** Files whose rows are gone, but which may still be there. */
  readonly unlinked: readonly BlockId[]
  /** Files without a row that were read before. */
  readonly unproven: readonly UnprovenFile[]
  readonly scrubbed: BlockId | undefined
}

export interface Put {
  readonly id: BlockId
  readonly generation: bigint
  readonly length: number
  readonly checksums: Uint8Array
  /** Of a block kept in its row; a file was put into place before. */
  readonly data: Uint8Array | undefined
}

/** Requests and answers by name. */
export interface IndexOps {
  /** First of all, on the writer. `store` becomes the identity of a new folder. */
  open: { in: { readonly store: Uint8Array }; out: Opened }
  /** The master accepted this store as `node`. */
  join: { in: { readonly cluster: Uint8Array; readonly node: bigint }; out: null }
  /**
   * Stores a block or raises its generation; the highest wins and is answered. A row's bytes are
   * written anew only if the stored ones differ.
   */
  put: { in: Put; out: { readonly generation: bigint; readonly totals: Totals } }
  /** Removes exactly this instance. Answers whether it was there and, if it was a file, that it is to be unlinked. */
  remove: {
    in: { readonly id: BlockId; readonly generation: bigint }
    out: { readonly removed: boolean; readonly unlink: boolean; readonly totals: Totals }
  }
  /** The file of a removed block is gone. */
  forgetUnlinked: { in: { readonly id: BlockId }; out: null }
  /** A file without a row was read, which need not be done again at the next opening. Forgotten when it gets a row. */
  noteUnproven: { in: UnprovenFile; out: null }
  /** The master has the changes up to `sequence`. */
  acked: { in: { readonly sequence: bigint }; out: null }
  scrubbed: { in: { readonly id: BlockId | undefined }; out: null }
  /** Returns up to `pages` free pages to the file system; answers how many are left. */
  vacuum: { in: { readonly pages: number }; out: number }
  totals: { in: object; out: Totals }
  /** Closed in order. Nothing may follow. */
  close: { in: object; out: null }

  lookup: { in: { readonly id: BlockId }; out: BlockRow | undefined }
  /** As lookup, with the bytes of a block kept in its row. */
  get: {
    in: { readonly id: BlockId }
    out: { readonly row: BlockRow; readonly data: Uint8Array | undefined } | undefined
  }
  /** Changes above `after`, oldest first. */
  changes: {
    in: { readonly after: bigint; readonly limit: number }
    out: { readonly first: bigint; readonly changes: readonly ChangeRow[] }
  }
  digest: {
    in: { readonly prefixBits: number }
    out: { readonly sequence: bigint; readonly digests: readonly bigint[] }
  }
  bucket: {
    in: { readonly prefixBits: number; readonly bucket: number }
    out: { readonly sequence: bigint; readonly blocks: readonly ChangeRow[] }
  }
  /** The next block after an id, for the scrubber. */
  next: { in: { readonly after: BlockId | undefined }; out: BlockRow | undefined }
  /** Ids of the blocks in files whose first byte is `folder`. */
  files: { in: { readonly folder: number }; out: readonly BlockId[] }
}

export type IndexOp = keyof IndexOps
export type IndexRequest = { [Op in IndexOp]: { readonly op: Op; readonly in: IndexOps[Op]['in'] } }[IndexOp]

/** Ops that change nothing: they may go to a second lane, which no sync holds up. */
export const readingOps: ReadonlySet<IndexOp> = new Set<IndexOp>([
  'lookup',
  'get',
  'changes',
  'digest',
  'bucket',
  'next',
  'files',
])

export type IndexReply =
  | { readonly ok: true; readonly out: unknown }
  | { readonly ok: false; readonly is: 'failure'; readonly errno: number; readonly message: string }
  /** What an operator must set right (a UsageError): the wrong store, or a database that is damaged. */
  | { readonly ok: false; readonly is: 'usage' | 'damage'; readonly message: string }
