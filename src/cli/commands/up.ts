import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { parseAddress } from '../../core/address.ts'
import { messageOf, UsageError } from '../../core/errors.ts'
import { makeFolder } from '../../service/make-folder.ts'
import { LocalLayout } from '../local/layout.ts'
import { awaitReadiness, readyEnvironment, reportReadiness } from '../local/ready.ts'
import { type LocalCluster, startLocalCluster } from '../local/supervisor.ts'
import { needRoot } from '../need-root.ts'
import { print, printJson } from '../output.ts'

interface Options {
  readonly dir: string
  readonly chunkservers?: number
  readonly mount?: string
  readonly options?: string
  readonly shortCircuit: boolean
  /** HOST:PORT; true: on the usual port of this machine. */
  readonly console?: string | true
  readonly detach?: boolean
  readonly json?: boolean
}

/** What the example of the configuration shows, too. */
const consoleAddress = '127.0.0.1:9480'

export const programFile = fileURLToPath(new URL('../cairn.js', import.meta.url))

export function registerUp(
  program: Command,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  program
    .command('up')
    .description('run a whole cluster on this machine: a master, chunkservers, and a mount')
    .requiredOption('--dir <dir>', 'folder for its data, made if missing')
    .option(
      '--chunkservers <n>',
      'how many (default: as last time, else 3)',
      wholeNumber('--chunkservers', 1, 64),
    )
    .option('--mount <path>', 'mount the file system here')
    .option('-o, --options <list>', 'mount options, as of cairn mount')
    .option('--no-short-circuit', 'have the mount read all data over the network, as from other machines')
    .option(
      '--console [host:port]',
      `serve a page for browsers about the cluster (default address: ${consoleAddress})`,
    )
    .option('--detach', 'return when it is usable, and leave it running')
    .option('--json', 'print the result as JSON (with --detach)')
    .action(async (options: Options) => {
      if (options.mount !== undefined) needRoot(', or leave out --mount')
      consoleOf(options)
      await (options.detach === true ? detach(options) : foreground(options))
    })
}

async function foreground(options: Options): Promise<void> {
  const layout = new LocalLayout(options.dir)
  const stopping = new Promise<string>(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => {
        resolve(signal)
      })
  })
  let cluster: LocalCluster
  try {
    cluster = await startLocalCluster(layout, programFile, {
      chunkservers: options.chunkservers,
      mount: options.mount,
      mountOptions: options.options,
      shortCircuit: options.shortCircuit,
      console: consoleOf(options),
    })
  } catch (error) {
    reportReadiness({ ready: false, error: messageOf(error) })
    throw error
  }
  reportReadiness({ ready: true, pid: process.pid, address: cluster.master })
  greet(layout, cluster, consoleOf(options))
  const reason = await Promise.race([stopping.then(() => undefined), cluster.failed])
  if (reason !== undefined) {
    // The rest of the cluster goes on: a file system with a node missing is degraded, not gone.
    print(reason)
    await stopping
  }
  print(cluster.mount === undefined ? 'Stopping…' : 'Writing back and stopping…')
  const loss = await cluster.stop(print)
  if (loss !== undefined) {
    process.stderr.write(`cairn: stopped, but ${loss}\n`)
    process.exit(1)
  }
  print('Stopped. The files are kept; start again with the same command.')
  process.exit(0)
}

function consoleOf({ console }: Options): string | undefined {
  const address = console === true ? consoleAddress : console
  if (address !== undefined && parseAddress(address) === undefined)
    throw new UsageError(`--console must be HOST:PORT, such as ${consoleAddress}`)
  return address
}

function greet(layout: LocalLayout, cluster: LocalCluster, console: string | undefined): void {
  print(
    `Cairn is running. Master ${cluster.master}, data in ${layout.dir}, logs in ${path.join(layout.dir, 'logs')}`,
  )
  if (console !== undefined) print(`The console is on  http://${console}/`)
  if (cluster.mount !== undefined) {
    print(`Files are in  ${cluster.mount}`)
    print('Try, in another terminal:')
    print(`  cp -r /usr/share/doc ${cluster.mount}/ && ls ${cluster.mount}/doc | head`)
    print(`  node dist/cli/cairn.js info ${cluster.mount}/doc`)
  }
  print(`  node dist/cli/cairn.js status --dir ${layout.dir}`)
  print('Ctrl-C stops it.')
}

/** Runs the foreground form in a session of its own, and waits for its word. */
async function detach(options: Options): Promise<void> {
  const layout = new LocalLayout(options.dir)
  const logFile = layout.log('up')
  makeFolder(path.dirname(logFile))
  let log: number
  try {
    log = openSync(logFile, 'a')
  } catch (error) {
    throw new UsageError(`cannot use ${layout.dir} for a cluster: ${messageOf(error)}`)
  }
  const args = ['up', '--dir', layout.dir]
  if (options.chunkservers !== undefined) args.push('--chunkservers', String(options.chunkservers))
  if (options.mount !== undefined) args.push('--mount', path.resolve(options.mount))
  if (options.options !== undefined) args.push('-o', options.options)
  if (!options.shortCircuit) args.push('--no-short-circuit')
  const console = consoleOf(options)
  if (console !== undefined) args.push('--console', console)
  const child = spawn(process.execPath, [...process.execArgv, programFile, ...args], {
    detached: true,
    stdio: ['ignore', log, log, 'pipe'],
    env: { ...process.env, ...readyEnvironment },
  })
  closeSync(log)
  const readiness = await awaitReadiness(child.stdio[3] as Readable, 'cairn up')
  if (!readiness.ready) throw new UsageError(readiness.error)
  child.unref()
  const master = readiness.address ?? ''
  const mount = options.mount === undefined ? undefined : path.resolve(options.mount)
  if (options.json === true) printJson({ pid: child.pid, dir: layout.dir, master, mount, console })
  else {
    print(`Cairn is running (process ${String(child.pid)}). Master ${master}`)
    if (mount !== undefined) print(`Files are in  ${mount}`)
    if (console !== undefined) print(`The console is on  http://${console}/`)
    print(`Stop it with  cairn down --dir ${layout.dir}`)
  }
  process.exit(0)
}
