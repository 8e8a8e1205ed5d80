/**
 * Gives a mount to another process, which may be of another version, without unmounting it:
 *
 *   serving ─► successor starts, and is prepared ─► no more requests are read; what is under way is answered, what was
 *      ▲         written is stored ─► quiet: the session is left ─► state sent ─► successor has the session ─► go
 *      └────────────────── whatever fails on the way: the successor is killed, this process goes on
 *
 * Programs wait from the stop to the word to go. Until that, the successor gives nothing back and answers nothing, so
 * that this process can go on as if it had not been; after it, this process does nothing any more.
 */
import { spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import type { Files } from '../../client/files.ts'
import type { Session, SessionState } from '../../client/session/session.ts'
import type { Env } from '../../core/env.ts'
import { messageOf, UsageError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { FuseDriver } from '../../fuse/driver.ts'
import { processStart } from '../local/layout.ts'
import { LineChannel } from './line-channel.ts'
import { handoverFormat, type MountTerms, type Said, type Word } from './messages.ts'
import { channelFd, handoverEnvironment } from './descriptors.ts'

/** Until a program of Node on a busy machine has loaded everything. */
const preparedMs = 60 * second
/** More than it tries to reach the master. */
const takenMs = 30 * second
/** Programs wait for so long at most, then for longer, until it is given up. */
const pausesMs = [1 * second, 2 * second, 4 * second, 8 * second]
const betweenPausesMs = 1 * second
const lookEveryMs = 5
const storeEveryMs = 100

export interface Program {
  readonly node: string
  readonly nodeOptions: readonly string[]
  readonly file: string
}

/** A mount that is served by this process. */
export interface ServedMount {
  readonly terms: MountTerms
  readonly driver: FuseDriver
  readonly session: Session
  readonly files: Files
}

export interface Successor {
  readonly pid: number
  readonly program: string
  /** Since when, on the clock, programs wait. */
  readonly pausedAt: number
  /** It serves from now on. */
  go(): Promise<void>
}

/** Resolves when a successor is ready to go. UsageError if there is none, and then this process goes on with the mount. */
export async function handOver(mount: ServedMount, program: Program, env: Env): Promise<Successor> {
  const successor = await start(mount, program)
  const { pid, channel } = successor
  let left: SessionState | undefined
  let paused = false
  try {
    const prepared = await hear(channel, 'prepared', preparedMs, env)
    if (prepared.format !== handoverFormat)
      throw new Error(
        `it is ${prepared.program}, whose handover is of format ${prepared.format}, and this is ${handoverFormat}`,
      )
    const pausedAt = await pauseWhenQuiet(mount, env)
    paused = true
    left = mount.session.suspend()
    const state = { terms: mount.terms, session: left, files: mount.files.state, driver: mount.driver.state }
    await channel.say({ say: 'state', state })
    await hear(channel, 'taken', takenMs, env)
    return { pid, program: prepared.program, pausedAt, go: () => channel.say({ say: 'go' }) }
  } catch (thrown) {
    await kill(successor, env)
    channel.close()
    if (left !== undefined) mount.session.resume()
    if (paused) mount.driver.resume()
    throw new UsageError(
      `the mount goes on as it was, since another process could not take it: ${messageOf(thrown)}`,
    )
  }
}

/**
 * By way of a shell that ends at once: so it is the child of whoever takes orphans in, which of a unit is systemd. Of
 * another process's child systemd would not wait for the end, but kill it.
 */
const launcher = '"$@" >&2 & echo $!'

interface Started {
  readonly pid: number
  /** To tell it from another process with the same number later. */
  readonly since: string | undefined
  readonly channel: LineChannel
}

/** Runs the same command line as this process was started with. */
async function start({ driver }: ServedMount, { node, nodeOptions, file }: Program): Promise<Started> {
  const environment: NodeJS.ProcessEnv = { ...process.env, ...handoverEnvironment }
  // It is not this process that is to be pinged.
  delete environment['WATCHDOG_PID']
  const command = [node, ...nodeOptions, file, ...process.argv.slice(2)]
  const shell = spawn('/bin/sh', ['-c', launcher, 'cairn-successor', ...command], {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit', 'pipe', driver.deviceFd],
    env: environment,
  })
  const said: Buffer[] = []
  shell.stdout?.on('data', (piece: Buffer) => said.push(piece))
  await new Promise<void>((resolve, reject) => {
    shell.once('error', reject)
    shell.stdout?.once('end', resolve)
  })
  const pid = Number(Buffer.concat(said).toString('latin1').trim())
  if (!(pid > 0)) throw new UsageError(`no other process can be started: this one's log says why`)
  return { pid, since: processStart(pid), channel: new LineChannel(shell.stdio[channelFd] as Duplex) }
}

async function hear<W extends Word>(
  channel: LineChannel,
  expected: W,
  patienceMs: number,
  { timers }: Env,
): Promise<Said<W>> {
  const heard = channel.hear(expected)
  heard.catch(() => undefined)
  const said = await Promise.race([heard, timers.sleep(patienceMs).then(() => 'late' as const)])
  if (said === 'late') throw new Error(`it is not '${expected}' after ${patienceMs / second} s`)
  if (said === undefined) throw new Error('it ended, and its log says why')
  return said
}

/** Resolves with when it was paused, on the clock. */
async function pauseWhenQuiet(mount: ServedMount, { timers, clock }: Env): Promise<number> {
  let why = ''
  for (const pauseMs of pausesMs) {
    const without = away(mount)
    if (without !== undefined) throw new Error(without)
    // Before programs have to wait for it.
    mount.files.settleSoon()
    await timers.sleep(storeEveryMs)
    if (!mount.driver.pause())
      throw new Error('this process cannot stop reading requests (it reads by threads)')
    const pausedAt = clock.now()
    const until = pausedAt + pauseMs
    let storedAt = Number.NEGATIVE_INFINITY
    for (;;) {
      const unrest = away(mount) ?? unrestOf(mount)
      if (unrest === undefined) return pausedAt
      why = unrest
      if (clock.now() >= until) break
      if (clock.now() - storedAt >= storeEveryMs) {
        mount.files.settleSoon()
        storedAt = clock.now()
      }
      await timers.sleep(lookEveryMs)
    }
    mount.driver.resume()
    await timers.sleep(betweenPausesMs)
  }
  throw new Error(`it does not come to rest: ${why}`)
}

function unrestOf({ driver, files }: ServedMount): string | undefined {
  const [request] = driver.unanswered
  return request === undefined ? files.unrest : `${request} is not answered yet`
}

const away = ({ session, terms }: ServedMount): string | undefined =>
  session.isAttached ? undefined : `there is no connection to the master at ${terms.master}`

async function kill({ pid, since }: Started, { timers }: Env): Promise<void> {
  if (since === undefined || processStart(pid) !== since) return
  process.kill(pid, 'SIGKILL')
  while (processStart(pid) === since) await timers.sleep(lookEveryMs)
}
