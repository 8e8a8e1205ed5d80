/** What could move a cursor, turn the reading direction or look like nothing. */
const invisible = /[\p{C}\p{Zl}\p{Zp}]/gu

/** Bytes of a file name or path as people may see them: UTF-8, with what is not, or cannot be seen, as escapes. */
export function shownName(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8')
  const whole = text.includes('\uFFFD') ? escapeBytes(bytes) : text
  return whole.replace(
    invisible,
    letter => `\\u{${(letter.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}}`,
  )
}

/** Not UTF-8: everything beyond ASCII byte by byte. */
function escapeBytes(bytes: Uint8Array): string {
  return Array.from(bytes, byte =>
    byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('')
}
