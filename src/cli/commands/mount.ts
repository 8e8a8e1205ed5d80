import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Readable } from 'node:stream'
import type { Command } from 'commander'
import { messageOf, UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import { second } from '../../core/units.ts'
import { makeFolder } from '../../service/make-folder.ts'
import { type MountSettings, mountDaemon } from '../config/daemons.ts'
import { argumentOf, flagsOf } from '../config/flags.ts'
import { type DaemonFlags, settingsOf, withDaemonOptions } from '../daemon-options.ts'
import { environmentOf, nodeOptionsOf } from '../local/daemon-node.ts'
import { TakeOver } from '../handover/take-over.ts'
import { askMount } from '../local/mount-control.ts'
import { MountRegistry } from '../local/mount-registry.ts'
import { isAutomountPoint, mountAt } from '../mounts.ts'
import { awaitReadiness, readyEnvironment } from '../local/ready.ts'
import { print, printJson } from '../output.ts'
import { defaultFolder } from '../identity-folders.ts'
import { IdentityFolder } from '../../wire/tls/identity-folder.ts'
import { join } from './identity.ts'
import { registerMountAdmin } from './mount-admin.ts'
import { needRoot } from '../need-root.ts'
import { programFile } from './up.ts'

interface Flags extends DaemonFlags {
  readonly foreground?: boolean
  readonly json?: boolean
  readonly replace?: boolean
  readonly token?: string
}

export function registerMount(program: Command, network: () => Promise<Network>): void {
  const mount = withDaemonOptions(program.command('mount'), mountDaemon)
    .description('mount the file system; returns when it is usable')
    .usage('[options] [host:port] <path>')
    .argument('[host:port]', 'address of the master (or master in the configuration file, or CAIRN_MASTER)')
    .argument('[path]', 'an empty folder (./ls for one that is called as a command)')
    .option('-f, --foreground', 'stay, and unmount on Ctrl-C')
    .option(
      '--token <token>',
      'join first, if this machine has no identity yet (or CAIRN_TOKEN, which ps does not show)',
    )
    .option(
      '--replace',
      'serve the mount at <path> by this version of the program from now on, without unmounting it',
    )
    .option('--json', 'print the result as JSON')
    .action(async (first: string | undefined, second: string | undefined, flags: Flags) => {
      const target = second ?? first
      if (target === undefined) throw new UsageError('where? give the path of an empty folder')
      const mountpoint = path.resolve(target)
      if (flags.replace === true) {
        if (second !== undefined)
          throw new UsageError('--replace goes on with the settings that it has: give the path alone')
        await replace(mountpoint, flags)
        return
      }
      const given =
        second === undefined || first === undefined
          ? flags
          : { ...flags, master: argumentOf(mountDaemon, 'master', first) }
      const settings = settingsOf(mountDaemon, given, { section: mountpoint, sectionOptional: true })
      await joinIfStranger(settings, flags)
      await (flags.foreground === true
        ? foreground(mountpoint, settings, flags)
        : background(mountpoint, settings, flags))
    })
  registerMountAdmin(mount, network)
}

/** A token that is given again and again, as from fstab, is used once. */
async function joinIfStranger({ master, identity }: MountSettings, { token }: Flags): Promise<void> {
  const given = token ?? process.env['CAIRN_TOKEN'] ?? ''
  // It is not for the mount process that goes on.
  delete process.env['CAIRN_TOKEN']
  if (given === '') return
  if (identity === 'off') throw new UsageError('a token is of no use with --identity off')
  const folder = identity ?? defaultFolder('mount')
  if (!new IdentityFolder(folder).isThere) await join(master, { token: given, identity: folder })
}

async function foreground(mountpoint: string, settings: MountSettings, flags: Flags): Promise<void> {
  const [{ runAsDaemon }, { startMount }] = await Promise.all([
    import('../daemons/daemon.ts'),
    import('../daemons/mount.ts'),
  ])
  const takesOver = TakeOver.begun()
  await runAsDaemon('mount', { ...settings, lifeline: flags.lifeline, takesOver }, world =>
    startMount(
      world,
      {
        master: settings.master,
        path: mountpoint,
        mountOptions: settings.options,
        zone: settings.zone,
        export: settings.export,
        waitMs: settings.wait * second,
        shortCircuit: settings.shortCircuit === 'on',
        driver: settings.driver,
        busyPollMicros: settings.busyPoll,
        observed: settings.metrics !== 'off',
        slowMs: settings.slow * second,
        supervised: flags.lifeline === true,
        ...(settings.cache === undefined ? {} : { cacheBytes: settings.cache }),
      },
      takesOver,
    ),
  )
}

/** Has the process that serves the mount leave it to one of this program, while programs have files open on it. */
async function replace(mountpoint: string, flags: Flags): Promise<void> {
  const mount = mountAt(mountpoint)
  if (mount === undefined) throw new UsageError(`${mountpoint} is not a Cairn mount`)
  const owner = new MountRegistry().find(mount.device)
  if (owner === undefined)
    throw new UsageError(`it is not known which process serves ${mountpoint}: unmount it, and mount it anew`)
  const { pid, program } = await askMount(owner.pid, {
    do: 'replace',
    node: process.execPath,
    nodeOptions: [
      ...process.execArgv.filter(option => !nodeOptionsOf('mount').includes(option)),
      ...nodeOptionsOf('mount'),
    ],
    file: programFile,
  })
  if (flags.json === true) printJson({ mount: mountpoint, pid, program, before: owner.pid })
  else print(`${mountpoint} is served by process ${String(pid)} now, version ${program}`)
}

/** Runs the foreground form in a session of its own where it can, and waits for its word. */
async function background(mountpoint: string, settings: MountSettings, flags: Flags): Promise<void> {
  needRoot()
  const { master } = settings
  const logFile = settings.log ?? defaultLog(mountpoint)
  const log = openLog(logFile)
  const args = ['mount', master, mountpoint, '--foreground', '--no-config', ...flagsOf(mountDaemon, settings)]
  const child = spawn(
    process.execPath,
    [...process.execArgv, ...nodeOptionsOf('mount'), programFile, ...args],
    {
      // A process group of its own, safe from Ctrl-C, would wait there for the mount that it is to make.
      detached: !isAutomountPoint(mountpoint),
      stdio: ['ignore', log, log, 'pipe'],
      env: { ...environmentOf.mount, ...process.env, ...readyEnvironment },
    },
  )
  closeSync(log)
  const readiness = await awaitReadiness(child.stdio[3] as Readable, 'the mount process')
  if (!readiness.ready) throw new UsageError(readiness.error)
  child.unref()
  if (flags.json === true) printJson({ mount: mountpoint, master, pid: readiness.pid, log: logFile })
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
