import { getHeapStatistics } from 'node:v8'
import { exposedGc } from './collect-every.ts'

/** How often it is looked at. */
const lookMs = 100

/**
 * Has V8 collect in this thread when buffers outside of its heap have grown by `bytes` since it did last: the young ones
 * at half of that, about 1 ms, and all if that was not enough, about 10 ms for a daemon's small heap. V8 by itself waits
 * until 64 MiB of them are garbage, in each thread, and more where they have outlived a young generation or two. For as
 * long as the thread lives.
 */
export function collectFreed(bytes: number): void {
  const collect = exposedGc()
  const outside = (): number => getHeapStatistics().external_memory
  /** After the last time that all, and that the young ones, were collected. */
  let kept = 0
  let left = 0
  const look = (): void => {
    const now = outside()
    kept = Math.min(kept, now)
    left = Math.min(left, now)
    if (now < left + bytes / 2) return
    collect({ type: 'minor' })
    left = outside()
    if (left < kept + bytes) return
    collect()
    kept = left = outside()
  }
  setInterval(look, lookMs).unref()
}
