import type { Command } from 'commander'
import { wireVersion, wireVersionMin } from '../../core/limits.ts'
import { version } from '../../service/version.ts'
import { print, printJson } from '../output.ts'

/** `cairn version --json`; scripts rely on these names. */
export function versions(): object {
  return {
    version,
    protocol: { min: wireVersionMin, max: wireVersion },
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
  }
}

export function registerVersion(program: Command): void {
  program
    .command('version')
    .description('the version of this program')
    .option('--json', 'print it as JSON, with what it runs on')
    .action((options: { readonly json?: boolean }) => {
      if (options.json === true) printJson(versions())
      else print(version)
    })
}
