import { setTimeout as sleep } from 'node:timers/promises'
import type { Env, Log } from '../../core/env.ts'
import { messageOf } from '../../core/errors.ts'
import { realEnv } from '../../env/real-env.ts'
import { FolderLock } from '../../service/folder-lock.ts'
import { type LogFormat, type LogLevel, stderrLog } from '../../service/log.ts'
import { makeFolder } from '../../service/make-folder.ts'
import { notifySystemd } from '../../service/notify-systemd.ts'
import { runDaemon } from '../../service/run-daemon.ts'
import { PageTls } from '../../web/page-tls.ts'
import { type SecuredPages, StatusServer } from '../../web/status-server.ts'
import { Watchdog } from '../../service/watchdog.ts'
import { GrpcNetwork } from '../../wire/grpc/grpc-network.ts'
import type { Metrics } from '../../service/metrics.ts'
import { lifelineCut, reportReadiness } from '../local/ready.ts'
import type { DaemonName } from '../config/setting.ts'
import { daemonIdentity, type OwnIdentity } from '../own-identity.ts'
import { StatusPages } from '../metrics/status-pages.ts'
import { checkReach } from './check-reach.ts'

export interface DaemonOptions {
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
  readonly lifeline: boolean | undefined
  /** HOST:PORT, or off. */
  readonly metrics: string
  /** Serve without TLS also where others reach it. */
  readonly insecure: 'on' | 'off'
  /** HOST:PORT, or off: a page for browsers. */
  readonly console?: string
  /** HOST:PORT; absent for a mount. */
  readonly listen?: string
  /** A folder, or off; undefined: the usual one, if it is there. */
  readonly identity: string | undefined
  /** It takes over from a process that still has the address of its metrics, and that hears why it does not. */
  readonly takesOver?: { refuse(why: string): Promise<void> } | undefined
}

/** What a daemon runs on. */
export interface World {
  readonly env: Env
  readonly network: GrpcNetwork
  /** Undefined: it goes without TLS. */
  readonly identity: OwnIdentity | undefined
  /** It serves without TLS where others reach it, as it was told to. */
  readonly insecure: boolean
}

/** A daemon that is up. */
export interface Started {
  /** Where it listens; absent for a mount. */
  readonly address?: string
  /** Resolves, or rejects, when it ends by itself. */
  readonly ended: Promise<void>
  /** Stops it in order. */
  readonly stop: () => Promise<void>
  /** Registers what it counts. */
  readonly measure: (metrics: Metrics) => void
  /** Resolves when the parts that must always answer do, threads included; rejects when they cannot. */
  readonly alive: () => Promise<void>
  /** Why it is of no use just now; undefined when it is. */
  readonly unready: () => string | undefined
}

/** A process that was replaced ends within so many times that long. */
const freeTries = 100
const freeEveryMs = 100

/**
 * Runs a daemon to its end: tells systemd, or the process that started this one, that it is ready or why it
 * is not; stops it on a signal, or when the lifeline is cut.
 */
export async function runAsDaemon(
  name: DaemonName,
  options: DaemonOptions,
  start: (world: World) => Promise<Started>,
): Promise<void> {
  const log = stderrLog(options.logLevel, { daemon: name }, options.logFormat)
  await runDaemon(async signal => {
    const status = new StatusPages()
    let network: GrpcNetwork | undefined
    const env = realEnv(log)
    let secured: SecuredPages | undefined
    let server: StatusServer | undefined
    let started: Started
    try {
      const identity = daemonIdentity(options.identity, name)
      const insecure = checkReach(options, identity?.tls, log)
      network = new GrpcNetwork({ log, tls: identity?.tls })
      secured = identity === undefined ? undefined : { page: PageTls.daemon(identity.tls), env }
      if (options.takesOver === undefined) server = await listenForMetrics(options, status, secured)
      started = await start({ env, network, identity, insecure })
    } catch (error) {
      reportReadiness({ ready: false, error: messageOf(error) })
      await options.takesOver?.refuse(messageOf(error))
      await network?.close()
      await server?.close()
      throw error
    }
    if (options.takesOver !== undefined) server = await listenWhenFree(options, status, secured, log)
    if (server !== undefined) {
      status.show(started)
      log.info('Serving metrics', { address: server.address })
    }
    const { address } = started
    reportReadiness({ ready: true, pid: process.pid, ...(address === undefined ? {} : { address }) })
    await notifySystemd('ready', log)
    const watchdog = Watchdog.start(started.alive, log)
    const orders = [aborted(signal), started.ended]
    if (options.lifeline === true) orders.push(lifelineCut())
    try {
      await Promise.race(orders)
    } finally {
      watchdog.stop()
      await notifySystemd('stopping', log)
      await started.stop()
      status.stop()
      await server?.close()
      await network.close()
    }
  }, log)
}

async function listenForMetrics(
  { metrics }: DaemonOptions,
  status: StatusPages,
  secured: SecuredPages | undefined,
): Promise<StatusServer | undefined> {
  return metrics === 'off' ? undefined : StatusServer.listen(metrics, status, secured)
}

/** The process that has the address is about to end. */
async function listenWhenFree(
  options: DaemonOptions,
  status: StatusPages,
  secured: SecuredPages | undefined,
  log: Log,
): Promise<StatusServer | undefined> {
  for (let tries = 1; ; tries++) {
    try {
      return await listenForMetrics(options, status, secured)
    } catch (error) {
      if (tries === freeTries) {
        log.error('No metrics are served', { why: messageOf(error) })
        return undefined
      }
      await sleep(freeEveryMs)
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** Makes a daemon's data folder if it is missing, and holds it. */
export async function takeFolder(folder: string): Promise<FolderLock> {
  makeFolder(folder, 0o700)
  return FolderLock.take(folder)
}
