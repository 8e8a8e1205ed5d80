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
import { RequestLog } from '../../core/request-log.ts'
import { OperationTimes } from '../../core/operation-times.ts'
import { second } from '../../core/units.ts'
import { groupsOfProcess, isBeingKilled } from '../../fuse/device/processes.ts'
import { type DriverOptions, FuseDriver } from '../../fuse/driver.ts'
import type { FileSystem, Notifier } from '../../fuse/filesystem.ts'
import type { MountDriver } from '../../fuse/mount-driver.ts'
import { NativeDriver } from '../../fuse/native/native-driver.ts'
import type { Observe } from '../../fuse/session/session.ts'
import { KernelCache } from '../../mount/kernel-cache.ts'
import { MountedFileSystem } from '../../mount/mounted-file-system.ts'
import { version } from '../../service/version.ts'
import { deviceFd } from '../handover/descriptors.ts'
import { Replacing } from '../handover/replacing.ts'
import type { TakeOver } from '../handover/take-over.ts'
import { MountControl } from '../local/mount-control.ts'
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
  /** How long to stay awake for the next request after each answer. */
  readonly busyPollMicros: number
  /** What a program waits for longer is logged. */
  readonly slowMs: number
  /** Another process waits for the end of this one. */
  readonly supervised: boolean
}

const startWaitMs = 10 * second
/** After umount(8) the kernel lets go at once, but for a copy of the mount in another namespace (a container's). */
const releaseMs = 3 * second

/** `takeOver`: another process serves the mount and leaves it to this one. */
export async function startMount(
  { env, network, identity }: World,
  options: MountDaemonOptions,
  takeOver?: TakeOver,
): Promise<Started> {
  const mountpoint = path.resolve(options.path)
  const readOnly = options.mountOptions.includes('ro')
  const checksums = await createChecksums()
  const terms = {
    master: options.master,
    path: mountpoint,
    options: options.mountOptions,
    export: options.export ?? '',
  }
  const records = await openRecords(env.log)
  const forget = keepOwnIdentity(env, network, identity, options.master)
  const requests = new OperationTimes()
  const { clock, log } = env
  const requestLog = new RequestLog(
    (message, fields) => log.warn(message, fields),
    () => clock.now(),
    options.slowMs,
  )
  const observe = { observe: observeInto(options.observed ? requests : undefined, requestLog) }
  const onDevice = {
    path: mountpoint,
    source: options.master,
    mountOptions: options.mountOptions,
    clock,
    log,
    busyPollMicros: options.busyPollMicros,
  }
  const state = await takeOver?.state(terms)
  const inherited = state && (await FuseDriver.inherit(deviceFd, state.driver, { ...onDevice, ...observe }))
  const session = new Session(
    env,
    network,
    {
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
      requests: requestLog,
      began: key => noteSession(env.log, records, key),
    },
    state?.session,
  )
  const place = { host: hostIdentity(), zone: options.zone }
  const cacheBytes = options.cacheBytes ?? dataPathDefaults.cacheBytes
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
          writtenBytes: Math.floor(cacheBytes / 2),
          place,
          local: options.shortCircuit ? new RealLocalFiles(env.clock) : undefined,
          requests: requestLog,
        })),
      { readOnly, atime: atimeOf(options.mountOptions), cache: cacheDefaults },
      takeOver &&
        state &&
        inherited && {
          state: state.files,
          kernel: new KernelCache(env, inherited.notifier, state.session.welcomed.root),
          taking: takeOver.gone,
        },
    )
  } catch (error) {
    await inherited?.leave()
    records?.close()
    throw error
  }
  const fileSystem = (notifier: Notifier, keepsNames: boolean): FileSystem =>
    new MountedFileSystem(env, files, notifier, keepsNames, {
      groupsOf: groupsOfProcess,
      isKilled: isBeingKilled,
    })
  let driver: MountDriver
  if (takeOver !== undefined && state !== undefined && inherited !== undefined) {
    const served = fileSystem(inherited.notifier, state.driver.facts.canInvalidateAllNames)
    await takeOver.taken()
    driver = inherited.serve(served)
    noteSession(env.log, records, session.key)
  } else {
    await endDeadSessions(env.log, session, records)
    try {
      const mountOptions = [...new Set([...options.mountOptions, ...optionsOf(session.rules)])]
      driver = await serve(env, options, { ...onDevice, mountOptions }, fileSystem, observe)
    } catch (error) {
      await files.close()
      records?.close()
      throw error
    }
  }
  const registry = new MountRegistry()
  const device = mountAt(driver.path)?.device
  try {
    if (device !== undefined) registry.add(device, driver.path)
  } catch (error) {
    env.log.warn('cairn umount will not be able to wait for this process', { why: messageOf(error) })
  }
  const replacing = new Replacing(
    env,
    driver instanceof FuseDriver ? { terms, driver, session, files } : undefined,
    options.supervised,
    () => records?.close(),
  )
  const control = await listenTo(env.log, replacing)
  let over = false
  const end = async (): Promise<void> => {
    const [served] = await Promise.allSettled([driver.done])
    over = true
    await control?.close()
    if (device !== undefined) registry.remove(device)
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
    if (served.status === 'rejected') throw served.reason
  }
  const ended = end()
  ended.catch(() => undefined)
  return {
    ended,
    stop: async () => {
      await replacing.stop()
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
  { timers }: Env,
  { driver }: MountDaemonOptions,
  place: DriverOptions,
  fileSystem: (notifier: Notifier, keepsNames: boolean) => FileSystem,
  observe: { readonly observe?: Observe },
): Promise<MountDriver> {
  if (driver === 'fuse-native')
    return NativeDriver.serve(notifier => fileSystem(notifier, false), { ...place, timers })
  return FuseDriver.serve((notifier, facts) => fileSystem(notifier, facts.canInvalidateAllNames), {
    ...place,
    ...observe,
  })
}

async function listenTo(log: Log, replacing: Replacing): Promise<MountControl | undefined> {
  try {
    return await MountControl.listen(program => replacing.replace(program))
  } catch (error) {
    log.warn('cairn mount --replace will not reach this process', { why: messageOf(error) })
    return undefined
  }
}

const observeInto =
  (requests: OperationTimes | undefined, log: RequestLog): Observe =>
  (operation, micros, error, ino) => {
    requests?.observe(operation, micros / 1000, error)
    // Who waits for a lock waits for other programs.
    if (operation !== 'SETLKW') log.waited(operation, micros / 1000, error, ino)
  }

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
