import { statSync } from 'node:fs'
import path from 'node:path'
import { ConsoleServer } from '../../console/console-server.ts'
import type { Clock } from '../../core/env.ts'
import { messageOf } from '../../core/errors.ts'
import { blockBytesDefault, copiesDefault } from '../../core/limits.ts'
import { second } from '../../core/units.ts'
import { runProcess } from '../../env/run-process.ts'
import { WorkerLane } from '../../env/worker-lane.ts'
import { Backups, type BackupJob, type TakenBackup } from '../../master/backup/backups.ts'
import type { EngineInput, EngineOutput } from '../../master/engine/io.ts'
import { type EngineSettings, leaseSettings } from '../../master/engine/settings.ts'
import { type Checked, DatabaseChecks } from '../../master/fsck/database-checks.ts'
import type { CheckingJob, Reading, ReadingJob } from '../../master/rpc/check-database.ts'
import type { EngineData } from '../../master/rpc/open-engine.ts'
import type { BaseJob, TakenBase } from '../../master/log/base-worker.ts'
import { LogShipper } from '../../master/log/log-shipper.ts'
import { serveIdentities } from '../../master/identity/identity-service.ts'
import { MasterServer } from '../../master/rpc/server.ts'
import { damaged, quickCheckBytesMax } from '../../master/store/store.ts'
import { version } from '../../service/version.ts'
import type { BackupFolder } from '../../service/backup-folder.ts'
import { DiskRoom } from '../../service/disk-room.ts'
import { MasterFolder } from '../master-folder.ts'
import { measureMaster } from '../metrics/master-metrics.ts'
import { takeBase } from '../take-base.ts'
import { makeConsoleTls, serveLogin } from './console-tls.ts'
import { consoleView } from './console-view.ts'
import { type Started, takeFolder, type World } from './daemon.ts'
import { keepAuthority, type KeptAuthority } from './keep-authority.ts'

/** How old what is shown of the process may be. */
const sampleMs = 1 * second

export interface MasterOptions {
  readonly data: string
  readonly listen: string
  readonly copies: number | undefined
  readonly blockSize: number | undefined
  /** Seconds. */
  readonly leaseTime: number | undefined
  /** Between two copies of the database, ms; 0: none by themselves. */
  readonly backupEvery: number
  /** The newest copies of so many hours are kept, and of so many days. */
  readonly backupHourly: number
  readonly backupDaily: number
  /** On so many chunkservers; 0: on none. */
  readonly logCopies: number
  readonly repairDelay: number
  readonly maintenanceDelay: number
  readonly repairLimit: number
  /** Seconds. */
  readonly slow: number
  /** HOST:PORT, or off. */
  readonly console: string
}

/** A master over its data folder, which is formatted as a new cluster if it is empty. */
export async function startMaster(
  { env, network, identity, insecure }: World,
  options: MasterOptions,
): Promise<Started> {
  const folder = path.resolve(options.data)
  const lock = await takeFolder(folder)
  const copies = options.copies ?? copiesDefault
  const master = new MasterFolder(folder)
  try {
    master.check()
  } catch (error) {
    lock.release()
    throw error
  }
  const data: EngineData = {
    database: master.database,
    restoreWith: master.restoreWith,
    format: {
      cluster: env.random.bytes(16),
      blockBytes: options.blockSize ?? blockBytesDefault,
      copies,
      minCopies: Math.min(2, copies),
      created: env.clock.wall(),
    },
    program: version,
    settings: { ...settingsOf(options), insecure },
    logged: options.logCopies > 0,
  }
  let fail: (error: Error) => void = () => undefined
  const ended = new Promise<void>((_resolve, reject) => {
    fail = reject
  })
  // Whoever stops before it fails has no use for the failure.
  ended.catch(() => undefined)
  let authority: KeptAuthority | undefined
  try {
    authority = identity === undefined ? undefined : await keepAuthority(env, identity)
    const served = authority
    const lane = await WorkerLane.start<readonly EngineInput[], readonly EngineOutput[]>({
      module: new URL('../../master/rpc/engine-worker.js', import.meta.url),
      data,
      name: 'engine',
      died: fail,
    })
    const room = await DiskRoom.watch(folder, env)
    let server: MasterServer | undefined
    const backups = new Backups(env, {
      database: data.database,
      databaseBytes: () => bytesOf(data.database),
      folder: master.backups,
      take: takeBackup,
      program: version,
      everyMs: options.backupEvery,
      keep: { hourly: options.backupHourly, daily: options.backupDaily },
      diskFull: () => room.full,
      changed: state => server?.noteBackups(state),
    })
    const log =
      options.logCopies === 0
        ? undefined
        : new LogShipper(env, network, {
            copies: options.logCopies,
            takeBase: async () => {
              const base = await takeBase(data.database, copyBase)
              // What the engine said before the copy was made has been heard when this has gone through it.
              await lane.run([])
              return base
            },
          })
    let page: ConsoleServer | undefined
    const consoleTls =
      served === undefined || identity === undefined
        ? undefined
        : await makeConsoleTls(env, options.console, identity.tls, served.authority)
    const inTurn = oneAfterTheOther()
    const reading = (kind: Reading) => inTurn(() => readDatabase({ database: data.database, reading: kind }))
    let checks: DatabaseChecks | undefined
    try {
      const serving = await MasterServer.start(env, network, lane, {
        listen: options.listen,
        rssBytes: sampled(env.clock, () => process.memoryUsage.rss()),
        room,
        beside: {
          fsck: () => reading('fsck'),
          restoreStatus: () => reading('restoreStatus'),
          backup: request => backups.backup(request),
          readBackup: request => backups.read(request),
        },
        log,
        identities: served?.authority.good,
        tokenExports: served?.authority.exports,
        also: serving => {
          if (served !== undefined) serveIdentities(serving, served.authority, env)
          if (consoleTls !== undefined) serveLogin(serving, consoleTls, () => page)
        },
        failed: error => fail(error instanceof Error ? error : new Error(String(error))),
      })
      server = serving
      serving.noteBackups(backups.state)
      checks = new DatabaseChecks(env, {
        check: () => inTurn(() => checkDatabase(data.database, master.backups)),
        changed: state => serving.noteIntegrity(state),
      })
      serving.noteIntegrity(checks.integrity)
      served?.authority.watch(() => serving.noteIdentities(served.authority.good, served.authority.exports))
      env.log.info('Serving', { address: serving.address, data: folder })
      if (options.console !== 'off') {
        page = await ConsoleServer.listen(env, options.console, consoleView(serving), consoleTls)
        env.log.info('Serving the console', { address: page.address })
      }
      // A large one was only looked into when it was opened.
      if (bytesOf(data.database) > quickCheckBytesMax)
        reading('pages').then(
          found => {
            if (found.length > 0) fail(damaged(Buffer.from(found).toString(), data))
            else env.log.info('The pages of the database were checked')
          },
          (error: unknown) =>
            env.log.warn('The pages of the database could not be checked', { why: messageOf(error) }),
        )
      // A copy or check that is under way ends with the process: it changes nothing but an unfinished file.
      const stop = async () => {
        backups.close()
        checks?.close()
        await page?.close()
        await serving.close()
        await log?.close()
        room.close()
        await served?.stop()
        lock.release()
      }
      return {
        address: serving.address,
        ended,
        stop,
        measure: metrics => measureMaster(metrics, serving),
        alive: async () => {
          await serving.measure()
        },
        unready: () => (room.full ? 'the disk of the database is full: changes are refused' : undefined),
      }
    } catch (error) {
      backups.close()
      checks?.close()
      await log?.close()
      room.close()
      if (server === undefined) await lane.close()
      else await server.close()
      throw error
    }
  } catch (error) {
    await authority?.stop()
    lock.release()
    throw error
  }
}

function settingsOf(options: MasterOptions): Partial<EngineSettings> {
  const repairDelayMs = options.repairDelay * second
  return {
    ...(options.leaseTime === undefined ? {} : leaseSettings(options.leaseTime * second)),
    repairDelayMs,
    safeModeMs: repairDelayMs,
    maintenanceMs: options.maintenanceDelay * second,
    copyBytesPerNode: options.repairLimit,
    slowMs: options.slow * second,
  }
}

/** The kernel takes 0.1 ms to tell, and it goes with every batch. */
function sampled(clock: Clock, measure: () => number): () => number {
  let measuredAt = Number.NEGATIVE_INFINITY
  let value = 0
  return () => {
    const now = clock.now()
    if (now - measuredAt > sampleMs) {
      measuredAt = now
      value = measure()
    }
    return value
  }
}

const readingWorker = new URL('../../master/rpc/reading-worker.js', import.meta.url)

function readDatabase(job: ReadingJob): Promise<Uint8Array> {
  return runProcess(readingWorker, job)
}

function takeBackup(job: BackupJob): Promise<TakenBackup> {
  return runProcess(new URL('../../master/backup/backup-worker.js', import.meta.url), job)
}

function copyBase(job: BaseJob): Promise<TakenBase> {
  return runProcess(new URL('../../master/log/base-worker.js', import.meta.url), job)
}

/** A file that may not be there, its log included. */
function bytesOf(database: string): number {
  return ['', '-wal'].reduce(
    (sum, end) => sum + (statSync(`${database}${end}`, { throwIfNoEntry: false })?.size ?? 0),
    0,
  )
}

function checkDatabase(database: string, backups: BackupFolder): Promise<Checked> {
  const job: CheckingJob = { database, copies: backups.list().map(({ name }) => backups.file(name)) }
  return runProcess(readingWorker, job)
}

function oneAfterTheOther(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return work => {
    const result = last.then(work)
    last = result.catch(() => undefined)
    return result
  }
}
