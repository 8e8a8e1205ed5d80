import type { ClientDataPath, DataCounts } from '../../client/data-path.ts'
import type { Files } from '../../client/files.ts'
import type { Session } from '../../client/session/session.ts'
import type { OperationTimes } from '../../core/operation-times.ts'
import type { Metrics } from '../../service/metrics.ts'

export interface MountParts {
  readonly session: Session
  readonly files: Files
  /** Undefined until something uses it. */
  readonly data: () => ClientDataPath | undefined
  /** Of the kernel's requests. */
  readonly requests: OperationTimes
}

const nothing: DataCounts = {
  dirtyBytes: 0,
  storedBytes: 0,
  blocksGivenUp: 0,
  cacheHits: 0,
  cacheMisses: 0,
  cacheBytes: 0,
  fetchedBytes: 0,
}

/** What a mount shows of itself. */
export function measureMount(metrics: Metrics, { session, files, data, requests }: MountParts): void {
  const counts = (): DataCounts => data()?.counts ?? nothing
  metrics.gauge({ name: 'cairn_mount_attached', help: '1 if it is connected to the master.' }, () =>
    session.isAttached ? 1 : 0,
  )
  metrics.gauge(
    {
      name: 'cairn_mount_lease_seconds',
      help: 'For how long it may serve what it knows without the master.',
    },
    () => session.leaseLeftMs() / 1000,
  )
  metrics.gauge(
    { name: 'cairn_mount_dirty_bytes', help: 'Written and not yet stored.' },
    () => counts().dirtyBytes,
  )
  metrics.gauge({ name: 'cairn_mount_cached_inodes', help: 'Inodes that it knows.' }, () => files.cache.size)
  metrics.gauge(
    { name: 'cairn_mount_cache_bytes', help: 'Data of blocks in memory.' },
    () => counts().cacheBytes,
  )
  metrics.counter(
    { name: 'cairn_mount_cache_hits_total', help: 'Reads of blocks that memory answered.' },
    () => counts().cacheHits,
  )
  metrics.counter(
    { name: 'cairn_mount_cache_misses_total', help: 'Reads of blocks that needed a node.' },
    () => counts().cacheMisses,
  )
  metrics.counter(
    { name: 'cairn_mount_fetched_bytes_total', help: 'Bytes of blocks that nodes sent.' },
    () => counts().fetchedBytes,
  )
  metrics.counter(
    { name: 'cairn_mount_stored_bytes_total', help: 'Bytes of blocks that were stored, each block once.' },
    () => counts().storedBytes,
  )
  metrics.counter(
    {
      name: 'cairn_mount_blocks_given_up_total',
      help: 'Blocks that could not be stored: the program heard of it by fsync or close.',
    },
    () => counts().blocksGivenUp,
  )
  metrics.operations(
    { name: 'cairn_mount_request', help: "The kernel's requests, from their coming to their answer." },
    () => requests.rows(),
  )
  metrics.operations(
    {
      name: 'cairn_mount_call',
      help: 'Calls to the master, from the wish to the answer.',
    },
    () => session.times.rows(),
  )
}
