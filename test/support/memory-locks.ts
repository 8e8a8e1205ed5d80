import type { LockRange } from '#src/core/attr.ts'
import { FsError } from '#src/core/errors.ts'
import type { Handle } from '#src/fuse/filesystem.ts'

interface Held {
  readonly owner: bigint
  readonly handle: Handle
  readonly range: LockRange
}

type Wanted = Omit<LockRange, 'kind'> & { readonly kind: LockRange['kind'] | 'unlock' }

/** The locks of one kind (POSIX or flock) on one inode. */
export class MemoryLocks {
  #held: Held[] = []
  #waiters = new Set<() => void>()

  blocking(owner: bigint, range: Wanted): LockRange | undefined {
    return this.#held.find(
      held =>
        held.owner !== owner &&
        held.range.start <= range.end &&
        range.start <= held.range.end &&
        (held.range.kind === 'write' || range.kind === 'write'),
    )?.range
  }

  async set(
    owner: bigint,
    handle: Handle,
    range: Wanted,
    wait: boolean,
    signal: () => AbortSignal,
  ): Promise<void> {
    while (range.kind !== 'unlock' && this.blocking(owner, range) !== undefined) {
      if (!wait) throw new FsError('EAGAIN')
      await this.#change(signal())
    }
    this.#cut(owner, range)
    if (range.kind !== 'unlock') this.#held.push({ owner, handle, range: { ...range, kind: range.kind } })
    this.#wake()
  }

  drop(isGone: (held: Held) => boolean): void {
    this.#held = this.#held.filter(held => !isGone(held))
    this.#wake()
  }

  #cut(owner: bigint, { start, end }: Wanted): void {
    this.#held = this.#held.flatMap(held => {
      if (held.owner !== owner || held.range.end < start || end < held.range.start) return [held]
      const left = { ...held, range: { ...held.range, end: start - 1n } }
      const right = { ...held, range: { ...held.range, start: end + 1n } }
      return [...(held.range.start < start ? [left] : []), ...(held.range.end > end ? [right] : [])]
    })
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter()
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (how: () => void) => () => {
        this.#waiters.delete(woken)
        signal.removeEventListener('abort', aborted)
        how()
      }
      const woken = settle(resolve)
      const aborted = settle(() => reject(new FsError('EINTR')))
      if (signal.aborted) {
        aborted()
        return
      }
      this.#waiters.add(woken)
      signal.addEventListener('abort', aborted)
    })
  }
}
