/** What a daemon is to run with: flags, over environment variables, over its file, over defaults. */
import { UsageError } from '../../core/errors.ts'
import {
  bareOrQuoted,
  checkConfig,
  type ConfigFile,
  defaultConfigFile,
  type FileValues,
  readText,
  refusal,
} from './config-file.ts'
import { nearestName } from './nearest-name.ts'
import { type Daemon, type Named, namedSettings, type Values } from './setting.ts'

export interface Sources {
  /** A path, false for no file, undefined for the one in /etc/cairn if it is there. */
  readonly config?: string | false | undefined
  /** Which `[disk.NAME]` or its like. */
  readonly section?: string | undefined
  /** The section may be missing. */
  readonly sectionOptional?: boolean
  readonly env: NodeJS.ProcessEnv
  /** Checked values of flags and arguments, by the setting's name in code. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly warn: (line: string) => void
}

export interface Sourced {
  readonly named: Named
  readonly value: unknown
  /** In words: `--listen`, `CAIRN_MASTER_LISTEN`, a file's path, `default`. */
  readonly from: string
}

/** Every setting with its value and where that comes from; undefined is not set. UsageError for what is wrong. */
export function resolveSettings(daemon: Daemon, sources: Sources): Sourced[] {
  const known = namedSettings(daemon)
  const file = readConfig(daemon, sources)
  const section = sectionOf(daemon, file, sources)
  warnOfUnknown(daemon, known, sources)
  return known.map(named => {
    const { key, env, name, flag, setting } = named
    const flagged = sources.flags[name]
    if (flagged !== undefined) return { named, value: flagged, from: flag ?? `<${setting.argument ?? name}>` }
    const text = sources.env[env]
    if (text !== undefined && text !== '') return { named, value: fromText(named, text, env), from: env }
    if (file !== undefined && section?.has(key) === true)
      return {
        named,
        value: section.get(key),
        from: `${file.path} [${daemon.section?.name ?? ''}.${bareOrQuoted(sources.section ?? '')}]`,
      }
    if (file?.top.has(key) === true) return { named, value: file.top.get(key), from: file.path }
    return { named, value: setting.default, from: setting.default === undefined ? 'not set' : 'default' }
  })
}

/** As resolveSettings, as an object; UsageError if a required one is missing. */
export function readSettings<S>(daemon: Daemon<S>, sources: Sources): Values<S> {
  const anyDaemon = daemon as unknown as Daemon
  const resolved = resolveSettings(anyDaemon, sources)
  for (const { named, value } of resolved)
    if (named.setting.required === true && value === undefined) throw missing(anyDaemon, named, sources)
  return Object.fromEntries(resolved.map(({ named, value }) => [named.name, value])) as unknown as Values<S>
}

function readConfig(daemon: Daemon, { config }: Sources): ConfigFile | undefined {
  if (config === false) return undefined
  const path = config ?? defaultConfigFile(daemon)
  const text = readText(path)
  if (text === undefined) {
    if (config === undefined) return undefined
    throw new UsageError(`there is no configuration file ${path}`)
  }
  const { file, problems } = checkConfig(daemon, path, text)
  const [first, ...more] = problems
  if (first === undefined) return file
  throw new UsageError(
    more.length === 0 ? first : `${first} (and ${more.length} more: cairn config check ${path})`,
  )
}

function sectionOf(
  daemon: Daemon,
  file: ConfigFile | undefined,
  { section, sectionOptional }: Sources,
): FileValues | undefined {
  if (section === undefined) return undefined
  const found = file?.sections.get(section)
  if (found !== undefined || sectionOptional === true) return found
  const name = daemon.section?.name ?? ''
  if (file === undefined)
    throw new UsageError(`there is no file ${defaultConfigFile(daemon)} with a [${name}.${section}]`)
  const names = [...file.sections.keys()]
  const meant = nearestName(section, names)
  const hint =
    meant !== undefined
      ? `did you mean ${meant}?`
      : names.length === 0
        ? 'it has none'
        : `it has ${names.join(', ')}`
  throw new UsageError(`${file.path}: there is no [${name}.${bareOrQuoted(section)}]; ${hint}`)
}

/** A variable's text as a value. */
export function fromText(named: Named, text: string, where: string): unknown {
  const checked = named.setting.kind.schema.safeParse(named.setting.kind.fromText(text))
  if (checked.success) return checked.data
  throw new UsageError(`${where} = ${refusal(named, text)}`)
}

/** Only a warning: whoever sets a daemon's environment may have variables of other programs in it. */
function warnOfUnknown(daemon: Daemon, known: readonly Named[], { env, warn }: Sources): void {
  const prefix = `CAIRN_${daemon.name}_`.toUpperCase()
  const names = known.map(named => named.env)
  for (const name of Object.keys(env)) {
    if (!name.startsWith(prefix) || names.includes(name)) continue
    const meant = nearestName(name, names)
    if (meant !== undefined) warn(`${name} is no setting of cairn ${daemon.name}; did you mean ${meant}?`)
  }
}

function missing(daemon: Daemon, { key, env, flag, setting }: Named, { config }: Sources): UsageError {
  const given = flag === undefined ? `<${setting.argument ?? key}>` : `${flag} <${setting.kind.placeholder}>`
  const file = config === false ? '' : `, or ${key} in ${config ?? defaultConfigFile(daemon)}`
  return new UsageError(`${key} is not set: give ${given}, ${env}${file}`)
}
