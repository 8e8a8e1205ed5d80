import type { Prng } from '../world/prng.ts'

/** Bytes to write: mostly unlike any other, sometimes the same as others write, so that blocks are shared. */
export function bytesOf(prng: Prng, length: number): Buffer {
  return stream(prng.chance(0.25) ? 1 + prng.below(3) : prng.u32() | 1, length)
}

/** One of a few contents that are written again and again: their blocks go, and come back while they go. */
export function knownBytes(prng: Prng): Buffer {
  const which = prng.below(knownLengths.length)
  return stream(100 + which, knownLengths[which] ?? 1)
}

const knownLengths = [900, 7000, 50_000, 110_000]

function stream(seed: number, length: number): Buffer {
  let state = seed
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[at] = state >>> 24
  }
  return bytes
}
