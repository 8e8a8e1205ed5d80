import type { Prng } from '../world/prng.ts'

/** Bytes to write: mostly unlike any other, sometimes the same as others write, so that blocks are shared. */
export function bytesOf(prng: Prng, length: number): Buffer {
  const common = prng.chance(0.25)
  let state = common ? 1 + prng.below(3) : prng.u32() | 1
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[at] = state >>> 24
  }
  return bytes
}
