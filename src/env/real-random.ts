import { randomBytes, randomInt } from 'node:crypto'
import type { Random } from '../core/env.ts'

/** The system's random numbers. */
export class RealRandom implements Random {
  bytes(count: number): Buffer {
    return randomBytes(count)
  }

  below(bound: number): number {
    return randomInt(bound)
  }
}
