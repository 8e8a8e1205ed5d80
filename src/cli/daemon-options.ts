import { type Command, Option } from 'commander'
import { type ConfigFlags, configOf, withSettings } from './config/flags.ts'
import { readSettings } from './config/read-settings.ts'
import type { Daemon, Values } from './config/setting.ts'

export interface DaemonFlags extends ConfigFlags {
  readonly lifeline?: boolean
}

/** What every daemon takes: its settings, and what only this program gives it. */
export function withDaemonOptions(command: Command, daemon: Daemon<unknown>): Command {
  return withSettings(command, daemon).addOption(
    new Option('--lifeline', 'stop when standard input ends').hideHelp(),
  )
}

export interface Which {
  readonly section?: string | undefined
  readonly sectionOptional?: boolean
}

/** The daemon's settings from everywhere that they may be. */
export function settingsOf<S>(daemon: Daemon<S>, flags: DaemonFlags, which: Which = {}): Values<S> {
  return readSettings(daemon, {
    config: configOf(flags),
    env: process.env,
    flags: flags as Readonly<Record<string, unknown>>,
    warn: line => process.stderr.write(`cairn: ${line}\n`),
    ...which,
  })
}
