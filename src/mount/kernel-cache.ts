import type { Env } from '../core/env.ts'
import { messageOf } from '../core/errors.ts'
import { type Ino, rootIno } from '../core/ids.ts'
import type { Forgetter } from '../client/files/context.ts'
import type { Notifier } from '../fuse/filesystem.ts'

/**
 * Has the kernel forget what it was told under a lease. A notification that fails is logged and not
 * repeated: what it was about ends with its time-out, and the lease does not wait for it.
 */
export class KernelCache implements Forgetter {
  readonly #notifier: Notifier
  readonly #env: Env
  /** What the kernel calls 1. */
  readonly #root: Ino

  constructor(env: Env, notifier: Notifier, root: Ino) {
    this.#root = root
    this.#env = env
    this.#notifier = notifier
  }

  async inode(ino: Ino, pages: boolean): Promise<void> {
    try {
      // From the start to the end; a negative offset means the attributes only.
      await this.#notifier.invalidateInode(this.#node(ino), pages ? 0 : -1, pages ? -1 : 0)
    } catch (thrown) {
      this.#failed(`inode ${ino}`, thrown)
    }
  }

  async names(): Promise<void> {
    try {
      await this.#notifier.invalidateAllNames()
    } catch (thrown) {
      this.#failed('names', thrown)
    }
  }

  attributesNow(ino: Ino): void {
    try {
      this.#notifier.invalidateAttributesNow(this.#node(ino))
    } catch (thrown) {
      this.#failed(`inode ${ino}`, thrown)
    }
  }

  namesNow(): void {
    try {
      this.#notifier.invalidateAllNamesNow()
    } catch (thrown) {
      this.#failed('names', thrown)
    }
  }

  #node(ino: Ino): Ino {
    return ino === this.#root ? rootIno : ino
  }

  #failed(what: string, thrown: unknown): void {
    this.#env.log.warn('The kernel did not take an invalidation', { what, why: messageOf(thrown) })
  }
}
