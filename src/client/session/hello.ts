import { wireVersion, wireVersionMin } from '../../core/limits.ts'
import type { RequestLog } from '../../core/request-log.ts'
import type { Hello } from '../../wire/gen/cairn/v1/session.ts'
import type { Welcomed } from './welcome.ts'

/** What proves to the master that one speaks for a session. */
export interface SessionKey {
  readonly cluster: Uint8Array
  readonly session: bigint
  readonly epoch: bigint
  readonly secret: Uint8Array
}

export interface SessionOptions {
  readonly address: string
  readonly host: string
  readonly mountpoint: string
  readonly pid: number
  readonly program: string
  readonly zone: string
  readonly readOnly: boolean
  /** The export to show; absent: what this identity may mount. */
  readonly export?: string
  /** Hears of every session that begins, before it holds anything. */
  readonly began?: (key: SessionKey) => void
  /** How long a call waits for a master that is away, ms; Infinity: for ever (`hard`). */
  readonly waitMs: number
  /** How long `start` waits for it. */
  readonly startWaitMs: number
  /** Hears of what was slow. */
  readonly requests?: RequestLog | undefined
}

const noBytes = new Uint8Array(0)

/** Begins a session, or goes on with the one that the master welcomed. */
export function helloOf(options: SessionOptions, welcome: Welcomed | undefined, wall: bigint): Hello {
  const { address: _a, began: _b, waitMs: _w, startWaitMs: _s, requests: _r, ...who } = options
  return {
    versionMin: wireVersionMin,
    versionMax: wireVersion,
    session: welcome?.identity.session ?? 0n,
    epoch: welcome?.identity.epoch ?? 0n,
    secret: welcome?.secret ?? noBytes,
    cluster: welcome?.facts.cluster ?? noBytes,
    clock: wall,
    export: '',
    ...who,
  }
}
