/** The texts that are made of the settings: the annotated example files and the reference page. */
import { bareOrQuoted, defaultConfigFile } from './config-file.ts'
import { type Daemon, type Named, namedSettings } from './setting.ts'

const width = 100

/** The example file of a daemon, which the package installs. */
export function exampleFile(daemon: Daemon): string {
  const lines = [
    ...comment(`Configuration of ${daemon.summary} (${defaultConfigFile(daemon)}).`),
    ...comment(
      'What is commented out is the default, or an example where there is none. Flags and environment variables ' +
        `go before what is here; cairn config check tells what is wrong with it. All of it: docs/configuration.md.`,
    ),
  ]
  const { section } = daemon
  const perSection = new Set(Object.values(section?.examples ?? {}).flatMap(values => Object.keys(values)))
  const required = new Set(
    namedSettings(daemon)
      .filter(({ setting }) => setting.required === true)
      .map(n => n.key),
  )
  for (const named of namedSettings(daemon)) {
    // What every section has its own of is set there.
    const inSections = section?.name === 'disk' && perSection.has(named.key)
    lines.push('', ...comment(sentence(named)), ...assignment(named, inSections))
  }
  if (section !== undefined) {
    lines.push('', ...comment(`${section.meaning}. It goes before what is said above.`))
    for (const [name, values] of Object.entries(section.examples)) {
      const isSet = Object.keys(values).some(key => required.has(key))
      const mark = isSet ? '' : '#'
      lines.push('', `${mark}[${section.name}.${bareOrQuoted(name)}]`)
      for (const [key, value] of Object.entries(values))
        lines.push(`${mark}${key} = ${toml(daemon, key, value)}`)
    }
  }
  return `${lines.join('\n')}\n`
}

function assignment({ key, setting }: Named, inSections: boolean): string[] {
  const { kind, example, required, recommended } = setting
  if (inSections) return comment('Each disk has its own: see below.')
  const value =
    required === true || recommended === true || setting.default === undefined ? example : setting.default
  const isSet = required === true || recommended === true
  return [`${isSet ? '' : '#'}${key} = ${kind.toToml(value)}`]
}

function sentence({ env, setting }: Named): string {
  const { meaning, required, recommended, otherwise } = setting
  const facts = [`must be ${setting.kind.allowed}`]
  if (required === true) facts.push('required')
  else if (otherwise !== undefined) facts.push(`default: ${otherwise}`)
  else if (recommended === true && setting.default !== undefined)
    facts.push(`default: ${setting.kind.toToml(setting.default)}`)
  return `${meaning}. (${facts.join('; ')}; ${env})`
}

function toml(daemon: Daemon, key: string, value: unknown): string {
  const named = namedSettings(daemon).find(candidate => candidate.key === key)
  return named === undefined ? JSON.stringify(value) : named.setting.kind.toToml(value)
}

function comment(text: string): string[] {
  const lines: string[] = []
  let line = '#'
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > width && line !== '#') {
      lines.push(line)
      line = '#'
    }
    line += ` ${word}`
  }
  return [...lines, line]
}

/** docs/configuration.md. */
export function referencePage(daemons: readonly Daemon[]): string {
  const parts = daemons.map(daemon => {
    const rows = namedSettings(daemon).map(
      ({ key, env, flag, setting }) =>
        `| \`${key}\` | ${escape(setting.meaning)} | ${escape(setting.kind.allowed)} | ${initially(setting)} | ` +
        `\`${flag ?? `<${setting.argument ?? key}>`}\`, \`${env}\` |`,
    )
    const section =
      daemon.section === undefined
        ? []
        : [
            '',
            `\`[${daemon.section.name}.NAME]\`: ${daemon.section.meaning}. The same settings can stand in it, and go before those at the top.`,
          ]
    return [
      `## ${daemon.name}.toml`,
      '',
      `For ${daemon.summary}; \`cairn ${daemon.name}\` reads \`${defaultConfigFile(daemon)}\`.`,
      '',
      '| setting | meaning | must be | default | flag, variable |',
      '|---|---|---|---|---|',
      ...rows,
      ...section,
    ].join('\n')
  })
  return `# Configuration

<!-- Made by \`make reference\` from src/cli/config/daemons.ts: change it there. -->

Each daemon reads one TOML file, and takes the same settings as flags and as environment variables. A flag goes before a
variable, a variable before the file, and the file before the default. \`--config FILE\` names another file,
\`--no-config\` none. What is wrong (a setting that does not exist, a value of the wrong kind or out of range) is said in
one line, with exit code 2, before anything is started. \`cairn up\` and what it starts read no file.

\`\`\`sh
cairn config check                  # every file in /etc/cairn; or: cairn config check FILE
cairn config show master            # what holds, and where it comes from
cairn config example mount          # an annotated example; those of ops/config are what the package installs
\`\`\`

Bytes are numbers or texts with a unit of 1024 (\`"64KiB"\`, \`"1.5TiB"\`).

${parts.join('\n\n')}
`
}

function initially(setting: Named['setting']): string {
  if (setting.required === true) return 'none: it is required'
  if (setting.otherwise !== undefined) return setting.otherwise
  return setting.default === undefined ? 'none' : `\`${setting.kind.toToml(setting.default)}\``
}

const escape = (text: string): string => text.replaceAll('|', '\\|')
