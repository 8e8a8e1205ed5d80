import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { Notifier } from '../../fuse/filesystem.ts'
import type { FileIo } from './file-io.ts'
import type { Kernel } from './kernel.ts'

/**
 * What the daemon has the kernel forget. One that waits for a lock holds up those behind it that are about the
 * same inode: there is a thread for each that waits.
 */
export class KernelNotifier implements Notifier {
  readonly #kernel: Kernel
  readonly #io: FileIo
  readonly #knowsEpochs: boolean
  readonly #last = new Map<Ino | undefined, Promise<unknown>>()

  /** `knowsEpochs`: 7.44 or newer. */
  constructor(kernel: Kernel, io: FileIo, knowsEpochs: boolean) {
    this.#kernel = kernel
    this.#io = io
    this.#knowsEpochs = knowsEpochs
  }

  invalidateInode(ino: Ino, offset: number, length: number): Promise<void> {
    return this.#after(ino, async () => {
      const inode = this.#kernel.inode(ino)
      if (inode === undefined) return
      inode.version = this.#kernel.nextVersion()
      inode.attrUntil = 0
      if (offset < 0) return
      await this.#io.dropPages(inode, offset, length < 0 ? Number.POSITIVE_INFINITY : offset + length)
    })
  }

  invalidateEntry(parent: Ino, name: Name): Promise<void> {
    return this.#after(parent, async () => {
      const inode = this.#kernel.inode(parent)
      if (inode === undefined) return
      await inode.lock.run('exclusive', `invalidation of ${name} in ${parent}`, () =>
        this.#kernel.dropDentry(inode, name),
      )
    })
  }

  invalidateAllNames(): Promise<boolean> {
    return this.#after(undefined, async () => {
      if (this.#knowsEpochs) this.#kernel.nextEpoch()
      return this.#knowsEpochs
    })
  }

  invalidateAttributesNow(ino: Ino): void {
    const inode = this.#kernel.inode(ino)
    if (inode === undefined) return
    inode.version = this.#kernel.nextVersion()
    inode.attrUntil = 0
  }

  invalidateAllNamesNow(): void {
    if (this.#knowsEpochs) this.#kernel.nextEpoch()
  }

  #after<T>(about: Ino | undefined, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(about) ?? Promise.resolve()
    const done = before.then(async () => {
      await this.#kernel.env.delay(this.#kernel.prng.between(0.01, 0.5))
      return work()
    })
    const settled = done.then(
      () => undefined,
      () => undefined,
    )
    this.#last.set(about, settled)
    void settled.then(() => {
      if (this.#last.get(about) === settled) this.#last.delete(about)
    })
    return done
  }
}
