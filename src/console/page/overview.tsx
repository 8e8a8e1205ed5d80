import type { OverviewAnswer } from '../answers.ts'
import { ask, usePolled } from './ask.ts'
import { bytes, counted, duration, milliseconds, number, percent, rate } from './format.ts'
import { Card, Figures, Fill, State } from './parts.tsx'
import { Plot } from './plot.tsx'

type Values = readonly (number | null)[]

interface Live {
  readonly times: readonly number[]
  readonly callsPerSecond: Values
  readonly callP50Ms: Values
  readonly callP99Ms: Values
  readonly syncP99Ms: Values
  readonly repairPerSecond: Values
  readonly dirtyBytes: Values
  readonly writtenPerSecond: Values
  readonly readPerSecond: Values
}

interface Capacity {
  readonly times: readonly number[]
  readonly usedBytes: Values
  readonly totalBytes: Values
}

const liveEveryMs = 2000
const capacityEveryMs = 60_000
const shownMax = 600

export function Overview({ cluster }: { readonly cluster: OverviewAnswer }) {
  return (
    <div class="grid">
      <Health cluster={cluster} />
      <Space cluster={cluster} />
      <Inventory cluster={cluster} />
      <LivePlots />
      <CapacityPlot />
    </div>
  )
}

function Health({ cluster }: { readonly cluster: OverviewAnswer }) {
  return (
    <Card title="Health" wide>
      <p class="verdict">
        <State of={cluster.health} />{' '}
        {cluster.findings.length === 0 ? 'All is well.' : 'What is to be known, and what to do next:'}
      </p>
      <ul class="findings">
        {cluster.findings.map(({ text, severity, steps }) => (
          <li key={text} class={severity}>
            <p>
              <State of={severity} /> {text}
            </p>
            {steps.length > 0 && (
              <ol>
                {steps.map(step => (
                  <li key={step}>{step}</li>
                ))}
              </ol>
            )}
          </li>
        ))}
      </ul>
    </Card>
  )
}

function Space({ cluster }: { readonly cluster: OverviewAnswer }) {
  const { totalBytes, availableBytes, growth, copies } = cluster
  const used = totalBytes - availableBytes
  return (
    <Card title="Capacity">
      <Fill part={used} whole={totalBytes} label="Capacity in use" />
      <Figures
        rows={[
          [
            'Free',
            `${bytes(availableBytes)} of ${bytes(totalBytes)} at ${counted(copies, 'copy', 'copies')}`,
          ],
          [
            'Growth',
            growth === null ? 'known after an hour' : `${bytes(growth.bytesPerDay)} a day on all disks`,
          ],
          ['Full', growth === null ? '–' : fullWhen(growth.fullInDays)],
        ]}
      />
    </Card>
  )
}

function fullWhen(days: number | null): string {
  if (days === null || days > 3650) return 'not at this pace'
  return days < 1 ? 'within a day' : `in about ${counted(Math.round(days), 'day')}`
}

function Inventory({ cluster }: { readonly cluster: OverviewAnswer }) {
  const { blocks, nodes, backups } = cluster
  const up = nodes.filter(({ state }) => state !== 'down').length
  return (
    <Card title="Cluster">
      <Figures
        rows={[
          ['Nodes', `${number(up)} of ${number(cluster.nodesTotal)} up`],
          ['Mounts', number(cluster.mountsTotal)],
          ['Files and folders', number(cluster.inodes)],
          ['Blocks', `${number(blocks.total)} (${bytes(blocks.bytes)})`],
          [
            'Copies',
            blocks.underReplicated + blocks.missing === 0
              ? 'all there'
              : `${number(blocks.underReplicated)} blocks with too few, ${number(blocks.missing)} with none`,
          ],
          [
            'Backup',
            backups === null || backups.ageMs === null
              ? 'none yet'
              : `${duration(backups.ageMs)} ago, ${bytes(backups.bytes)}`,
          ],
          ['Master', `up ${duration(cluster.uptimeMs)}, ${bytes(cluster.memoryBytes)} of memory`],
        ]}
      />
    </Card>
  )
}

async function nextLive(before: Live | undefined): Promise<Live> {
  const since = before?.times.at(-1) ?? 0
  const more = await ask<Live>(`live?since=${String(Math.floor(since))}`)
  if (before === undefined) return more
  const join = (old: Values, fresh: Values) => [...old, ...fresh].slice(-shownMax)
  return {
    times: [...before.times, ...more.times].slice(-shownMax),
    callsPerSecond: join(before.callsPerSecond, more.callsPerSecond),
    callP50Ms: join(before.callP50Ms, more.callP50Ms),
    callP99Ms: join(before.callP99Ms, more.callP99Ms),
    syncP99Ms: join(before.syncP99Ms, more.syncP99Ms),
    repairPerSecond: join(before.repairPerSecond, more.repairPerSecond),
    dirtyBytes: join(before.dirtyBytes, more.dirtyBytes),
    writtenPerSecond: join(before.writtenPerSecond, more.writtenPerSecond),
    readPerSecond: join(before.readPerSecond, more.readPerSecond),
  }
}

function LivePlots() {
  const { value } = usePolled<Live>(nextLive, liveEveryMs)
  if (value === undefined) return null
  const { times } = value
  return (
    <>
      <Plot
        title="Throughput of mounts"
        times={times}
        show={value => `${bytes(value)}/s`}
        lines={[
          { label: 'written', colour: 1, values: value.writtenPerSecond },
          { label: 'read from nodes', colour: 2, values: value.readPerSecond },
        ]}
      />
      <Plot
        title="Calls a second"
        times={times}
        show={rate}
        lines={[{ label: 'calls of mounts', colour: 1, values: value.callsPerSecond }]}
      />
      <Plot
        title="Latency of calls"
        times={times}
        show={milliseconds}
        lines={[
          { label: 'half take', colour: 1, values: value.callP50Ms },
          { label: '99 % take', colour: 2, values: value.callP99Ms },
          { label: 'step with sync, 99 %', colour: 3, values: value.syncP99Ms },
        ]}
      />
      <Plot
        title="Repair and moves"
        times={times}
        show={value => `${bytes(value)}/s`}
        lines={[{ label: 'copied', colour: 1, values: value.repairPerSecond }]}
      />
      <Plot
        title="Not yet written back"
        times={times}
        show={bytes}
        lines={[{ label: 'in mounts', colour: 1, values: value.dirtyBytes }]}
      />
    </>
  )
}

function CapacityPlot() {
  const { value } = usePolled<Capacity>(() => ask<Capacity>('capacity'), capacityEveryMs)
  // A plot needs two points.
  if (value === undefined || value.times.length < 2)
    return (
      <Card title="Disks over time">
        <p class="note">Shown some minutes after the master has started; one point is five minutes.</p>
      </Card>
    )
  const filled = percent(value.usedBytes.at(-1) ?? 0, value.totalBytes.at(-1) ?? 0)
  return (
    <Plot
      title={`Disks, ${filled.toFixed(0)} % full`}
      times={value.times}
      show={bytes}
      lines={[
        { label: 'used', colour: 1, values: value.usedBytes },
        { label: 'size', colour: 3, values: value.totalBytes },
      ]}
    />
  )
}
