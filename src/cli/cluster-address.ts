import type { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { LocalLayout } from './local/layout.ts'

export interface ClusterOptions {
  readonly master?: string
  readonly dir?: string
}

/** Adds the ways to say which cluster is meant. */
export function withCluster(command: Command): Command {
  return command
    .option('--master <host:port>', 'address of the master (or CAIRN_MASTER)')
    .option('--dir <dir>', 'the local cluster that cairn up runs in this folder')
}

/** The master's address: --master, else --dir, else CAIRN_MASTER, else `fallback` (of the mount that a path is on). */
export function masterAddress(options: ClusterOptions, fallback?: () => string): string {
  if (options.master !== undefined) return options.master
  if (options.dir !== undefined) {
    const layout = new LocalLayout(options.dir)
    const address = layout.running()?.master
    if (address !== undefined) return address
    if (layout.read() === undefined)
      throw new UsageError(`there is no cluster in ${layout.dir}: make one with cairn up --dir`)
    throw new UsageError(
      `the cluster in ${layout.dir} is not running: start it with cairn up --dir ${layout.dir}`,
    )
  }
  const fromEnvironment = process.env['CAIRN_MASTER']
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment
  if (fallback !== undefined) return fallback()
  throw new UsageError('which cluster? give --master HOST:PORT, --dir DIR, or set CAIRN_MASTER')
}
