/**
 * Tokens to read blocks (BlockInfo.token in proto/cairn/v1/session.proto): made by the master for one session and
 * one block, good at every node until they expire, and checked by a node without asking anyone. Master and nodes
 * share the keys, which rotate; who reads only carries the bytes. Session 0 is a node, or an administrator. One for a mount of
 * an export may have terms, on which it is good.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { assert } from '../core/assert.ts'
import { blockIdBytes } from '../core/ids.ts'

export const readKeyBytes = 32
const keyIdBytes = 8
const expiryBytes = 4
const macBytes = 16
export const readTokenBytes = keyIdBytes + expiryBytes + macBytes
const termsBytes = 8 + 8 + 1
export const readTokenWithTermsBytes = readTokenBytes + termsBytes
const expiryAt = keyIdBytes
const termsAt = keyIdBytes + expiryBytes
const mayReadFilesBit = 1
const identityBytes = 16
const readerBytes = 2 * 8 + identityBytes
const tag = 'read'
const termsTag = 'term'
export const readExpiryMax = 0xffff_ffff

export interface ReadKey {
  readonly id: bigint
  readonly key: KeyObject
}

/** On which terms an export's blocks are read. */
export interface ReadTerms {
  /** The export, by a number that no other one has. */
  readonly export: bigint
  /** What one node may always give of them; 0: there is no rate. */
  readonly bytesPerSecond: number
  /** Who runs on the node's machine may read the files of blocks by itself. */
  readonly mayReadFiles: boolean
  /** Of the token, in seconds since 1970. */
  readonly expiry: number
}

export const readKey = (id: bigint, secret: Uint8Array): ReadKey => {
  assert(secret.length === readKeyBytes, 'a read key has 32 bytes')
  return { id, key: createSecretKey(secret) }
}

/** Who reads, as tokens name it. `identity` is that of a certificate, 32 hexadecimal digits; empty without TLS. */
export function readerOf(session: bigint, epoch: bigint, identity = ''): Buffer {
  const reader = Buffer.alloc(readerBytes)
  reader.writeBigUInt64BE(BigInt.asUintN(64, session), 0)
  reader.writeBigUInt64BE(BigInt.asUintN(64, epoch), 8)
  if (identity !== '') reader.write(identity, 16, 'hex')
  return reader
}

/** Nodes and administrators. */
export const noSession = readerOf(0n, 0n)

/** Filled anew for each code, which is made at once: blocks are read often. */
const text = Buffer.alloc(tag.length + readerBytes + expiryBytes + blockIdBytes)
text.write(tag, 'latin1')

/** `terms` as they stand in the token; empty: none. */
function mac(
  key: KeyObject,
  reader: Uint8Array,
  expiry: number,
  block: Uint8Array,
  terms: Uint8Array,
): Buffer {
  assert(
    block.length === blockIdBytes && reader.length === readerBytes,
    'block and reader have their lengths',
  )
  text.set(reader, tag.length)
  text.writeUInt32BE(expiry, tag.length + readerBytes)
  text.set(block, tag.length + readerBytes + expiryBytes)
  if (terms.length === 0) return createHmac('sha256', key).update(text).digest()
  return createHmac('sha256', key).update(termsTag).update(terms).update(text).digest()
}

/** `expiry` in seconds since 1970, master's clock. */
export function makeReadToken(
  { id, key }: ReadKey,
  reader: Uint8Array,
  expiry: number,
  block: Uint8Array,
  terms?: Omit<ReadTerms, 'expiry'>,
): Buffer {
  const token = Buffer.allocUnsafe(terms === undefined ? readTokenBytes : readTokenWithTermsBytes)
  token.writeBigUInt64BE(id, 0)
  token.writeUInt32BE(expiry, expiryAt)
  if (terms !== undefined) {
    token.writeBigUInt64BE(terms.export, termsAt)
    token.writeBigUInt64BE(BigInt(terms.bytesPerSecond), termsAt + 8)
    token[termsAt + 16] = terms.mayReadFiles ? mayReadFilesBit : 0
  }
  const macAt = token.length - macBytes
  token.set(mac(key, reader, expiry, block, token.subarray(termsAt, macAt)).subarray(0, macBytes), macAt)
  return token
}

/** What a token says, before it is proved. Undefined for what has not the form of one. */
export function readTokenClaim(
  token: Uint8Array,
): { readonly keyId: bigint; readonly expiry: number; readonly terms: ReadTerms | undefined } | undefined {
  const hasTerms = token.length === readTokenWithTermsBytes
  if (token.length !== readTokenBytes && !hasTerms) return undefined
  const view = new DataView(token.buffer, token.byteOffset)
  const expiry = view.getUint32(expiryAt)
  const terms = hasTerms
    ? {
        export: view.getBigUint64(termsAt),
        bytesPerSecond: Number(view.getBigUint64(termsAt + 8)),
        mayReadFiles: (view.getUint8(termsAt + 16) & mayReadFilesBit) !== 0,
        expiry,
      }
    : undefined
  return { keyId: view.getBigUint64(0), expiry, terms }
}

/** Checks a token of the right form and with the key that it names, in constant time. */
export function isReadToken(
  key: KeyObject,
  reader: Uint8Array,
  token: Uint8Array,
  block: Uint8Array,
): boolean {
  const claim = readTokenClaim(token)
  if (claim === undefined) return false
  const macAt = token.length - macBytes
  const right = mac(key, reader, claim.expiry, block, token.subarray(termsAt, macAt))
  return timingSafeEqual(token.subarray(macAt), right.subarray(0, macBytes))
}
