import type { BlockStore } from '../../chunkserver/blocks/block-store.ts'
import type { ChunkserverNode } from '../../chunkserver/chunkserver-node.ts'
import type { Metrics } from '../../service/metrics.ts'

/** What a chunkserver shows of itself. */
export function measureChunkserver(metrics: Metrics, node: ChunkserverNode, store: BlockStore): void {
  const { traffic } = node
  metrics.gauge({ name: 'cairn_chunkserver_attached', help: '1 if the master counts on it.' }, () =>
    node.isAttached ? 1 : 0,
  )
  metrics.gauge({ name: 'cairn_chunkserver_blocks', help: 'Copies that it has.' }, () => store.totals.blocks)
  metrics.gauge(
    { name: 'cairn_chunkserver_used_bytes', help: 'What its blocks take.' },
    () => store.space.status().usedBytes,
  )
  metrics.gauge(
    { name: 'cairn_chunkserver_capacity_bytes', help: 'What its blocks may take.' },
    () => store.space.status().totalBytes,
  )
  metrics.gauge(
    { name: 'cairn_chunkserver_refusing', help: '1 if it takes no new blocks: full, or the disk fails.' },
    () => (store.space.status().refusing === undefined ? 0 : 1),
  )
  metrics.gauge(
    { name: 'cairn_chunkserver_damaged_blocks', help: 'Copies that were found bad and not yet replaced.' },
    () => [...store.damages].length,
  )
  metrics.gauge(
    { name: 'cairn_chunkserver_streams', help: 'Streams that mounts and other nodes have open.' },
    () => node.streams,
  )
  metrics.counter(
    { name: 'cairn_chunkserver_received_bytes_total', help: 'Bytes of blocks that came.' },
    () => traffic.receivedBytes,
  )
  metrics.counter(
    { name: 'cairn_chunkserver_sent_bytes_total', help: 'Bytes of blocks that were read by others.' },
    () => traffic.sentBytes,
  )
  metrics.counter(
    {
      name: 'cairn_chunkserver_index_syncs_total',
      help: 'Transactions of the index, each stored with one sync.',
    },
    () => store.indexSyncs,
  )
  metrics.operations(
    {
      name: 'cairn_chunkserver_operation',
      help: 'put: a block through a chain of nodes, put_small: a message of small blocks, get: a read of one block.',
    },
    () => traffic.times.rows(),
  )
}
