/** The flags of a daemon, made from its settings. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { must } from '../../core/assert.ts'
import { fromText } from './read-settings.ts'
import { type Named, namedSettings, type Daemon } from './setting.ts'

export interface ConfigFlags {
  /** false after --no-config. */
  readonly config?: string | boolean
}

/** Adds a flag for every setting but arguments, and --config. No flag has a default: the file may say. */
export function withSettings(command: Command, daemon: Daemon<unknown>): Command {
  for (const named of namedSettings(daemon as Daemon)) {
    if (named.flag === undefined) continue
    const { kind } = named.setting
    const value = kind.alone === undefined ? `<${kind.placeholder}>` : `[${kind.placeholder}]`
    const option = new Option(`${named.flag} ${value}`, describe(named)).argParser(parser(named))
    command.addOption(kind.alone === undefined ? option : option.preset(kind.alone))
  }
  command.option(
    '--config <file>',
    `configuration file (default: /etc/cairn/${daemon.name}.toml, if it is there)`,
  )
  command.addOption(new Option('--no-config', 'read no configuration file'))
  return command
}

function describe({ env, setting }: Named): string {
  const { meaning } = setting
  return `${meaning.charAt(0).toLowerCase()}${meaning.slice(1)} (${whenUnset(setting)}${env})`
}

function whenUnset({ required, otherwise, ...setting }: Named['setting']): string {
  if (required === true) return 'required; '
  if (otherwise !== undefined) return `default: ${otherwise}; `
  if (setting.default === undefined) return ''
  const value = Array.isArray(setting.default)
    ? setting.default.join(',')
    : setting.kind.toToml(setting.default)
  return value === '' ? '' : `default: ${value.replaceAll('"', '')}; `
}

function parser({ setting: { kind } }: Named): (text: string) => unknown {
  return text => {
    const checked = kind.schema.safeParse(kind.fromText(text))
    if (!checked.success) throw new InvalidArgumentError(`It must be ${kind.allowed}.`)
    return checked.data
  }
}

type FlagValues = Readonly<Record<string, string | number | readonly string[] | undefined>>

/** Values of flags as an earlier parse of them had them, to hand them on to another process. */
export function flagsOf(daemon: Daemon<unknown>, values: object): string[] {
  return namedSettings(daemon as Daemon).flatMap(({ name, flag }) => {
    const value = (values as FlagValues)[name]
    if (flag === undefined || value === undefined) return []
    const text = typeof value === 'object' ? value.join(',') : String(value)
    return text === '' ? [] : [flag.split(', ').at(-1) ?? flag, text]
  })
}

/** A setting that was given as an argument, checked as a flag is. */
export function argumentOf(daemon: Daemon<unknown>, name: string, text: string): unknown {
  const named = must(
    namedSettings(daemon as Daemon).find(candidate => candidate.name === name),
    `setting ${name}`,
  )
  return fromText(named, text, `<${named.setting.argument ?? name}>`)
}

/** Of the options that commander parsed: what read-settings takes. */
export const configOf = ({ config }: ConfigFlags): string | false | undefined =>
  typeof config === 'string' ? config : config === false ? false : undefined
