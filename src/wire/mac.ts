import { createHmac, timingSafeEqual } from 'node:crypto'
import { assert } from '../core/assert.ts'
import { noDedupDomain } from '../core/checksum.ts'
import { blockIdBytes } from '../core/ids.ts'

/**
 * The message authentication codes of grants and receipts (proto/cairn/v1/common.proto). Master and
 * node share a key; nobody else can make either. HMAC-SHA-256 over fixed-width big-endian fields
 * after a tag that tells the two kinds apart, so that a grant can never pass for a receipt.
 */

/** What a grant allows: one put of one instance of a block on one node. */
export interface GrantClaim {
  readonly node: bigint
  /** SHA-256 of the block, 32 bytes. */
  readonly block: Uint8Array
  readonly length: number
  readonly generation: bigint
  readonly session: bigint
  readonly epoch: bigint
  /** Nanoseconds, master's clock. */
  readonly expiry: bigint
  /** What the block's id was made with; absent or empty: nothing. */
  readonly dedupDomain?: Uint8Array
}

/** What a receipt states: the block is on the node's stable storage. */
export interface ReceiptClaim extends GrantClaim {
  /** Which opening of the store wrote it. */
  readonly incarnation: bigint
}

export const macBytes = 32

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value)

function mac(key: Uint8Array, tag: string, claim: GrantClaim, incarnation: bigint | undefined): Buffer {
  assert(claim.block.length === blockIdBytes, 'a block id has 32 bytes')
  const domain = incarnation === undefined ? (claim.dedupDomain ?? noDedupDomain) : noDedupDomain
  const text = Buffer.alloc(tag.length + 8 + blockIdBytes + 4 + 5 * 8 + domain.length)
  let at = text.write(tag, 'latin1')
  at = text.writeBigUInt64BE(u64(claim.node), at)
  text.set(claim.block, at)
  at = text.writeUInt32BE(claim.length, at + blockIdBytes)
  if (incarnation !== undefined) at = text.writeBigUInt64BE(u64(incarnation), at)
  at = text.writeBigUInt64BE(u64(claim.generation), at)
  at = text.writeBigUInt64BE(u64(claim.session), at)
  at = text.writeBigUInt64BE(u64(claim.epoch), at)
  at = text.writeBigUInt64BE(u64(claim.expiry), at)
  text.set(domain, at)
  at += domain.length
  return createHmac('sha256', key).update(text.subarray(0, at)).digest()
}

/** Shows a node that who wants to keep its log there is its master. */
export const logMac = (key: Uint8Array, node: bigint, incarnation: bigint): Buffer => {
  const text = Buffer.alloc(3 + 2 * 8)
  let at = text.write('log', 'latin1')
  at = text.writeBigUInt64BE(u64(node), at)
  text.writeBigUInt64BE(u64(incarnation), at)
  return createHmac('sha256', key).update(text).digest()
}

export const isLogMac = (key: Uint8Array, node: bigint, incarnation: bigint, given: Uint8Array): boolean =>
  same(given, logMac(key, node, incarnation))

const same = (given: Uint8Array, right: Buffer): boolean =>
  given.length === macBytes && timingSafeEqual(given, right)

/** The code that the master puts into a grant. */
export const grantMac = (key: Uint8Array, claim: GrantClaim): Buffer => mac(key, 'grant', claim, undefined)

/** The code that a node puts into a receipt. */
export const receiptMac = (key: Uint8Array, claim: ReceiptClaim): Buffer =>
  mac(key, 'receipt', claim, claim.incarnation)

/** Checks a grant's code in constant time. */
export const isGrantMac = (key: Uint8Array, claim: GrantClaim, given: Uint8Array): boolean =>
  same(given, grantMac(key, claim))

/** Checks a receipt's code in constant time. */
export const isReceiptMac = (key: Uint8Array, claim: ReceiptClaim, given: Uint8Array): boolean =>
  same(given, receiptMac(key, claim))
