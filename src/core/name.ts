/**
 * File names, symlink targets and xattr names are bytes, not text. In memory they are *byte
 * strings*: a JavaScript string with one character (0 to 255) per byte, which is lossless, cheap
 * to compare and usable as a map key. On disk and on the wire they are bytes.
 */
declare const brand: unique symbol
export type Name = string & { readonly [brand]: 'Name' }

export function nameFromBytes(bytes: Uint8Array): Name {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1') as Name
}

export function nameToBytes(name: Name): Buffer {
  return Buffer.from(name, 'latin1')
}

/** From ordinary text, as UTF-8. */
export function nameFromText(text: string): Name {
  return Buffer.from(text, 'utf8').toString('latin1') as Name
}

/** For people: as UTF-8, with what is not UTF-8 replaced. Not reversible. */
export function nameToText(name: Name): string {
  return nameToBytes(name).toString('utf8')
}
