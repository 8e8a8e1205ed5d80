import os from 'node:os'
import path from 'node:path'
import { ClientDataPath, dataPathDefaults } from '../../client/data-path.ts'
import { RealLocalFiles } from '../../client/disk/real-local-files.ts'
import { cacheDefaults, Files } from '../../client/files.ts'
import type { SessionKey } from '../../client/session/hello.ts'
import { Session } from '../../client/session/session.ts'
import { createChecksums } from '../../core/checksum.ts'
import type { Env, Log } from '../../core/env.ts'
import { messageOf, NotStoredError } from '../../core/errors.ts'
import { OperationTimes } from '../../core/operation-times.ts'
import { second } from '../../core/units.ts'
import { groupsOfProcess } from '../../fuse/device/process-groups.ts'
import { FuseDriver } from '../../fuse/driver.ts'
import type { FileSystem, Notifier } from '../../fuse/filesystem.ts'
import type { MountDriver } from '../../fuse/mount-driver.ts'
import { NativeDriver } from '../../fuse/native/native-driver.ts'
import type { Observe } from '../../fuse/session/session.ts'
import { MountedFileSystem } from '../../mount/mounted-file-system.ts'
import { version } from '../../service/version.ts'
import { MountRegistry } from '../local/mount-registry.ts'
import { SessionRecords } from '../local/session-records.ts'
import { holdersElsewhere, mountAt } from '../mounts.ts'
import { measureMount } from '../metrics/mount-metrics.ts'
import { keepOwnIdentity } from './keep-own-identity.ts'
import type { Started, World } from './daemon.ts'
import { hostIdentity } from './this-host.ts'

export interface MountDaemonOptions {
  readonly master: string
  readonly path: string
  readonly mountOptions: readonly string[]
  readonly zone: string
  /** The export to show; undefined: what this machine may mount. */
  readonly export: string | undefined
  readonly waitMs: number
  readonly cacheBytes?: number
  /** Whether the files of chunkservers on this machine are read past them, where they allow it. */
  readonly shortCircuit: boolean
  /** Count the kernel's requests. */
  readonly observed: boolean
  /** What speaks with the kernel: Cairn itself, or libfuse 2 through the package fuse-native. */
  readonly driver: 'fuse' | 'fuse-native'
}

const startWaitMs = 10 * second
/** After umount(8) the kernel lets go at once, but for a copy of the mount in another namespace (a container's). */
const releaseMs = 3 * second

export async function startMount(
  { env, network, identity }: World,
  options: MountDaemonOptions,
): Promise<Started> {
  const mountpoint = path.resolve(options.path)
  const readOnly = options.mountOptions.includes('ro')
  const checksums = await createChecksums()
  const records = await openRecords(env.log)
  const forget = keepOwnIdentity(env, network, identity, options.master)
  const session = new Session(env, network, {
    address: options.master,
    host: hostIdentity(),
    mountpoint,
    pid: process.pid,
    program: version,
    zone: options.zone,
    readOnly,
    ...(options.export === undefined ? {} : { export: options.export }),
    waitMs: options.waitMs,
    startWaitMs,
    began: key => noteSession(env.log, records, key),
  })
  const place = { host: hostIdentity(), zone: options.zone }
  const cacheBytes = options.cacheBytes ?? dataPathDefaults.cacheBytes
  const requests = new OperationTimes()
  let data: ClientDataPath | undefined
  let files: Files
  try {
    files = await Files.open(
      env,
      session,
      (master, attrs) =>
        (data = new ClientDataPath(env, network, master, attrs, checksums, {
          ...dataPathDefaults,
          cacheBytes,
          place,
          local: options.shortCircuit ? new RealLocalFiles(env.clock) : undefined,
        })),
      { readOnly, atime: atimeOf(options.mountOptions), cache: cacheDefaults },
    )
  } catch (error) {
    records?.close()
    throw error
  }
  await endDeadSessions(env.log, session, records)
  let driver: MountDriver
  try {
    const fileSystem = (notifier: Notifier, keepsNames: boolean): FileSystem =>
      new MountedFileSystem(env, files, notifier, keepsNames, groupsOfProcess)
    const mountOptions = [...new Set([...options.mountOptions, ...optionsOf(session.rules)])]
    driver = await serve(env, { ...options, mountOptions }, mountpoint, fileSystem, requests)
  } catch (error) {
    await files.close()
    records?.close()
    throw error
  }
  const registry = new MountRegistry()
  const device = mountAt(driver.path)?.device
  try {
    if (device !== undefined) registry.add(device, driver.path)
  } catch (error) {
    env.log.warn('cairn umount will not be able to wait for this process', { why: messageOf(error) })
  }
  let over = false
  const end = async (): Promise<void> => {
    try {
      await driver.done
    } finally {
      over = true
      if (device !== undefined) registry.remove(device)
    }
    try {
      await files.close()
    } catch (error) {
      noteLoss(env.log, registry, messageOf(error))
      throw new NotStoredError(
        `not everything written on ${driver.path} could be stored: ${messageOf(error)}`,
      )
    } finally {
      records?.close()
      await forget()
    }
  }
  const ended = end()
  ended.catch(() => undefined)
  return {
    ended,
    stop: async () => {
      if (!over && !(await detach(driver, device, env))) {
        // What was written is stored, the mount goes from the tree now and from who has it when this process ends.
        await files.flushAll().catch((failed: unknown) => {
          // The end tries again.
          env.log.warn('Not everything could be written back yet', { why: messageOf(failed) })
        })
        await driver.unmount({ lazy: true }).catch(() => undefined)
        await driver.abort()
      }
      await ended
    },
    measure: metrics => measureMount(metrics, { session, files, data: () => data, requests }),
    // It has no thread that must answer; what is in the kernel's hands cannot be asked from here.
    alive: () => Promise.resolve(),
    unready: () => (session.isAttached ? undefined : `not connected to the master at ${options.master}`),
  }
}

/** What the export does not allow, the kernel need not try. */
function optionsOf({ readOnly, noSetuid, noDevices }: Session['rules']): string[] {
  return [...(readOnly ? ['ro'] : []), ...(noSetuid ? ['nosuid'] : []), ...(noDevices ? ['nodev'] : [])]
}

function serve(
  { clock, timers, log }: Env,
  { driver, master, mountOptions, observed }: MountDaemonOptions,
  path: string,
  fileSystem: (notifier: Notifier, keepsNames: boolean) => FileSystem,
  requests: OperationTimes,
): Promise<MountDriver> {
  const place = { path, source: master, mountOptions, log }
  if (driver === 'fuse-native')
    return NativeDriver.serve(notifier => fileSystem(notifier, false), { ...place, timers })
  return FuseDriver.serve((notifier, facts) => fileSystem(notifier, facts.canInvalidateAllNames), {
    ...place,
    clock,
    ...(observed ? { observe: observeInto(requests) } : {}),
  })
}

const observeInto =
  (requests: OperationTimes): Observe =>
  (operation, micros, error) =>
    requests.observe(operation, micros / 1000, error)

/** Takes the mount from the tree. False if somebody still has it: a program, or another mount namespace. */
async function detach(
  driver: MountDriver,
  device: string | undefined,
  { log, timers }: Env,
): Promise<boolean> {
  try {
    await driver.unmount({ lazy: false })
  } catch (error) {
    log.warn('The mount is in use, detaching it', { why: messageOf(error), user: os.userInfo().username })
    return false
  }
  const released = await Promise.race([
    driver.released.then(() => true),
    timers.sleep(releaseMs).then(() => false),
  ])
  if (!released)
    log.warn('The mount is still in other mount namespaces, ending it there, too', {
      processes: device === undefined ? [] : holdersElsewhere(device),
    })
  return released
}

/** For the command that waits for this process to end. */
function noteLoss(log: Log, registry: MountRegistry, why: string): void {
  try {
    registry.noteLoss(why)
  } catch (error) {
    log.warn('Whoever unmounts will not hear of the loss', { why: messageOf(error) })
  }
}

async function openRecords(log: Log): Promise<SessionRecords | undefined> {
  try {
    return await SessionRecords.open(hostIdentity())
  } catch (error) {
    log.warn('If this process is killed, what it held is free only after a while', { why: messageOf(error) })
    return undefined
  }
}

function noteSession(log: Log, records: SessionRecords | undefined, key: SessionKey): void {
  try {
    records?.note(key)
  } catch (error) {
    log.warn('The session was not written down', { why: messageOf(error) })
  }
}

/** What mounts that died on this machine held is free now, not when their leases run out. */
async function endDeadSessions(
  log: Log,
  session: Session,
  records: SessionRecords | undefined,
): Promise<void> {
  try {
    await records?.endDead(session.facts.cluster, async ({ session: dead, epoch, secret }) => {
      await session.call({ $case: 'endSession', value: { session: dead, epoch, secret } }, 'done')
      log.info('A mount of this machine had died: its session is ended', { session: dead })
    })
  } catch (error) {
    log.warn('Sessions of dead mounts end only when their leases run out', { why: messageOf(error) })
  }
}

function atimeOf(options: readonly string[]): 'relatime' | 'noatime' | 'strictatime' {
  if (options.includes('noatime')) return 'noatime'
  return options.includes('strictatime') ? 'strictatime' : 'relatime'
}
