import { statSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { UsageError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import { makeFolder } from '../../service/make-folder.ts'
import { Child } from './child.ts'
import { type LocalLayout, type LocalState, processStart } from './layout.ts'

/** How long a part may take to write back and stop before it is killed. */
const patienceMs = 60 * second
const staggerMs = 100

export interface LocalCluster {
  readonly master: string
  readonly mount: string | undefined
  /** Resolves with the name and the way of the first part that ends by itself. */
  readonly failed: Promise<string>
  /** Unmounts (which writes back), then stops the chunkservers and the master. Tells what was not stored. */
  stop(say: (line: string) => void): Promise<string | undefined>
}

export interface UpOptions {
  readonly chunkservers: number | undefined
  readonly mount: string | undefined
  readonly mountOptions: string | undefined
  readonly shortCircuit: boolean
  /** Where the master serves the console; undefined: nowhere. */
  readonly console: string | undefined
}

/** Starts, or starts again, every part of a cluster on this machine. What fails stops what was started. */
export async function startLocalCluster(
  layout: LocalLayout,
  program: string,
  options: UpOptions,
): Promise<LocalCluster> {
  const running = layout.running()
  if (running !== undefined)
    throw new UsageError(
      `${layout.dir} is running already (process ${String(running.pid)}): stop it with cairn down --dir ${layout.dir}`,
    )
  const before = layout.read()
  const chunkservers = options.chunkservers ?? before?.chunkservers ?? 3
  if (before !== undefined && chunkservers < before.chunkservers)
    throw new UsageError(
      `${layout.dir} has ${String(before.chunkservers)} chunkservers, ${String(chunkservers)} would leave some of its data out`,
    )
  const mount = options.mount === undefined ? undefined : path.resolve(options.mount)
  layout.write({ ...before, version: 1, chunkservers })

  const children: Child[] = []
  const stop = async (say: (line: string) => void) => {
    // The mount first, since what it writes back needs the rest; then the nodes, the master last.
    const mounts = children.filter(child => child.name === 'mount')
    const nodes = children.filter(child => child.name.startsWith('chunkserver'))
    const masters = children.filter(child => child.name === 'master')
    let loss: string | undefined
    for (const group of [mounts, nodes, masters])
      await Promise.all(
        group.map(async child => {
          const how = await child.stop(patienceMs)
          if (how === 'killed')
            say(`${child.name} did not stop in ${String(patienceMs / second)} s and was killed`)
          if (child.name === 'mount' && how !== 'stopped')
            loss = `not everything written last could be stored: see ${layout.log(child.name)}`
        }),
      )
    layout.noteLoss(loss)
    layout.setRunning(undefined)
    return loss
  }
  try {
    const master = await startMaster(layout, program, before, chunkservers, options.console)
    children.push(master)
    const starts = Array.from({ length: chunkservers }, async (_, index) => {
      // A little apart, so that on a first start the nodes' numbers follow the folders'.
      await sleep(index * staggerMs)
      children.push(await startChunkserver(layout, program, master.address, index + 1))
    })
    // It can be mounted before the nodes are there: what needs them waits.
    if (mount !== undefined)
      starts.push(
        startMount(layout, program, master.address, mount, options).then(child => void children.push(child)),
      )
    const failures = (await Promise.allSettled(starts)).filter(start => start.status === 'rejected')
    if (failures[0] !== undefined) throw failures[0].reason
    const state: LocalState = { version: 1, chunkservers, master: master.address }
    layout.write(mount === undefined ? state : { ...state, mount })
    layout.setRunning({
      pid: process.pid,
      started: processStart(process.pid) ?? '',
      master: master.address,
      ...(mount === undefined ? {} : { mount }),
    })
    const failed = Promise.race(
      children.map(async child => `${child.name} (process ${String(child.pid)}) ended: ${await child.ended}`),
    )
    return { master: master.address, mount, failed, stop }
  } catch (error) {
    await stop(() => undefined)
    throw error
  }
}

async function startMaster(
  layout: LocalLayout,
  program: string,
  before: LocalState | undefined,
  chunkservers: number,
  console: string | undefined,
): Promise<Child> {
  const extra = console === undefined ? [] : ['--console', console]
  const start = (listen: string) =>
    Child.start(
      'master',
      program,
      'master',
      [
        ...['--data', layout.master, '--listen', listen],
        ...['--copies', String(Math.min(3, chunkservers)), ...extra],
      ],
      layout.log('master'),
    )
  const last = before?.master
  if (last === undefined) return start('127.0.0.1:0')
  try {
    return await start(last)
  } catch (error) {
    // The port of last time may have been taken meanwhile; everything here is told the new one.
    if (error instanceof UsageError && /in use/.test(error.message) && !/console/.test(error.message))
      return start('127.0.0.1:0')
    throw error
  }
}

function startChunkserver(
  layout: LocalLayout,
  program: string,
  master: string,
  number: number,
): Promise<Child> {
  const name = `chunkserver-${String(number)}`
  const args = ['--data', layout.chunkserver(number), '--master', master, '--listen', '127.0.0.1:0']
  return Child.start(name, program, 'chunkserver', args, layout.log(name))
}

function startMount(
  layout: LocalLayout,
  program: string,
  master: string,
  mount: string,
  options: UpOptions,
): Promise<Child> {
  if (isAbsent(mount)) makeFolder(mount)
  const extra = options.mountOptions === undefined ? [] : ['-o', options.mountOptions]
  if (!options.shortCircuit) extra.push('--short-circuit', 'off')
  return Child.start(
    'mount',
    program,
    'mount',
    [master, mount, '--foreground', ...extra],
    layout.log('mount'),
  )
}

/** A mount point whose mount is dead is there (ENOTCONN): the mount process clears it. */
function isAbsent(file: string): boolean {
  try {
    return statSync(file, { throwIfNoEntry: false }) === undefined
  } catch {
    return false
  }
}
