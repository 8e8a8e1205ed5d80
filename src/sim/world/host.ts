import type { Clock, Env, Log, LogFields, Random, Timers } from '../../core/env.ts'
import type { CrashPoints } from './crash-points.ts'
import type { Prng } from './prng.ts'
import type { Timeline } from './timeline.ts'

export type Trace = (line: string) => void

/** The wall clock at the start of a run without skew, ns. */
const epoch = 1_700_000_000_000_000_000n

export interface HostClocks {
  /** What the clock that never goes back shows at the start of the run. */
  readonly startMs: number
  readonly wall: WallClock
}

/** A machine's clock for people: somebody may set it at any time. */
export interface WallClock {
  /** Ahead of the true time by so much. */
  aheadNs: bigint
}

/**
 * One start of one machine's process: its clock, timers, randomness. After `crash` nothing of it runs any
 * more: its timers do not fire, its network is silent, its disks' answers never come.
 */
export class HostEnv implements Env {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly log: Log
  readonly name: string
  readonly timeline: Timeline
  readonly #points: CrashPoints
  #alive = true
  /** What became due while the machine was stopped; undefined while it runs. */
  #due: (() => void)[] | undefined
  #wentOnMs: number | undefined

  constructor(
    name: string,
    timeline: Timeline,
    prng: Prng,
    trace: Trace,
    clocks: HostClocks,
    points: CrashPoints,
    bug: (error: unknown) => void,
  ) {
    this.name = name
    this.timeline = timeline
    this.#points = points
    this.clock = {
      now: () => clocks.startMs + timeline.now,
      wall: () => epoch + clocks.wall.aheadNs + BigInt(Math.round(timeline.now * 1e6)),
    }
    this.timers = {
      after: (ms, callback) => ({ cancel: this.schedule(Math.max(ms, 0.001), callback) }),
      soon: callback => {
        this.schedule(0, callback)
      },
      sleep: (ms, signal) => this.#sleep(ms, signal),
    }
    this.random = { bytes: count => prng.bytes(count), below: bound => prng.below(bound) }
    this.log = new TraceLog(line => trace(`${timeline.now.toFixed(3).padStart(10)} ${name} ${line}`), {}, bug)
  }

  get alive(): boolean {
    return this.#alive
  }

  crash(): void {
    this.#alive = false
  }

  /** Something that this machine is about to wait for: it may stop here. */
  point(name: string): void {
    if (this.#alive) this.#points.reached(name, this.name)
  }

  get stopped(): boolean {
    return this.#due !== undefined
  }

  /** It was stopped until this very moment. */
  get goesOnNow(): boolean {
    return this.#wentOnMs === this.timeline.now
  }

  /** The whole machine stops, its kernel and programs too, while its clocks go on: SIGSTOP, or a machine put to sleep. */
  stop(): void {
    this.#due ??= []
  }

  /** It goes on where it was, with all that became due, in order. */
  goOn(): void {
    const due = this.#due ?? []
    this.#due = undefined
    this.#wentOnMs = this.timeline.now
    for (const callback of due) this.schedule(0, callback)
  }

  /** Runs `callback` after `ms` unless this start of the host is over by then. */
  schedule(ms: number, callback: () => void): () => void {
    let cancelled = false
    const cancel = this.timeline.after(ms, () => this.#run(callback, () => cancelled))
    return () => {
      cancelled = true
      cancel()
    }
  }

  #run(callback: () => void, isCancelled: () => boolean): void {
    if (!this.#alive) return
    if (this.#due === undefined) callback()
    else
      this.#due.push(() => {
        if (!isCancelled()) callback()
      })
  }

  /** Waits; never resolves when this start of the host ends first. */
  delay(ms: number): Promise<void> {
    return new Promise(resolve => {
      this.schedule(ms, resolve)
    })
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(asError(signal.reason))
        return
      }
      const onAbort = () => {
        cancel()
        reject(asError(signal?.reason))
      }
      const cancel = this.schedule(ms, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason))
}

class TraceLog implements Log {
  readonly #write: Trace
  readonly #fields: LogFields
  readonly #bug: (error: unknown) => void

  constructor(write: Trace, fields: LogFields, bug: (error: unknown) => void) {
    this.#write = write
    this.#fields = fields
    this.#bug = bug
  }

  debug(message: string, fields?: LogFields): void {
    this.#say('debug', message, fields)
  }
  info(message: string, fields?: LogFields): void {
    this.#say('info ', message, fields)
  }
  warn(message: string, fields?: LogFields): void {
    this.#say('warn ', message, fields)
  }
  error(message: string, fields?: LogFields): void {
    this.#say('ERROR', message, fields)
  }
  child(fields: LogFields): Log {
    return new TraceLog(this.#write, { ...this.#fields, ...fields }, this.#bug)
  }

  #say(level: string, message: string, fields?: LogFields): void {
    const all = Object.entries({ ...this.#fields, ...fields })
    // Only what no answer is gets logged with its stack: a daemon goes on, a run ends.
    if (typeof fields?.['stack'] === 'string') this.#bug(new Error(`${message}: ${fields['stack']}`))
    this.#write(`${level} ${message}${all.map(([key, value]) => ` ${key}=${show(value)}`).join('')}`)
  }
}

function show(value: unknown): string {
  if (value instanceof Error) return value.message
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (typeof value === 'object' && value !== null)
    return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item))
  return String(value)
}
