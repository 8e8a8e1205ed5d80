/**
 * A daemon's settings as one table, from which everything that knows of them is made: the check of its file,
 * its flags and --help, the annotated example file, and the reference page.
 */
import type { Kind } from './kinds.ts'

export interface Setting<T, Sure extends boolean = boolean> {
  readonly kind: Kind<T>
  /** One or two sentences for --help and the reference, without a full stop at the end. */
  readonly meaning: string
  /** What it is where nobody says. Absent: see `otherwise`. */
  readonly default?: T
  /** In words, what holds where nobody says and there is no fixed default. */
  readonly otherwise?: string
  /** The daemon does not start without. */
  readonly required?: boolean
  /** What the example file shows. Required ones are set to it, others only if `recommended`. */
  readonly example: T
  /** The example file, which the package installs, sets it although it is not required. */
  readonly recommended?: boolean
  /** Never shown, logged or collected. */
  readonly secret?: boolean
  /** Instead of the name made of the daemon and the key. */
  readonly env?: string
  /** Instead of `--key-with-hyphens`; with a short form before it. */
  readonly flag?: string
  /** Given as an argument, not with a flag. */
  readonly argument?: string
  /** Of what it is, for types only. */
  readonly sure?: Sure
}

export type Settings = Readonly<Record<string, Setting<never>>>

/** With a default or required: always there. */
export const sure = <T>(setting: Setting<T>): Setting<T, true> => setting as Setting<T, true>
/** May be left out. */
export const maybe = <T>(setting: Setting<T>): Setting<T, false> => setting as Setting<T, false>

export type Values<S> = {
  readonly [K in keyof S]: S[K] extends Setting<infer T, infer Sure>
    ? Sure extends true
      ? T
      : T | undefined
    : never
}

export type DaemonName = 'master' | 'chunkserver' | 'mount'

/** Tables in the file whose settings are for one of several processes and go before those at its top. */
export interface Section {
  /** `[disk.NAME]`. */
  readonly name: string
  readonly meaning: string
  /** The names that the example shows, with what they set. */
  readonly examples: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

export interface Daemon<S = Settings> {
  readonly name: DaemonName
  readonly summary: string
  readonly settings: S
  readonly section?: Section
}

/** A setting with what it is called everywhere. */
export interface Named {
  /** In code: `blockSize`. */
  readonly name: string
  /** In a file: `block_size`. */
  readonly key: string
  readonly env: string
  /** `--block-size`; undefined for an argument. */
  readonly flag: string | undefined
  readonly setting: Setting<unknown>
}

export function namedSettings(daemon: Daemon): Named[] {
  return Object.entries(daemon.settings).map(([name, of]) => {
    const setting = of as unknown as Setting<unknown>
    const key = name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
    return {
      name,
      key,
      env: setting.env ?? `CAIRN_${daemon.name}_${key}`.toUpperCase(),
      flag: setting.argument === undefined ? (setting.flag ?? `--${key.replaceAll('_', '-')}`) : undefined,
      setting,
    }
  })
}
