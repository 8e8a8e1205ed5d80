import type { OverviewAnswer } from '../answers.ts'
import { bytes, duration, number } from './format.ts'
import { Card, State } from './parts.tsx'
import { type Column, Table } from './table.tsx'

type Mount = OverviewAnswer['mounts'][number]

const columns: readonly Column<Mount>[] = [
  { head: 'Mount', cell: mount => <b>{mount.session}</b> },
  {
    head: 'State',
    cell: mount => (
      <>
        <State of={mount.state} />
        {mount.state !== 'connected' && <span class="also">for {duration(mount.silentMs)}</span>}
      </>
    ),
  },
  { head: 'Machine', cell: mount => mount.host },
  { head: 'Path', cell: mount => <bdi class="path">{mount.path}</bdi> },
  { head: 'Process', isNumber: true, cell: mount => mount.process },
  { head: 'Not yet written back', isNumber: true, cell: mount => bytes(mount.dirtyBytes) },
  { head: 'Leases', isNumber: true, cell: mount => number(mount.leases) },
  { head: 'Calls', isNumber: true, cell: mount => number(mount.calls) },
  { head: 'Version', cell: mount => mount.program },
]

export function Mounts({ cluster }: { readonly cluster: OverviewAnswer }) {
  const { mounts, mountsTotal } = cluster
  return (
    <Card title="Mounts" wide>
      <Table
        caption="Mounts"
        columns={columns}
        rows={mounts}
        keyOf={({ session }) => session}
        empty="Nobody has mounted this cluster."
      />
      {mounts.length < mountsTotal && (
        <p class="note">{number(mountsTotal - mounts.length)} more are not shown.</p>
      )}
    </Card>
  )
}
