/**
 * How Node runs a daemon. It must be said on the command line: V8 takes none of this once it has started. The
 * first line of cairn.ts says the same for who runs `cairn master` and its like directly.
 *
 * A daemon's live heap is some 15 MB, and what makes V8 collect is the data that passes through buffers outside
 * of it, which counts as growth. So the heap may grow threefold before all of it is marked again (else that
 * happens for each 20 MB that pass); a small young generation frees buffers that are done with soon; and helper
 * threads for so little marking cost more than they save.
 */
const nodeOptions: readonly string[] = [
  '--single-threaded-gc',
  '--max-semi-space-size=4',
  '--heap-growing-percent=200',
]

/**
 * What grows with what a master or a mount knows (inodes, names) lies in the heap, up to 100 MB of it: that may only
 * double. The last word counts.
 */
const knowingNodeOptions: readonly string[] = [...nodeOptions, '--heap-growing-percent=100']

/** What passes through the master are small messages: half the young generation, half the garbage that lies there. */
const masterNodeOptions: readonly string[] = [...knowingNodeOptions, '--max-semi-space-size=2']

export type Daemon = 'master' | 'chunkserver' | 'mount'

export const nodeOptionsOf = (daemon: Daemon): readonly string[] =>
  ({ master: masterNodeOptions, chunkserver: nodeOptions, mount: knowingNodeOptions })[daemon]

/**
 * What glibc is told. It would keep what is freed, a piece here and there, in a heap for each thread, and raise the size
 * from which on memory is given back with each piece that is: blocks that were received are buffers of megabytes (30 MB of
 * a chunkserver's memory); records of the master's log and batches of commands are smaller, and lie as much in between (40
 * MB after 100,000 files that were made).
 */
export const environmentOf: Readonly<Record<Daemon, Readonly<Record<string, string>>>> = {
  master: { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '32768' },
  chunkserver: { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' },
  mount: { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '131072' },
}
