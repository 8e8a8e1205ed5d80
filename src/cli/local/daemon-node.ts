/**
 * How Node runs a daemon. It must be said on the command line: V8 takes none of this once it has started. The
 * first line of cairn.ts says the same for who runs `cairn master` and its like directly.
 *
 * A daemon's live heap is some 15 MB, and what makes V8 collect is the data that passes through buffers outside
 * of it, which counts as growth. So the heap may grow threefold before all of it is marked again (else that
 * happens for each 20 MB that pass); a small young generation frees buffers that are done with soon; and helper
 * threads for so little marking cost more than they save.
 */
export const daemonNodeOptions: readonly string[] = [
  '--single-threaded-gc',
  '--max-semi-space-size=4',
  '--heap-growing-percent=200',
]

/**
 * On top of those: a master's heap is small beside the records and rows that pass through it, and 25 MB less are resident
 * where it may only double. The last word counts.
 */
export const masterNodeOptions: readonly string[] = ['--heap-growing-percent=100']

/**
 * Received blocks are buffers of megabytes. glibc would keep those that are freed, a piece here and there, in a heap for
 * each thread: 30 MB of a chunkserver's memory.
 */
export const chunkserverEnvironment: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '131072',
}

/**
 * Records of the master's log and batches of commands are smaller, and lie as much in between: 40 MB after 100,000 files
 * that were made.
 */
export const masterEnvironment: Readonly<Record<string, string>> = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '32768',
}
