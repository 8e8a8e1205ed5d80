import { type Command, InvalidArgumentError } from 'commander'
import { parseAddress } from '../core/address.ts'
import { UsageError } from '../core/errors.ts'
import { defaultFolder } from './identity-folders.ts'
import { LocalLayout } from './local/layout.ts'

export interface ClusterOptions {
  readonly master?: string
  readonly dir?: string
  /** A folder, or off. */
  readonly identity?: string
}

/** A commander argument parser for where something serves: a port is needed, and 0 is none. */
export function peerAddress(text: string): string {
  if ((parseAddress(text)?.port ?? 0) === 0)
    throw new InvalidArgumentError('must be HOST:PORT, with a port from 1 to 65535.')
  return text
}

/** Adds the ways to say which cluster is meant. */
export function withCluster(command: Command): Command {
  return withIdentity(
    command
      .option('--master <host:port>', 'address of the master (or CAIRN_MASTER)', peerAddress)
      .option('--dir <dir>', 'the local cluster that cairn up runs in this folder'),
  )
}

/** Adds the option of a command that asks chunkservers themselves. */
export function withIdentity(command: Command): Command {
  return command.option(
    '--identity <dir>',
    `whose identity to come with, or off (or CAIRN_IDENTITY; default: ${defaultFolder('admin')}, if it is there)`,
  )
}

/** With whose identity to ask: undefined is the usual one, if it is there. What runs in a local folder has none. */
export function chosenIdentity({ identity, dir, master }: ClusterOptions): string | undefined {
  if (identity !== undefined) return identity
  if (dir !== undefined && master === undefined) return 'off'
  return process.env['CAIRN_IDENTITY'] || undefined
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
  if (fromEnvironment !== undefined && fromEnvironment !== '') {
    if ((parseAddress(fromEnvironment)?.port ?? 0) === 0)
      throw new UsageError(`CAIRN_MASTER is ${fromEnvironment}: it must be HOST:PORT`)
    return fromEnvironment
  }
  if (fallback !== undefined) return fallback()
  throw new UsageError('which cluster? give --master HOST:PORT, --dir DIR, or set CAIRN_MASTER')
}
