import path from 'node:path'
import { Argument, type Command } from 'commander'
import { UsageError } from '../../core/errors.ts'
import { checkConfig, configFolder, readText } from '../config/config-file.ts'
import { exampleFile, referencePage } from '../config/config-text.ts'
import { daemons } from '../config/daemons.ts'
import { resolveSettings, type Sourced } from '../config/read-settings.ts'
import type { Daemon } from '../config/setting.ts'
import { print, printJson, printTable } from '../output.ts'

const names = daemons.map(daemon => daemon.name)
const daemonArgument = new Argument('<daemon>', 'which daemon').choices(names)

export function registerConfig(program: Command): void {
  const config = program.command('config').description('check and show the configuration of the daemons')
  registerCheck(config)
  registerShow(config)
  config
    .command('example')
    .description('print an annotated example file')
    .addArgument(daemonArgument)
    .action((name: string) => {
      process.stdout.write(exampleFile(daemonOf(name)))
    })
  config
    .command('reference', { hidden: true })
    .description('print docs/configuration.md')
    .action(() => {
      process.stdout.write(referencePage(daemons))
    })
}

interface Checked {
  readonly file: string
  readonly daemon: string
  readonly problems: readonly string[]
}

function registerCheck(config: Command): void {
  config
    .command('check')
    .description(`check configuration files (default: those in ${configFolder})`)
    .argument('[file]', 'named after its daemon, such as master.toml, unless --daemon says whose it is')
    .option('--daemon <name>', `whose file it is: ${names.join(', ')}`)
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExit code 0 if all is well, 2 if something is wrong.')
    .action((file: string | undefined, options: { daemon?: string; json?: boolean }) => {
      const checked = file === undefined ? checkAll() : [checkOne(file, options.daemon)]
      if (options.json === true) printJson(checked)
      else
        for (const one of checked) {
          for (const problem of one.problems) process.stderr.write(`cairn: ${problem}\n`)
          if (one.problems.length === 0) print(`${one.file}: ok`)
        }
      if (checked.some(({ problems }) => problems.length > 0)) process.exitCode = 2
    })
}

function checkAll(): Checked[] {
  const found = daemons.flatMap(daemon => {
    const file = path.join(configFolder, `${daemon.name}.toml`)
    const text = readText(file)
    return text === undefined
      ? []
      : [{ file, daemon: daemon.name, problems: checkConfig(daemon, file, text).problems }]
  })
  if (found.length === 0) throw new UsageError(`there is no configuration in ${configFolder}: name a file`)
  return found
}

function checkOne(file: string, given: string | undefined): Checked {
  const text = readText(file)
  if (text === undefined) throw new UsageError(`there is no file ${file}`)
  const daemon = daemonOf(given ?? path.basename(file, '.toml'), `; say whose it is with --daemon NAME`)
  return { file, daemon: daemon.name, problems: checkConfig(daemon, file, text).problems }
}

function daemonOf(name: string, hint = ''): Daemon {
  const found = daemons.find(daemon => daemon.name === name)
  if (found === undefined)
    throw new UsageError(`there is no daemon ${name}: there are ${names.join(', ')}${hint}`)
  return found
}

interface ShowOptions {
  readonly config?: string
  readonly disk?: string
  readonly path?: string
  readonly json?: boolean
}

function registerShow(config: Command): void {
  config
    .command('show')
    .description('what a daemon would run with, and where each setting comes from')
    .addArgument(daemonArgument)
    .option('--config <file>', 'another configuration file')
    .option('--disk <name>', 'of the chunkserver of this [disk.NAME]')
    .option('--path <path>', 'of the mount on this path')
    .option('--json', 'print it as JSON')
    .action((name: string, options: ShowOptions) => {
      const section = name === 'chunkserver' ? options.disk : name === 'mount' ? options.path : undefined
      const settings = shownSettings(daemonOf(name), { config: options.config, section })
      if (options.json === true) printJson(settings)
      else
        printTable(
          ['Setting', 'Value', 'From'],
          settings.map(({ setting, value, from }) => [
            setting,
            value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value),
            from,
          ]),
        )
    })
}

export interface ShownSetting {
  readonly setting: string
  readonly value: unknown
  readonly from: string
}

/** What `cairn config show` and `cairn doctor` may tell: secrets are hidden. */
export function shownSettings(
  daemon: Daemon,
  which: { readonly config?: string | undefined; readonly section?: string | undefined },
): ShownSetting[] {
  return resolveSettings(daemon, {
    ...which,
    sectionOptional: daemon.name === 'mount',
    env: process.env,
    flags: {},
    warn: line => process.stderr.write(`cairn: ${line}\n`),
  }).map(shown)
}

function shown({ named: { key, setting }, value, from }: Sourced): ShownSetting {
  return { setting: key, value: setting.secret === true && value !== undefined ? '(hidden)' : value, from }
}
