/**
 * Serves a FileSystem as a mount of the Linux kernel. Composes device, session and mounter.
 *
 * Nothing here is authoritative: what a process leaves behind when it dies is a dead mount, which the
 * guardian clears. A successor process that is given the device's descriptor can go on (`resume`), since the
 * kernel's side of the session lives in the descriptor and ours is `Negotiated`.
 */
import type { Clock, Log } from '../core/env.ts'
import type { Negotiated } from './codec/init.ts'
import { FuseDevice, type ReaderKind } from './device/device.ts'
import { directBit } from './device/host.ts'
import { KernelNotifier } from './device/kernel-notifier.ts'
import type { Answer, FileSystem, Notifier } from './filesystem.ts'
import type { MountDriver } from './mount-driver.ts'
import { Guardian } from './mounter/guardian.ts'
import { readMountOptions } from './mounter/mount-options.ts'
import type { MountLine } from './mounter/mount-table.ts'
import { attach, mountControl, prepareMountPoint, setReadAhead, unmount } from './mounter/mounter.ts'
import { type Observe, Session } from './session/session.ts'

/** Makes the file system once it is known what the kernel can do. */
export type FileSystemFactory = (notifier: Notifier, facts: Negotiated) => Answer<FileSystem>

export interface DriverOptions {
  readonly path: string
  /** What /proc/mounts shows as the device, such as HOST:PORT. */
  readonly source: string
  /** As given with -o. */
  readonly mountOptions: readonly string[]
  readonly clock: Clock
  readonly log: Log
  readonly observe?: Observe
  /** `epoll` unless it fails. */
  readonly reader?: ReaderKind
}

export class FuseDriver implements MountDriver {
  readonly done: Promise<void>
  readonly path: string
  readonly facts: Negotiated
  readonly #device: FuseDevice
  readonly #session: Session

  private constructor(
    path: string,
    facts: Negotiated,
    device: FuseDevice,
    session: Session,
    guardian: Guardian,
    mount: MountLine,
    log: Log,
  ) {
    this.path = path
    this.facts = facts
    this.#device = device
    this.#session = session
    log.info('mounted', { path, device: mount.device, protocol: `7.${facts.minor}` })
    this.done = finish(device, session, guardian, log)
  }

  /** Mounts. Resolves when the mount is usable; UsageError in one line if it cannot be had. */
  static async serve(factory: FileSystemFactory, options: DriverOptions): Promise<FuseDriver> {
    const { log } = options
    const mountOptions = readMountOptions(options.mountOptions)
    const path = await prepareMountPoint(options.path, mountOptions, log)
    await mountControl(log)
    const device = FuseDevice.open(log)
    const session = sessionOn(device, factory, options)
    const guardian = new Guardian(path)
    let mount: MountLine | undefined
    try {
      await guardian.ready
      mount = await attach(device.fd, options.source, path, mountOptions)
      guardian.watch(mount)
      device.read(bytes => session.receive(bytes), options.reader ?? 'epoll')
      void device.closed.then(() => session.close())
      const facts = await session.begun
      await setReadAhead(mount, log)
      return new FuseDriver(path, facts, device, session, guardian, mount, log)
    } catch (thrown) {
      session.abort()
      await device.close()
      await (mount === undefined ? guardian.dismiss() : guardian.clear())
      throw thrown
    }
  }

  /**
   * Takes the mount off. UsageError if files on it are open and it is not `lazy`; lazily, `done` resolves
   * only when they are closed.
   */
  unmount(options: { readonly lazy: boolean }): Promise<void> {
    return unmount(this.path, options)
  }

  /** Resolves when the kernel has let go of the mount: it is in no mount namespace and nobody has it open. */
  get released(): Promise<unknown> {
    return this.#device.closed
  }

  /** Ends the connection under the kernel's feet: open files fail from now on. The mount is removed. */
  async abort(): Promise<void> {
    this.#session.abort()
    await this.#device.close()
    await this.done
  }
}

function sessionOn(
  device: FuseDevice,
  factory: FileSystemFactory,
  { clock, log, observe }: DriverOptions,
): Session {
  const start = (facts: Negotiated): Answer<FileSystem> =>
    factory(new KernelNotifier(device.notifications, facts.canInvalidateAllNames), facts)
  return new Session(device, start, { clock, log, directBit, observe })
}

async function finish(device: FuseDevice, session: Session, guardian: Guardian, log: Log): Promise<void> {
  const how = await device.closed
  try {
    await session.fileSystem?.destroy()
  } finally {
    await (how === 'unmounted' ? guardian.dismiss() : guardian.clear())
    log.info('unmounted')
  }
}
