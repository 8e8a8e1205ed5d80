import type { NodeAnswer, OverviewAnswer } from '../answers.ts'
import { bytes, counted, duration, moment, number } from './format.ts'
import { Card, Figures, Progress } from './parts.tsx'
import { type Column, Table } from './table.tsx'

type RepairClass = OverviewAnswer['repair']['classes'][number]

const classes: readonly Column<RepairClass>[] = [
  { head: 'Urgency', cell: row => row.name },
  { head: 'Blocks', isNumber: true, cell: row => number(row.blocks) },
  { head: 'Bytes', isNumber: true, cell: row => bytes(row.bytes) },
]

const scrubs: readonly Column<NodeAnswer>[] = [
  { head: 'Node', cell: node => <b>{node.id}</b> },
  {
    head: 'This round',
    cell: ({ id, scrub }) =>
      scrub === null ? 'not known' : <Progress permille={scrub.permille} label={`Scrub of node ${id}`} />,
  },
  { head: 'Speed', isNumber: true, cell: ({ scrub }) => `${bytes(scrub?.bytesPerSecond ?? 0)}/s` },
  { head: 'Damaged', isNumber: true, cell: ({ scrub }) => number(scrub?.damaged ?? 0) },
  {
    head: 'Last round ended',
    cell: ({ scrub }) =>
      scrub === null || scrub.finishedMs === 0 ? 'not since it started' : moment(scrub.finishedMs),
  },
]

export function Work({ cluster }: { readonly cluster: OverviewAnswer }) {
  return (
    <div class="grid">
      <Repair repair={cluster.repair} />
      <Rebalance rebalance={cluster.rebalance} />
      <Card title="Scrub" wide>
        <p class="note">
          Every chunkserver reads all its copies in rounds, and has what is damaged replaced.
        </p>
        <Table
          caption="Scrub by node"
          columns={scrubs}
          rows={cluster.nodes}
          keyOf={({ id }) => id}
          empty="No chunkserver has attached yet."
        />
      </Card>
    </div>
  )
}

function Repair({ repair }: { readonly repair: OverviewAnswer['repair'] }) {
  const waiting = repair.classes.filter(({ blocks }) => blocks > 0)
  return (
    <Card title="Repair">
      <p class="verdict">{repairVerdict(repair, waiting.length > 0)}</p>
      <Figures
        rows={[
          [
            'Under way',
            `${counted(repair.copiesUnderWay, 'copy', 'copies')}, ${bytes(repair.bytesUnderWay)}`,
          ],
          ['Speed', `${bytes(repair.bytesPerSecond)}/s`],
          ['Left', repair.leftMs === 0 ? '–' : duration(repair.leftMs)],
          ['Since the master started', `${number(repair.copied)} made, ${number(repair.failed)} failed`],
        ]}
      />
      <Table
        caption="Blocks that wait for copies"
        columns={classes}
        rows={waiting}
        keyOf={({ name }) => name}
        empty="No block waits for a copy."
      />
    </Card>
  )
}

function repairVerdict(repair: OverviewAnswer['repair'], isWaiting: boolean): string {
  if (repair.waitingFor !== '') return `Nothing is repaired yet: ${repair.waitingFor}`
  if (isWaiting) return 'Copies are being made.'
  return repair.searching ? 'The tables are being looked through.' : 'Nothing is to be repaired.'
}

function Rebalance({ rebalance }: { readonly rebalance: OverviewAnswer['rebalance'] }) {
  const part = (permille: number) => `${(permille / 10).toFixed(1)} %`
  return (
    <Card title="Rebalance">
      <p class="verdict">
        {rebalance.running ? 'Copies are moved from full disks to empty ones.' : 'Not running.'}
      </p>
      <Figures
        rows={[
          ['Fullest disk', part(rebalance.fullestPermille)],
          ['Emptiest disk', part(rebalance.emptiestPermille)],
          ['Left', rebalance.running ? bytes(rebalance.bytesLeft) : '–'],
          ['Speed', `${bytes(rebalance.bytesPerSecond)}/s`],
          ['Time left', rebalance.leftMs === 0 ? '–' : duration(rebalance.leftMs)],
        ]}
      />
      {!rebalance.running && (
        <p class="note">
          <code>cairn rebalance start</code> begins it.
        </p>
      )}
    </Card>
  )
}
