import type { FsError } from '../../core/errors.ts'
import { deferred, type Deferred } from '../waiting.ts'

/** Who waits for what was promised already, and goes on without it at some time. */
export class Patience {
  readonly #waiting = new Set<{ readonly since: number; readonly late: Deferred<never> }>()

  /** As `promised`, unless it is given up first. `now`: as `since` in `giveUp`. */
  async wait<T>(promised: Promise<T>, now: number): Promise<T> {
    const waiting = { since: now, late: deferred<never>() }
    // The race may be over when it is given up.
    waiting.late.promise.catch(() => undefined)
    this.#waiting.add(waiting)
    try {
      return await Promise.race([promised, waiting.late.promise])
    } finally {
      this.#waiting.delete(waiting)
    }
  }

  /** Rejects for those who have waited too long. */
  giveUp(isLate: (waiting: { readonly since: number }) => boolean, why: () => FsError): void {
    for (const waiting of this.#waiting) if (isLate(waiting)) waiting.late.reject(why())
  }
}
