/**
 * Serves a FileSystem as a mount of the Linux kernel. Composes device, session and mounter.
 *
 * Nothing here is authoritative: what a process leaves behind when it dies is a dead mount, which the
 * guardian clears. A successor process that is given the device's descriptor can go on (`inherit`), since the
 * kernel's side of the session lives in the descriptor and ours is DriverState.
 */
import type { Clock, Log } from '../core/env.ts'
import { type FsError, messageOf } from '../core/errors.ts'
import type { Negotiated } from './codec/init.ts'
import { BusyPoll } from './device/busy-poll.ts'
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
  /** How long to stay awake for the next request after each answer, see BusyPoll. 0 by default. */
  readonly busyPollMicros?: number
}

/** What a successor on the same device goes on with. */
export interface DriverState {
  readonly facts: Negotiated
  readonly mount: MountLine
  /** Messages of requests that the kernel waits for, to be begun anew. */
  readonly requests: readonly Uint8Array[]
  /** Notifications that the kernel may not have taken yet. */
  readonly notifications: readonly Uint8Array[]
}

/** A mount whose device was inherited and is not served yet. */
export interface Inherited {
  readonly notifier: Notifier
  /** Serves it from now on. */
  serve(fileSystem: FileSystem): FuseDriver
  /** Somebody else goes on with it. */
  leave(): Promise<void>
}

export class FuseDriver implements MountDriver {
  readonly done: Promise<void>
  readonly path: string
  readonly facts: Negotiated
  readonly #device: FuseDevice
  readonly #session: Session
  readonly #guardian: Guardian
  readonly #mount: MountLine
  /** Why the mount could not go on. */
  #failure: FsError | undefined

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
    this.#guardian = guardian
    this.#mount = mount
    log.info('mounted', { path, device: mount.device, protocol: `7.${facts.minor}` })
    this.done = this.#finish(log)
    // Who serves the mount may come to wait for it later.
    this.done.catch(() => undefined)
    void device.notifications.failed.then(why => this.#fail(why, log))
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
      device.read(bytes => session.receive(bytes), options.reader ?? 'epoll', pollOf(options))
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
   * Takes over a mount from the process that served it: `fd` is its device, inherited. Nothing is asked of the kernel, nor
   * answered, before `serve`.
   */
  static async inherit(fd: number, state: DriverState, options: DriverOptions): Promise<Inherited> {
    const { log } = options
    const { facts, mount } = state
    const device = new FuseDevice(fd, log)
    const notifier = new KernelNotifier(device.notifications, facts.canInvalidateAllNames)
    const guardian = new Guardian(mount.path)
    await guardian.ready
    return {
      notifier,
      serve: fileSystem => {
        guardian.watch(mount)
        const session = sessionOn(device, () => fileSystem, options)
        session.resume(facts, fileSystem)
        void device.closed.then(() => session.close())
        for (const message of state.notifications) void device.notifications.write(message)
        // Before the kernel may say that one of them is to be interrupted.
        for (const message of state.requests) void session.receive(Buffer.from(message))
        device.read(bytes => session.receive(bytes), options.reader ?? 'epoll', pollOf(options))
        return new FuseDriver(mount.path, facts, device, session, guardian, mount, log)
      },
      leave: () => guardian.dismiss(),
    }
  }

  /** Reads no more requests, for a successor. False if it cannot stop. `resume` undoes it. */
  pause(): boolean {
    if (!this.#device.pause()) return false
    this.#session.yieldLasting()
    return true
  }

  resume(): void {
    this.#session.takeBack()
    this.#device.resume()
  }

  /** What the kernel waits for, by name: none may be left when a successor takes over. */
  get unanswered(): readonly string[] {
    return this.#session.unanswered
  }

  /** What the successor is to know, when nothing is unanswered. */
  get state(): DriverState {
    return {
      facts: this.facts,
      mount: this.#mount,
      requests: this.#session.yielded,
      notifications: this.#device.notifications.unfinished,
    }
  }

  /** The device, for the successor to inherit. */
  get deviceFd(): number {
    return this.#device.fd
  }

  /** A successor watches over the mount: the end of this process is not that of the mount. */
  release(): Promise<void> {
    return this.#guardian.dismiss()
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

  /** Better no mount than one that shows what is no longer true. */
  async #fail(why: FsError, log: Log): Promise<void> {
    this.#failure = why
    log.error('the mount ends', { path: this.path, why: why.message })
    this.#session.abort()
    try {
      await this.#device.close()
    } catch (thrown) {
      log.error('the mount cannot be ended', { path: this.path, why: messageOf(thrown) })
    }
  }

  async #finish(log: Log): Promise<void> {
    const how = await this.#device.closed
    try {
      await this.#session.fileSystem?.destroy()
    } finally {
      await (how === 'unmounted' ? this.#guardian.dismiss() : this.#guardian.clear())
      log.info('unmounted')
    }
    if (this.#failure !== undefined) throw this.#failure
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

const pollOf = ({ busyPollMicros = 0, clock }: DriverOptions): BusyPoll =>
  new BusyPoll({ windowMicros: busyPollMicros, clock })
