import { FsError } from '../../core/errors.ts'
import type { MasterMeasures, MasterServer } from '../../master/rpc/server.ts'
import type { Metrics, Sample } from '../../service/metrics.ts'

/** What a master shows: of the cluster, as `cairn status` has it, and of its own work. */
export function measureMaster(metrics: Metrics, server: MasterServer): void {
  let last: MasterMeasures | undefined
  metrics.beforeRead(async () => {
    last = await server.measure()
  })
  const measures = (): MasterMeasures => {
    if (last === undefined) throw new FsError('EAGAIN', 'nothing was measured yet')
    return last
  }
  const status = () => measures().status

  metrics.gauges({ name: 'cairn_health', help: 'Of the cluster, as labels; 1 for the one that holds.' }, () =>
    ['ok', 'degraded', 'down'].map(health => ({
      labels: { health },
      value: status().health === health ? 1 : 0,
    })),
  )
  gaugesOf(metrics, {
    cairn_blocks: ['Blocks in use.', () => status().blocks?.total],
    cairn_block_bytes: ['Bytes of the blocks in use, each once.', () => status().blocks?.bytes],
    cairn_blocks_under_replicated: ['Blocks with too few copies.', () => status().blocks?.underReplicated],
    cairn_blocks_missing: ['Blocks without a reachable copy.', () => status().blocks?.missing],
    cairn_blocks_condemned: ['Blocks that are to be removed.', () => status().blocks?.condemned],
    cairn_inodes: ['Files, folders and what else has an inode.', () => status().inodes],
    cairn_capacity_bytes: ['What can be stored in all at the default copies.', () => status().totalBytes],
    cairn_available_bytes: ['What can still be stored at the default copies.', () => status().availableBytes],
    cairn_mounts: ['Sessions of mounts, silent ones included.', () => status().mounts.length],
    cairn_mounts_silent: [
      'Sessions of mounts that are not connected.',
      () => status().mounts.filter(mount => mount.state !== 'connected').length,
    ],
    cairn_leases: ['Leases that mounts hold.', () => sum(status().mounts.map(mount => mount.leases))],
    cairn_dirty_bytes: [
      'What mounts have not yet written back.',
      () => sum(status().mounts.map(mount => mount.dirtyBytes)),
    ],
    cairn_master_log_lag_seconds: [
      'For so long changes of the database were not on the chunkservers that keep its log; 0 where none is kept.',
      () => Number(status().log?.lagMs ?? 0n) / 1000,
    ],
    cairn_master_log_followers: [
      'Chunkservers from which the database could be restored.',
      () => status().log?.followers.filter(({ whole }) => whole).length,
    ],
    cairn_master_log_followers_wanted: ['Chunkservers that are to keep the log.', () => status().log?.wanted],
    cairn_master_log_queued_bytes: ['What waits to be sent to them.', () => status().log?.queuedBytes],
    cairn_master_waiting_calls: ['Calls of mounts that wait for a lease.', () => measures().waiting],
    cairn_master_connections: ['Connections of mounts and nodes.', () => measures().connections],
  })
  const ofNodes = (value: (node: Node) => bigint | number) => (): Sample[] =>
    status().nodes.map(node => ({
      labels: { node: node.id.toString(), address: node.address, zone: node.zone },
      value: Number(value(node)),
    }))
  type Node = ReturnType<typeof status>['nodes'][number]
  metrics.gauges(
    { name: 'cairn_node_up', help: '1 if the chunkserver is there, 0 if it is down.' },
    ofNodes(node => (node.state === 'down' ? 0 : 1)),
  )
  metrics.gauges(
    { name: 'cairn_node_refusing', help: '1 if the chunkserver takes no new blocks.' },
    ofNodes(node => (node.reason === '' ? 0 : 1)),
  )
  metrics.gauges(
    { name: 'cairn_node_used_bytes', help: 'What its blocks take.' },
    ofNodes(node => node.usedBytes),
  )
  metrics.gauges(
    { name: 'cairn_node_capacity_bytes', help: 'What its blocks may take.' },
    ofNodes(node => node.totalBytes),
  )
  metrics.gauges(
    { name: 'cairn_node_blocks', help: 'Copies that it has.' },
    ofNodes(node => node.blocks),
  )
  metrics.gauges(
    { name: 'cairn_node_silent_seconds', help: 'Since it was last heard.' },
    ofNodes(node => Number(node.silentMs) / 1000),
  )
  metrics.counter(
    { name: 'cairn_master_inputs_total', help: 'Frames and other events that the engine was given.' },
    () => measures().inputs,
  )
  metrics.counter(
    { name: 'cairn_master_log_bytes_total', help: 'Bytes of records that were made for the log.' },
    () => Number(status().log?.loggedBytes ?? 0n),
  )
  metrics.operations(
    {
      name: 'cairn_master_call',
      help: 'Calls of mounts, from their coming to their answer, waiting for leases included.',
    },
    () => measures().calls,
  )
  metrics.operations(
    {
      name: 'cairn_master_step',
      help: 'Steps of the engine: what had gathered, executed and stored with one sync.',
    },
    () => measures().steps,
  )
}

type Table = Readonly<Record<string, readonly [help: string, read: () => bigint | number | undefined]>>

function gaugesOf(metrics: Metrics, table: Table): void {
  for (const [name, [help, read]] of Object.entries(table))
    metrics.gauge({ name, help }, () => Number(read() ?? 0))
}

const sum = (values: readonly bigint[]): bigint => values.reduce((total, value) => total + value, 0n)
