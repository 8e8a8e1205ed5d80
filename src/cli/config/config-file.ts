/** Reads and checks a configuration file. */
import { readFileSync } from 'node:fs'
import { parse, TomlError } from 'smol-toml'
import { messageOf, UsageError } from '../../core/errors.ts'
import { nearestName } from './nearest-name.ts'
import { type Daemon, type Named, namedSettings } from './setting.ts'

export const configFolder = '/etc/cairn'

export const defaultConfigFile = (daemon: Daemon): string => `${configFolder}/${daemon.name}.toml`

/** Checked values by key, as far as the file sets them. */
export type FileValues = ReadonlyMap<string, unknown>

export interface ConfigFile {
  readonly path: string
  readonly top: FileValues
  /** Of `[disk.NAME]` and its like, by NAME. */
  readonly sections: ReadonlyMap<string, FileValues>
}

/** Undefined if there is none. UsageError if it cannot be read. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new UsageError(`cannot read ${path}: ${messageOf(error)}`)
  }
}

/** What the text sets, and one line for each thing that is wrong with it. */
export function checkConfig(
  daemon: Daemon,
  path: string,
  text: string,
): { readonly file: ConfigFile; readonly problems: readonly string[] } {
  const problems: string[] = []
  const sections = new Map<string, FileValues>()
  let document: Record<string, unknown>
  try {
    document = parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const [what = ''] = error.message.replace(/^Invalid TOML document: /, '').split('\n')
    problems.push(`${path}, line ${error.line}, column ${error.column}: ${what}`)
    return { file: { path, top: new Map(), sections }, problems }
  }
  const known = namedSettings(daemon)
  const { section } = daemon
  const top = new Map<string, unknown>()
  for (const [key, value] of Object.entries(document)) {
    if (section === undefined || key !== section.name) {
      checkValue(path, '', key, value, known, section?.name, top, problems)
      continue
    }
    if (!isTable(value)) {
      problems.push(
        `${path}: ${key} = ${shown(value)}: must be tables, such as [${key}.${exampleOf(daemon)}]`,
      )
      continue
    }
    for (const [name, table] of Object.entries(value)) {
      const where = `${key}.${bareOrQuoted(name)}`
      const values = new Map<string, unknown>()
      sections.set(name, values)
      if (!isTable(table)) problems.push(`${path}: ${where} = ${shown(table)}: must be a table: [${where}]`)
      else
        for (const [inner, of] of Object.entries(table))
          checkValue(path, `${where}.`, inner, of, known, undefined, values, problems)
    }
  }
  return { file: { path, top, sections }, problems }
}

function checkValue(
  path: string,
  where: string,
  key: string,
  value: unknown,
  known: readonly Named[],
  section: string | undefined,
  values: Map<string, unknown>,
  problems: string[],
): void {
  const named = known.find(candidate => candidate.key === key)
  if (named === undefined) {
    const names = known.map(candidate => candidate.key)
    const meant = nearestName(key.replaceAll('-', '_'), section === undefined ? names : [...names, section])
    const hint = meant === undefined ? `known are ${names.join(', ')}` : `did you mean ${meant}?`
    problems.push(`${path}: ${where}${key}: there is no such setting; ${hint}`)
    return
  }
  const checked = named.setting.kind.schema.safeParse(value)
  if (checked.success) values.set(key, checked.data)
  else problems.push(`${path}: ${where}${key} = ${refusal(named, value)}`)
}

/** A value and what it should be: the end of every message about one. */
export function refusal({ setting }: Named, value: unknown): string {
  return `${setting.secret === true ? '(hidden)' : shown(value)}: must be ${setting.kind.allowed}`
}

const shownMax = 80

function shown(value: unknown): string {
  if (isTable(value)) return '{…}'
  const text = typeof value === 'bigint' ? value.toString() : JSON.stringify(value)
  return text.length <= shownMax ? text : `${text.slice(0, shownMax)}…`
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** A key of TOML. */
export function bareOrQuoted(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name)
}

const exampleOf = (daemon: Daemon): string =>
  bareOrQuoted(Object.keys(daemon.section?.examples ?? {})[0] ?? '')
