import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import type { Dice } from './random-calls.js'

/** Flips so many bits of a file, anywhere in it. False for an empty one. Throws where it cannot be opened. */
export function flipBits(file: string, dice: Dice, count = 1): boolean {
  const fd = openSync(file, 'r+')
  try {
    const { size } = fstatSync(fd)
    if (size === 0) return false
    for (let n = 0; n < count; n++) {
      const at = dice.below(size)
      const byte = Buffer.alloc(1)
      readSync(fd, byte, 0, 1, at)
      byte[0] = (byte[0] ?? 0) ^ (1 << dice.below(8))
      writeSync(fd, byte, 0, 1, at)
    }
    return true
  } finally {
    closeSync(fd)
  }
}
