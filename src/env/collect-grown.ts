import { getHeapStatistics } from 'node:v8'
import { exposedGc } from './collect-every.ts'

/** How often it is looked at. */
const lookMs = 100

/**
 * Has V8 collect in this thread when its heap (the objects, not the buffers outside of it) has grown by `bytes` since
 * it did last: for a daemon that lets its heap grow far so that data in buffers, which V8 counts as growth of the heap,
 * is not the cause of a collection each time. Many small messages fill the heap itself. For as long as the thread lives.
 */
export function collectGrown(bytes: number): void {
  const collect = exposedGc()
  const used = (): number => getHeapStatistics().used_heap_size
  /** The least since the last time that all was collected. */
  let kept = used()
  const look = (): void => {
    kept = Math.min(kept, used())
    if (used() < kept + bytes) return
    collect()
    kept = used()
  }
  setInterval(look, lookMs).unref()
}
