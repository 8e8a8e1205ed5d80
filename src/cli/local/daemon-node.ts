/**
 * How Node runs a daemon. It must be said on the command line: V8 takes none of this once it has started. The
 * first line of cairn.ts says the same for who runs `cairn master` and its like directly.
 *
 * A daemon's live heap is small, and what makes V8 collect is the data that passes through buffers outside it.
 * Helper threads for so little marking cost more than they save, and processors are better spent on the other
 * daemons of the machine; a small young generation frees buffers that are done with soon.
 */
export const daemonNodeOptions: readonly string[] = ['--single-threaded-gc', '--max-semi-space-size=4']
