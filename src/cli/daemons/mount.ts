import os from 'node:os'
import path from 'node:path'
import { ClientDataPath, dataPathDefaults } from '../../client/data-path.ts'
import { cacheDefaults, Files } from '../../client/files.ts'
import { Session } from '../../client/session/session.ts'
import { createChecksums } from '../../core/checksum.ts'
import { messageOf } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import { groupsOfProcess } from '../../fuse/device/process-groups.ts'
import { FuseDriver } from '../../fuse/driver.ts'
import { MountedFileSystem } from '../../mount/mounted-file-system.ts'
import { version } from '../../service/version.ts'
import { MountRegistry } from '../local/mount-registry.ts'
import { mountAt } from '../mounts.ts'
import type { Started, World } from './daemon.ts'
import { hostIdentity } from './this-host.ts'

export interface MountDaemonOptions {
  readonly master: string
  readonly path: string
  readonly mountOptions: readonly string[]
  readonly zone: string
  readonly waitMs: number
  readonly cacheBytes?: number
}

const startWaitMs = 10 * second

export async function startMount({ env, network }: World, options: MountDaemonOptions): Promise<Started> {
  const mountpoint = path.resolve(options.path)
  const readOnly = options.mountOptions.includes('ro')
  const checksums = await createChecksums()
  const session = new Session(env, network, {
    address: options.master,
    host: hostIdentity(),
    mountpoint,
    pid: process.pid,
    program: version,
    zone: options.zone,
    readOnly,
    waitMs: options.waitMs,
    startWaitMs,
  })
  const place = { host: hostIdentity(), zone: options.zone }
  const cacheBytes = options.cacheBytes ?? dataPathDefaults.cacheBytes
  const files = await Files.open(
    env,
    session,
    (master, attrs) =>
      new ClientDataPath(env, network, master, attrs, checksums, { ...dataPathDefaults, cacheBytes, place }),
    { readOnly, atime: atimeOf(options.mountOptions), cache: cacheDefaults },
  )
  let driver: FuseDriver
  try {
    driver = await FuseDriver.serve(
      (notifier, facts) =>
        new MountedFileSystem(env, files, notifier, facts.canInvalidateAllNames, groupsOfProcess),
      {
        path: mountpoint,
        source: options.master,
        mountOptions: options.mountOptions,
        clock: env.clock,
        log: env.log,
      },
    )
  } catch (error) {
    await files.close()
    throw error
  }
  const registry = new MountRegistry()
  const device = mountAt(driver.path)?.device
  try {
    if (device !== undefined) registry.add(device, driver.path)
  } catch (error) {
    env.log.warn('cairn umount will not be able to wait for this process', { why: messageOf(error) })
  }
  // The driver writes everything back before it is done; then the session can end.
  let over = false
  const ended = driver.done.finally(async () => {
    over = true
    if (device !== undefined) registry.remove(device)
    await files.close()
  })
  ended.catch(() => undefined)
  return {
    ended,
    stop: async () => {
      try {
        if (!over) await driver.unmount({ lazy: false })
      } catch (error) {
        // Programs have files open: what they wrote is stored, the mount goes from the tree now and from
        // them when this process ends.
        env.log.warn('The mount is in use, detaching it', {
          why: messageOf(error),
          user: os.userInfo().username,
        })
        await files.flushAll()
        await driver.unmount({ lazy: true }).catch(() => undefined)
        await driver.abort()
      }
      await ended
    },
  }
}

function atimeOf(options: readonly string[]): 'relatime' | 'noatime' | 'strictatime' {
  if (options.includes('noatime')) return 'noatime'
  return options.includes('strictatime') ? 'strictatime' : 'relatime'
}
