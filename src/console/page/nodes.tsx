import type { NodeAnswer, OverviewAnswer } from '../answers.ts'
import { bytes, counted, duration, number } from './format.ts'
import { Card, Fill, State } from './parts.tsx'
import { type Column, Table } from './table.tsx'

const columns: readonly Column<NodeAnswer>[] = [
  { head: 'Node', cell: node => <b>{node.id}</b> },
  { head: 'State', cell: stateOf },
  { head: 'Address', cell: node => node.address },
  { head: 'Machine', cell: node => node.host },
  { head: 'Zone', cell: node => node.zone },
  {
    head: 'Disk',
    cell: node => <Fill part={node.usedBytes} whole={node.totalBytes} label={`Disk of node ${node.id}`} />,
  },
  { head: 'Used', isNumber: true, cell: node => `${bytes(node.usedBytes)} of ${bytes(node.totalBytes)}` },
  { head: 'Copies', isNumber: true, cell: node => number(node.blocks) },
  { head: 'Last heard', isNumber: true, cell: node => `${duration(node.silentMs)} ago` },
]

function stateOf({ state, reason, draining }: NodeAnswer) {
  return (
    <>
      <State of={state} />
      {draining !== null && (
        <span class="also">
          {draining.blocksLeft === 0
            ? 'empty'
            : `being emptied: ${counted(draining.blocksLeft, 'block')} left${draining.leftMs > 0 ? `, ${duration(draining.leftMs)}` : ''}`}
        </span>
      )}
      {reason !== '' && <span class="also">{reason}</span>}
    </>
  )
}

export function Nodes({ cluster }: { readonly cluster: OverviewAnswer }) {
  const { nodes, nodesTotal } = cluster
  return (
    <Card title="Nodes and disks" wide>
      <p class="note">A node is a chunkserver: one process for each disk.</p>
      <Table
        caption="Nodes and disks"
        columns={columns}
        rows={nodes}
        keyOf={({ id }) => id}
        empty="No chunkserver has attached yet."
      />
      {nodes.length < nodesTotal && (
        <p class="note">{number(nodesTotal - nodes.length)} more are not shown.</p>
      )}
    </Card>
  )
}
