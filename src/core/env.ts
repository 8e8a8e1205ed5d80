/**
 * Everything that deciding code takes from outside. The real one is made in env/, the seeded one
 * in sim/. Logic never reads a clock, random numbers, timers, sockets or disks in another way, so
 * that a whole cluster can be run from one seed.
 */
export interface Env {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly log: Log
}

export interface Clock {
  /** Milliseconds, with a fraction, since an arbitrary start; never goes back; runs during suspend. */
  now(): number
  /** This machine's idea of nanoseconds since 1970. May jump. */
  wall(): bigint
}

export interface Timer {
  cancel(): void
}

export interface Timers {
  /** Calls back once, after at least `ms` milliseconds. */
  after(ms: number, callback: () => void): Timer
  /** Calls back after the current turn's work, before timers: for coalescing what one turn produces. */
  soon(callback: () => void): void
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export interface Random {
  /** Unpredictable bytes (predictable only under simulation). */
  bytes(count: number): Buffer
  /** Uniform integer from 0 to bound - 1. */
  below(bound: number): number
}

export type LogFields = Readonly<Record<string, unknown>>

/** Structured log. Messages are constant text; what varies goes into fields. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  child(fields: LogFields): Log
}

const ignore = (): void => undefined

/** For those who have nobody to tell. */
export const silentLog: Log = {
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  child: () => silentLog,
}
