/**
 * What was read, in pieces. Their memory is used again for other bytes once `release` was called, which
 * whoever got them does, once, when they were passed on. A release that is forgotten costs memory, no more.
 */
export interface ReadBytes {
  readonly pieces: readonly Uint8Array[]
  readonly release: () => void
}

/** Takes a copy and releases. */
export function taken({ pieces, release }: ReadBytes): Buffer {
  const bytes = Buffer.concat(pieces)
  release()
  return bytes
}

/** Bytes whose memory is nobody's to use again. */
export const keptBytes = (pieces: readonly Uint8Array[]): ReadBytes => ({ pieces, release: () => undefined })
