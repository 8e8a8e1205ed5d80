import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { Notifier } from '../../fuse/filesystem.ts'
import type { FileIo } from './file-io.ts'
import type { Kernel } from './kernel.ts'

/**
 * What the daemon has the kernel forget. One thread writes the notifications, so one that waits for a
 * lock holds up those behind it.
 */
export class KernelNotifier implements Notifier {
  readonly #kernel: Kernel
  readonly #io: FileIo
  readonly #knowsEpochs: boolean
  #last: Promise<unknown> = Promise.resolve()

  /** `knowsEpochs`: 7.44 or newer. */
  constructor(kernel: Kernel, io: FileIo, knowsEpochs: boolean) {
    this.#kernel = kernel
    this.#io = io
    this.#knowsEpochs = knowsEpochs
  }

  invalidateInode(ino: Ino, offset: number, length: number): Promise<void> {
    return this.#after(async () => {
      const inode = this.#kernel.inode(ino)
      if (inode === undefined) return
      inode.version = this.#kernel.nextVersion()
      inode.attrUntil = 0
      if (offset < 0) return
      await this.#io.dropPages(inode, offset, length < 0 ? Number.POSITIVE_INFINITY : offset + length)
    })
  }

  invalidateEntry(parent: Ino, name: Name): Promise<void> {
    return this.#after(async () => {
      const inode = this.#kernel.inode(parent)
      if (inode === undefined) return
      await inode.lock.run('exclusive', `invalidation of ${name} in ${parent}`, () =>
        this.#kernel.dropDentry(inode, name),
      )
    })
  }

  invalidateAllNames(): Promise<boolean> {
    return this.#after(async () => {
      if (this.#knowsEpochs) this.#kernel.nextEpoch()
      return this.#knowsEpochs
    })
  }

  #after<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(async () => {
      await this.#kernel.env.delay(this.#kernel.prng.between(0.01, 0.5))
      return work()
    })
    this.#last = done.catch(() => undefined)
    return done
  }
}
