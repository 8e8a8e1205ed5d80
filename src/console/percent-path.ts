/**
 * Paths of the cluster in URLs: bytes, percent-encoded except for what is plain in every URL. A name need not be
 * UTF-8, so that the decoders of the platform, which replace or refuse such bytes, do not do.
 */
import { FsError } from '../core/errors.ts'

const plain = /^[A-Za-z0-9._~-]$/

export function encodeName(bytes: Uint8Array): string {
  return Array.from(bytes, byte => {
    const letter = String.fromCharCode(byte)
    return plain.test(letter) ? letter : `%${byte.toString(16).padStart(2, '0').toUpperCase()}`
  }).join('')
}

/** EINVAL for a text that is no percent-encoding of bytes. */
export function decodeBytes(text: string): Buffer {
  if (!/^(?:[!-$&-~]|%[0-9A-Fa-f]{2})*$/.test(text))
    throw new FsError('EINVAL', 'A path is given as bytes, percent-encoded')
  return Buffer.from(
    text.replace(/%(..)/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
    'latin1',
  )
}
