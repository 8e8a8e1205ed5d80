import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** V8's own function, in this thread. */
export function exposedGc(): (what?: { readonly type: 'minor' | 'major' }) => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as ReturnType<typeof exposedGc>
}

/**
 * A function that is told of bytes that pass through buffers, and has V8 collect after each `bytes` of them. V8
 * by itself waits until 64 MiB of buffers are garbage, whose pieces then lie all over the allocator's heap.
 * Marking a daemon's small heap costs about 10 ms of a processor.
 */
export function collectEvery(bytes: number): (passed: number) => void {
  const collect = exposedGc()
  let since = 0
  return passed => {
    since += passed
    if (since < bytes) return
    since = 0
    collect()
  }
}
