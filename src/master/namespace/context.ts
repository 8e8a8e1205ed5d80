import type { BlockKey, Generation, Ino, NodeId, SessionId } from '../../core/ids.ts'
import type { Location } from '../../wire/gen/cairn/v1/common.ts'
import type { TokenMaker } from '../sessions/read-keys.ts'
import type { Op } from '../../wire/commands.ts'
import type { Reply, StoredBlock } from '../../wire/gen/cairn/v1/session.ts'

export type Result = NonNullable<Reply['result']>
export type ResultOf<Case extends Result['$case']> = Extract<Result, { $case: Case }>

const queryCases = [
  'lookup',
  'getAttr',
  'readDir',
  'readTree',
  'readLink',
  'getXattr',
  'listXattr',
  'getExtents',
  'getExtentsOf',
  'locate',
  'statFs',
] as const

/** What the store alone (and the places of blocks) can answer. */
export type QueryOp = Extract<Op, { $case: (typeof queryCases)[number] }>

const queries: ReadonlySet<string> = new Set(queryCases)

export const isQuery = (op: Op): op is QueryOp => queries.has(op.$case)

/** A copy that a receipt or pin vouches for. */
export interface VerifiedReplica {
  readonly node: NodeId
  readonly generation: Generation
}

/** All that a command may depend on besides the store. */
export interface CommandContext {
  readonly session: SessionId
  /**
   * Cluster time of the command, ns: becomes ctime and `now`. The engine bounds what the client
   * claims, since a time far ahead would stay with the inode.
   */
  readonly time: bigint
  /** What the session's ids of blocks are made with; empty: nothing. */
  readonly dedupDomain: Uint8Array
  /**
   * Judges a block of a commit: the replicas that its receipts prove (none for a block named by
   * key whose pin holds), or 'again' if it must be put again (pin gone, receipt of another
   * incarnation, fewer than minCopies). Throws FsError to fail the whole commit.
   */
  verify(stored: StoredBlock): readonly VerifiedReplica[] | 'again'
  /** Whether the session, and whose it is, may hold one more file open that was removed. */
  mayHold(session: SessionId): boolean
  /**
   * Other sessions that have the inode open, as their answers to recalls said, and see the directory in which it loses
   * its last name.
   */
  openIn(ino: Ino, directory: Ino): readonly SessionId[]
  /** Whether so many bytes, times copies, could be stored now (fallocate). */
  hasSpace(bytes: number, copies: number): boolean
}

export interface QueryContext {
  /** Whether it is known that no other session may be changing the inode, so that nobody need be waited for. */
  isSettled(ino: Ino): boolean
  /** Where a block is, best first. */
  locations(block: BlockKey): Location[]
  /** Makes tokens for the reader, to blocks of files that it may read. */
  tokens(): TokenMaker
  /** Bytes at the default number of copies. */
  space(): { readonly totalBytes: bigint; readonly availableBytes: bigint }
}
