import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { type Command, InvalidArgumentError } from 'commander'
import { messageOf, UsageError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { LogLevel } from '../../service/log.ts'
import { makeFolder } from '../../service/make-folder.ts'
import { withDaemonOptions } from '../daemon-options.ts'
import { daemonNodeOptions } from '../local/daemon-node.ts'
import { awaitReadiness, readyEnvironment } from '../local/ready.ts'
import { byteCount, print, printJson } from '../output.ts'
import { needRoot } from '../need-root.ts'
import { programFile } from './up.ts'

interface Options {
  readonly foreground?: boolean
  readonly options?: string
  readonly zone: string
  readonly wait: number
  readonly cache?: number
  readonly shortCircuit: boolean
  readonly log?: string
  readonly json?: boolean
  readonly logLevel: LogLevel
  readonly lifeline?: boolean
}

export function registerMount(program: Command): void {
  withDaemonOptions(program.command('mount'))
    .description('mount the file system; returns when it is usable')
    .argument('<host:port>', 'address of the master')
    .argument('<path>', 'an empty folder')
    .option('-f, --foreground', 'stay, and unmount on Ctrl-C')
    .option(
      '-o, --options <list>',
      'mount options, comma separated: ro, noatime, nosuid, nodev, noexec, allow_other, …',
    )
    .option('--zone <zone>', 'where this machine stands, to read from near copies', 'default')
    .option('--wait <seconds>', 'how long system calls wait for a master that is away', seconds, 60)
    .option('--cache <bytes>', 'memory for data that was read (default 96MiB)', cacheBytes)
    .option('--no-short-circuit', 'read all data over the network, also that of chunkservers on this machine')
    .option(
      '--log <file>',
      'log of the mount process (default: in /var/log/cairn, or in the state folder of the user)',
    )
    .option('--json', 'print the result as JSON')
    .action(async (master: string, target: string, options: Options) => {
      await (options.foreground === true
        ? foreground(master, target, options)
        : background(master, target, options))
    })
}

async function foreground(master: string, target: string, options: Options): Promise<void> {
  const [{ runAsDaemon }, { startMount }] = await Promise.all([
    import('../daemons/daemon.ts'),
    import('../daemons/mount.ts'),
  ])
  await runAsDaemon('mount', options, world =>
    startMount(world, {
      master,
      path: target,
      mountOptions: (options.options ?? '').split(',').filter(option => option !== ''),
      zone: options.zone,
      waitMs: options.wait * second,
      shortCircuit: options.shortCircuit,
      ...(options.cache === undefined ? {} : { cacheBytes: options.cache }),
    }),
  )
}

/** Runs the foreground form in a session of its own, and waits for its word. */
async function background(master: string, target: string, options: Options): Promise<void> {
  needRoot()
  const mountpoint = path.resolve(target)
  const logFile = options.log ?? defaultLog(mountpoint)
  const log = openLog(logFile)
  const args = [
    'mount',
    master,
    mountpoint,
    '--foreground',
    '--zone',
    options.zone,
    '--wait',
    String(options.wait),
  ]
  if (options.options !== undefined) args.push('-o', options.options)
  if (options.cache !== undefined) args.push('--cache', String(options.cache))
  if (!options.shortCircuit) args.push('--no-short-circuit')
  args.push('--log-level', options.logLevel)
  const child = spawn(process.execPath, [...process.execArgv, ...daemonNodeOptions, programFile, ...args], {
    detached: true,
    stdio: ['ignore', log, log, 'pipe'],
    env: { ...process.env, ...readyEnvironment },
  })
  closeSync(log)
  const readiness = await awaitReadiness(child.stdio[3] as Readable, 'the mount process')
  if (!readiness.ready) throw new UsageError(readiness.error)
  child.unref()
  if (options.json === true) printJson({ mount: mountpoint, master, pid: readiness.pid, log: logFile })
  else print(`${master} is mounted on ${mountpoint}`)
  process.exit(0)
}

function defaultLog(mountpoint: string): string {
  const name = `mount-${mountpoint.slice(1).replaceAll('/', '-')}.log`
  if (process.getuid?.() === 0) return path.join('/var/log/cairn', name)
  const state = process.env['XDG_STATE_HOME'] ?? path.join(os.homedir(), '.local', 'state')
  return path.join(state, 'cairn', name)
}

function openLog(file: string): number {
  try {
    makeFolder(path.dirname(file))
    return openSync(file, 'a', 0o600)
  } catch (error) {
    throw new UsageError(`cannot write the log ${file}: ${messageOf(error)} (choose another with --log)`)
  }
}

function cacheBytes(text: string): number {
  const parsed = byteCount.safeParse(text)
  if (!parsed.success) throw new InvalidArgumentError(parsed.error.issues[0]?.message ?? '')
  return parsed.data
}

function seconds(text: string): number {
  const value = Number(text)
  if (!(value >= 0)) throw new InvalidArgumentError('must be a number of seconds.')
  return value
}
