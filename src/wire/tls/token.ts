import { createHash, timingSafeEqual } from 'node:crypto'
import { UsageError } from '../../core/errors.ts'

/**
 * What lets somebody join. It is written down, sent by mail and pasted, so it has everything in one word: by
 * what the authority is known, and a secret that the master keeps only a hash of.
 */
export interface Token {
  /** SHA-256 of the authority's certificate. */
  readonly authority: Uint8Array
  readonly id: Uint8Array
  readonly secret: Uint8Array
}

export const tokenIdBytes = 8
export const tokenSecretBytes = 24
const fingerprintBytes = 32
const prefix = 'cairn1.'

export function tokenText({ authority, id, secret }: Token): string {
  return prefix + Buffer.concat([authority, id, secret]).toString('base64url')
}

export function parseToken(text: string): Token {
  const trimmed = text.trim()
  const bytes = Buffer.from(trimmed.slice(prefix.length), 'base64url')
  const whole = bytes.length === fingerprintBytes + tokenIdBytes + tokenSecretBytes
  if (!trimmed.startsWith(prefix) || !whole)
    throw new UsageError('that is no whole token: it is one word as cairn cluster token create prints it')
  return {
    authority: bytes.subarray(0, fingerprintBytes),
    id: bytes.subarray(fingerprintBytes, fingerprintBytes + tokenIdBytes),
    secret: bytes.subarray(fingerprintBytes + tokenIdBytes),
  }
}

/** Secrets are random and long: a plain hash of one gives nothing away. */
export const secretHash = (secret: Uint8Array): Buffer => createHash('sha256').update(secret).digest()

export function isSecret(secret: Uint8Array, hash: Uint8Array): boolean {
  const found = secretHash(secret)
  return hash.length === found.length && timingSafeEqual(found, hash)
}
