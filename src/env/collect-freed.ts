import { getHeapStatistics } from 'node:v8'
import { exposedGc } from './collect-every.ts'

/** How often it is looked at. */
const lookMs = 250

/**
 * Has V8 collect in this thread whenever buffers outside of its heap have grown by `bytes` since it did last. V8 by
 * itself waits until 64 MiB of them are garbage, in each thread, and more where they have outlived a young generation
 * or two. Marking a daemon's small heap costs about 10 ms of a processor. For as long as the thread lives.
 */
export function collectFreed(bytes: number): void {
  const collect = exposedGc()
  let kept = 0
  const look = (): void => {
    const { external_memory: now } = getHeapStatistics()
    kept = Math.min(kept, now)
    if (now < kept + bytes) return
    collect()
    kept = getHeapStatistics().external_memory
  }
  setInterval(look, lookMs).unref()
}
