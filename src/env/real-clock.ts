import { uptime } from 'node:os'
import type { Clock } from '../core/env.ts'

/** Where the time comes from. */
export interface TimeSources {
  /** Nanoseconds of CLOCK_MONOTONIC, which stands still during suspend. */
  monotonic(): bigint
  /** Milliseconds since 1970. */
  wall(): number
  /** Seconds since boot, including suspend; node gives hundredths, or whole seconds on some systems. */
  uptime(): number
}

const systemSources: TimeSources = {
  monotonic: () => process.hrtime.bigint(),
  wall: () => Date.now(),
  uptime,
}

/** Suspend shorter than this cannot be told from the coarse uptime; lease margins are larger. */
const suspendMinMs = 2000
/** The wall clock moving this much against the monotonic one is a reason to look at the uptime. */
const jumpMs = 50
/** And so is this time without a look. */
const lookMs = 1000

const nsPerMs = 1_000_000n

/**
 * The machine's clock. Node offers no CLOCK_BOOTTIME, so suspends are found out: the wall clock jumps
 * over one, which every call notices at little cost, and the uptime then says how long it was.
 */
export class RealClock implements Clock {
  readonly #sources: TimeSources
  /** Uptime less monotonic time when this was made, ms. */
  readonly #base: number
  #suspendedMs = 0
  #lastNow = 0
  #lookedAt: number
  #wallLessMonotonic: number
  #anchorWall: bigint
  #anchorMonotonic: bigint

  constructor(sources: TimeSources = systemSources) {
    this.#sources = sources
    const monotonic = sources.monotonic()
    const ms = toMs(monotonic)
    this.#base = sources.uptime() * 1000 - ms
    this.#lookedAt = ms
    this.#wallLessMonotonic = sources.wall() - ms
    this.#anchorWall = BigInt(sources.wall()) * nsPerMs
    this.#anchorMonotonic = monotonic
  }

  now(): number {
    const ms = toMs(this.#sources.monotonic())
    const wallLessMonotonic = this.#sources.wall() - ms
    const jumped = Math.abs(wallLessMonotonic - this.#wallLessMonotonic) > jumpMs
    if (jumped || ms - this.#lookedAt > lookMs) {
      this.#lookedAt = ms
      this.#wallLessMonotonic = wallLessMonotonic
      const suspendedMs = this.#sources.uptime() * 1000 - ms - this.#base
      if (suspendedMs > this.#suspendedMs + suspendMinMs) this.#suspendedMs = suspendedMs
    }
    // Two sources added could go back by rounding.
    this.#lastNow = Math.max(this.#lastNow, ms + this.#suspendedMs)
    return this.#lastNow
  }

  /**
   * The system's time is known to the millisecond only; the monotonic clock fills in what is below, held
   * within the millisecond that the system tells, so that steps and slews of the system's time are followed.
   */
  wall(): bigint {
    const monotonic = this.#sources.monotonic()
    const low = BigInt(this.#sources.wall()) * nsPerMs
    const high = low + nsPerMs - 1n
    const fine = this.#anchorWall + (monotonic - this.#anchorMonotonic)
    if (fine >= low && fine <= high) return fine
    this.#anchorMonotonic = monotonic
    this.#anchorWall = fine < low ? low : high
    return this.#anchorWall
  }
}

function toMs(ns: bigint): number {
  return Number(ns) / 1e6
}
