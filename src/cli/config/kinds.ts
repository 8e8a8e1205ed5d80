/**
 * The kinds of values that a setting can have: how each is written in a file, on the command line and in an
 * environment variable, and what is allowed.
 */
import { exportNameForm } from '../../core/export-names.ts'
import path from 'node:path'
import { z } from 'zod'
import { parseAddress } from '../../core/address.ts'
import { day, hour, KiB, minute, second } from '../../core/units.ts'
import { byteCount } from '../output.ts'

export interface Kind<T> {
  /** Stands for the value in --help: `<host:port>`. */
  readonly placeholder: string
  /** Goes on from "must be": a whole number from 1 to 9. */
  readonly allowed: string
  /** Checks what a TOML file has. */
  readonly schema: z.ZodType<T>
  /** What a text of the command line or the environment would be in a file. */
  readonly fromText: (text: string) => unknown
  /** The value that a flag has by itself; undefined: a flag needs one. */
  readonly alone?: string
  /** A value as a file has it. */
  readonly toToml: (value: T) => string
}

const same = (text: string): string => text
const quoted = (value: unknown): string => JSON.stringify(value)

/** Digits alone: 0x10, 1e3 and '' are no numbers that an operator means. */
const decimal = (text: string): unknown => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : text)

export const text = (placeholder: string, form: RegExp, allowed: string): Kind<string> => ({
  placeholder,
  allowed,
  schema: z.string().regex(form),
  fromText: same,
  toToml: quoted,
})

export const zone: Kind<string> = text(
  'zone',
  /^[A-Za-z0-9_.-]{1,64}$/,
  'a name of at most 64 letters, digits, dots, hyphens and underscores',
)

export const exportName: Kind<string> = text('name', exportNameForm, 'the name of an export')

/** On the command line relative to the working folder; a file must not depend on that. */
export const folder: Kind<string> = {
  placeholder: 'dir',
  allowed: 'an absolute path',
  schema: z.string().startsWith('/'),
  fromText: value => (value === '' ? value : path.resolve(value)),
  toToml: quoted,
}

/** `off` is no folder. */
export const folderOrOff: Kind<string> = {
  ...folder,
  allowed: 'an absolute path, or off',
  schema: z.string().refine(value => value === 'off' || value.startsWith('/')),
  fromText: value => (value === '' || value === 'off' ? value : path.resolve(value)),
}

export const file: Kind<string> = { ...folder, placeholder: 'file' }

const isAddress = (value: string): boolean => parseAddress(value) !== undefined

export const address: Kind<string> = {
  placeholder: 'host:port',
  allowed: 'HOST:PORT, such as 10.0.0.1:9420 or [fd00::1]:9420',
  schema: z.string().refine(isAddress),
  fromText: same,
  toToml: quoted,
}

/** Where something serves: port 0 is none. */
export const peerAddress: Kind<string> = {
  ...address,
  allowed: 'HOST:PORT, with a port from 1 to 65535',
  schema: z.string().refine(value => (parseAddress(value)?.port ?? 0) > 0),
}

/** `off` is no address. */
export const addressOrOff: Kind<string> = {
  placeholder: 'host:port',
  allowed: 'HOST:PORT, such as 127.0.0.1:9430, or off',
  schema: z.string().refine(value => value === 'off' || isAddress(value)),
  fromText: same,
  toToml: quoted,
}

export const wholeNumber = (min: number, max: number): Kind<number> => ({
  placeholder: 'n',
  allowed: `a whole number from ${min} to ${max}`,
  schema: z.number().int().min(min).max(max),
  fromText: decimal,
  toToml: String,
})

export const seconds: Kind<number> = {
  placeholder: 'seconds',
  allowed: 'a number of seconds, 0 or more',
  schema: z.number().min(0).max(1e9),
  fromText: decimal,
  toToml: String,
}

const timeUnits = { s: second, m: minute, h: hour, d: day } as const

/** A span of time, ms. */
export const duration: Kind<number> = {
  placeholder: 'time',
  allowed: 'a time such as "90s", "30m", "1h" or "1d" of at most a year, or 0',
  schema: z
    .union([z.literal(0), z.string().regex(/^(0|\d+(\.\d+)?[smhd])$/)])
    .transform(given => {
      const text = String(given)
      return text === '0'
        ? 0
        : Number(text.slice(0, -1)) * timeUnits[text.slice(-1) as keyof typeof timeUnits]
    })
    .refine(ms => ms <= 365 * day),
  fromText: same,
  toToml: ms => {
    const unit = (['d', 'h', 'm'] as const).find(name => ms > 0 && ms % timeUnits[name] === 0) ?? 's'
    return quoted(`${ms / timeUnits[unit]}${unit}`)
  },
}

const bytesOf = z.union([z.number().int().min(0), byteCount])

/** `check` says what a number of bytes must be beyond being one. */
export const bytes = (
  allowed = 'a number of bytes such as 1048576, "64KiB" or "10GiB"',
  check: (count: number) => boolean = () => true,
): Kind<number> => ({
  placeholder: 'bytes',
  allowed,
  schema: bytesOf.refine(check),
  fromText: same,
  toToml: count => quoted(withUnit(count)),
})

const units = ['', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** The largest unit of which it is a whole number. */
export function withUnit(count: number): string {
  let value = count
  let unit = 0
  while (value > 0 && value % KiB === 0 && unit < units.length - 1) {
    value /= KiB
    unit++
  }
  return `${value}${units[unit] ?? ''}`
}

export const choice = <T extends string>(values: readonly [T, ...T[]]): Kind<T> => ({
  placeholder: values.join('|'),
  allowed: `one of ${values.join(', ')}`,
  schema: z.enum(values),
  fromText: same,
  toToml: quoted,
})

/** A flag by itself switches it on. */
export const onOrOff: Kind<'on' | 'off'> = { ...choice(['on', 'off']), alone: 'on' }

/** A list of words: an array in a file, separated by commas elsewhere. */
export const words: Kind<readonly string[]> = {
  placeholder: 'list',
  allowed: 'a list of words without commas',
  schema: z.array(z.string().regex(/^[^,\s]+$/)),
  fromText: value => value.split(',').filter(word => word !== ''),
  toToml: value => quoted(value),
}
