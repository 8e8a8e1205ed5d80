/**
 * Identifiers. Each is branded, so that the compiler stops one being used for another.
 * 64-bit identifiers are bigints: they never pass through a double.
 */
declare const brand: unique symbol
type Id<Tag extends string> = bigint & { readonly [brand]: Tag }
type Text<Tag extends string> = string & { readonly [brand]: Tag }

/** Number of an inode: unique in the cluster, never reused. The root directory is 1. */
export type Ino = Id<'Ino'>
/** The master's short name of a block: a key of its tables, never reused. */
export type BlockKey = Id<'BlockKey'>
/** A mount's session with the master. Never reused. */
export type SessionId = Id<'SessionId'>
/** A chunkserver's store (one disk). Issued by the master when it first registers. Never reused. */
export type NodeId = Id<'NodeId'>
/**
 * One instance of a block on a node. Grants, receipts, replica rows and deletes name it, and a
 * node deletes only on equality: a late delete never hits a newer put.
 */
export type Generation = Id<'Generation'>

/** A block's content address: SHA-256 of its bytes, as 64 lower-case hex digits. */
export type BlockId = Text<'BlockId'>

export const rootIno = 1n as Ino

export const ino = (value: bigint): Ino => value as Ino
export const blockKey = (value: bigint): BlockKey => value as BlockKey
export const sessionId = (value: bigint): SessionId => value as SessionId
export const nodeId = (value: bigint): NodeId => value as NodeId
export const generation = (value: bigint): Generation => value as Generation

/** Bytes of a block id on the wire and on disk. */
export const blockIdBytes = 32

/** Turns 32 bytes into a block id. The caller has checked the length (see wire/validate). */
export function blockIdFromBytes(bytes: Uint8Array): BlockId {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex') as BlockId
}

export function blockIdToBytes(id: BlockId): Buffer {
  return Buffer.from(id, 'hex')
}

/** Checks the form of a block id that came as text (a file name, an argument). */
export function parseBlockId(text: string): BlockId | undefined {
  return /^[0-9a-f]{64}$/.test(text) ? (text as BlockId) : undefined
}

/** The id of a certificate's identity, as text. */
export const identityForm = /^[0-9a-f]{32}$/
