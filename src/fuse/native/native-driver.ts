/**
 * The second driver: serves a FileSystem through the package fuse-native and libfuse 2, for hosts where the first
 * cannot run. It has no invalidation: the kernel believes names and attributes for a second, and pages until a file
 * is opened again. It knows no callers: only the user who mounts may enter, and is who everything is done by.
 */
import type { Log, Timers } from '../../core/env.ts'
import { messageOf, UsageError } from '../../core/errors.ts'
import type { Answer, Caller, FileSystem, Notifier } from '../filesystem.ts'
import type { MountDriver } from '../mount-driver.ts'
import { Guardian } from '../mounter/guardian.ts'
import { mountedAt, type MountLine } from '../mounter/mount-table.ts'
import { mountControl, prepareMountPoint, unmount } from '../mounter/mounter.ts'
import { loadNative, type NativeMount } from './load-native.ts'
import { NativeFileSystem } from './native-operations.ts'

export interface NativeDriverOptions {
  readonly path: string
  readonly source: string
  /** As given with -o: this driver can carry out none. */
  readonly mountOptions: readonly string[]
  readonly timers: Timers
  readonly log: Log
}

/** What libfuse believes for how long, in seconds. */
const timeout = 1
/** Nothing says when libfuse has ended. */
const pollMs = 250

const meaningless = new Set(['defaults', 'default_permissions', 'rw'])

const deaf: Notifier = {
  invalidateInode: () => Promise.resolve(),
  invalidateEntry: () => Promise.resolve(),
  invalidateAllNames: () => Promise.resolve(false),
  invalidateAttributesNow: () => undefined,
  invalidateAllNamesNow: () => undefined,
}

export class NativeDriver implements MountDriver {
  readonly done: Promise<void>
  readonly released: Promise<void>
  readonly path: string
  readonly #mount: MountLine
  readonly #timers: Timers

  private constructor(
    path: string,
    mount: MountLine,
    fs: FileSystem,
    guardian: Guardian,
    { log, timers }: NativeDriverOptions,
  ) {
    this.path = path
    this.#mount = mount
    this.#timers = timers
    log.info('mounted', { path, device: mount.device, driver: 'fuse-native' })
    this.released = this.#gone()
    this.done = this.released.then(async () => {
      try {
        await fs.destroy()
      } finally {
        await guardian.dismiss()
        log.info('unmounted')
      }
    })
  }

  /** Mounts. Resolves when the mount is usable; UsageError in one line if it cannot be had. */
  static async serve(
    factory: (notifier: Notifier) => Answer<FileSystem>,
    options: NativeDriverOptions,
  ): Promise<NativeDriver> {
    const { source, mountOptions, log } = options
    const option = mountOptions.find(name => !meaningless.has(name))
    if (option !== undefined)
      throw new UsageError(`the driver fuse-native cannot carry out the mount option ${option}`)
    const Native = loadNative()
    const path = await prepareMountPoint(options.path, { kernel: [], nonempty: false }, log)
    await mountControl(log)
    const guardian = new Guardian(path)
    const caller: Caller = {
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      pid: process.pid,
      signal: new AbortController().signal,
    }
    try {
      await guardian.ready
      const fs = await factory(deaf)
      const served = new NativeFileSystem(fs, caller, log)
      const native = new Native(path, served.operations, {
        fsname: source,
        subtype: 'cairn',
        defaultPermissions: true,
        timeout: false,
        entryTimeout: timeout,
        attrTimeout: timeout,
      })
      native._op_getxattr = (signal, of, name, value) => served.getxattr(signal, of, name, value)
      native._op_listxattr = (signal, of, list) => served.listxattr(signal, of, list)
      await begin(native)
      const mount = await mountedAt(path)
      if (mount === undefined) throw new UsageError(`${path} was unmounted while it was being mounted`)
      guardian.watch(mount)
      return new NativeDriver(path, mount, fs, guardian, options)
    } catch (thrown) {
      await guardian.dismiss()
      throw thrown
    }
  }

  unmount(options: { readonly lazy: boolean }): Promise<void> {
    return unmount(this.path, options)
  }

  async abort(): Promise<void> {
    if ((await this.#isMounted()) !== undefined) await unmount(this.path, { lazy: true })
    await this.done
  }

  async #gone(): Promise<void> {
    while ((await this.#isMounted()) !== undefined) await this.#timers.sleep(pollMs)
  }

  async #isMounted(): Promise<MountLine | undefined> {
    const found = await mountedAt(this.path)
    return found?.id === this.#mount.id && found.device === this.#mount.device ? found : undefined
  }
}

function begin(native: NativeMount): Promise<void> {
  return new Promise((resolve, reject) => {
    native.mount(error => {
      if (error === null) resolve()
      else reject(new UsageError(`libfuse cannot mount: ${messageOf(error)}`))
    })
  })
}
