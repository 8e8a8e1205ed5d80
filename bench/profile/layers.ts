import type { Usage } from './resources.ts'

export interface Layers {
  readonly units: number
  readonly unit: string
  readonly ms: number
  /** Of all disks, so of everybody on this machine. */
  readonly flushes: { readonly count: number; readonly ms: number }
  readonly processes: readonly {
    readonly role: string
    readonly before: Usage | undefined
    readonly after: Usage | undefined
    readonly grown: ReadonlyMap<string, number>
  }[]
}

interface Times {
  count: number
  ms: number
}

/** `name_count` and `name_sum` by operation. */
function timesOf(grown: ReadonlyMap<string, number>, name: string): Map<string, Times> {
  const found = new Map<string, Times>()
  for (const [series, value] of grown) {
    const match = /^(\w+)_(count|sum)\{operation="([^"]+)"\}$/.exec(series)
    if (match?.[1] !== name) continue
    const operation = match[3] ?? ''
    const times = found.get(operation) ?? { count: 0, ms: 0 }
    found.set(operation, times)
    if (match[2] === 'count') times.count += value
    else times.ms += value * 1000
  }
  return found
}

const total = (times: ReadonlyMap<string, Times>): Times => {
  const sum = { count: 0, ms: 0 }
  for (const { count, ms } of times.values()) {
    sum.count += count
    sum.ms += ms
  }
  return sum
}

/** One operation's time over kernel, mount, wire, master, chunkservers and disk, in a table. */
export function layersText({ units, unit, ms, flushes, processes }: Layers): string[] {
  const per = (value: number) => value / units
  const micros = (value: number) => (per(value) * 1000).toFixed(0)
  const lines = [
    `${units} ${unit} in ${ms.toFixed(0)} ms: ${micros(ms)} µs each, ${((units / ms) * 1000).toFixed(0)} a second`,
    '',
  ]
  lines.push('| layer | what | times a unit | µs a unit | µs each |', '|---|---|---|---|---|')
  const add = (layer: string, what: string, { count, ms: sum }: Times) =>
    lines.push(
      `| ${layer} | ${what} | ${per(count).toFixed(3)} | ${micros(sum)} | ${((sum * 1000) / Math.max(count, 1)).toFixed(0)} |`,
    )
  const list = (layer: string, times: ReadonlyMap<string, Times>) => {
    for (const [operation, each] of [...times].sort(([, a], [, b]) => b.ms - a.ms))
      add(layer, operation, each)
  }
  const of = (kind: string) => processes.filter(({ role }) => role.startsWith(kind))
  const mount = of('mount')[0]?.grown ?? new Map<string, number>()
  const master = of('master')[0]?.grown ?? new Map<string, number>()
  const requests = timesOf(mount, 'cairn_mount_request_seconds')
  const calls = timesOf(mount, 'cairn_mount_call_seconds')
  const masterCalls = timesOf(master, 'cairn_master_call_seconds')
  const inMount = total(requests)
  add('program and kernel', 'outside of the mount', { count: units, ms: ms - inMount.ms })
  list('mount, request', requests)
  list('mount, call to the master', calls)
  add('wire', 'calls less their time in the master', {
    count: total(calls).count,
    ms: total(calls).ms - total(masterCalls).ms,
  })
  list('master, call', masterCalls)
  list('master, step with its sync', timesOf(master, 'cairn_master_step_seconds'))
  for (const { role, grown } of of('chunkserver'))
    list(role, timesOf(grown, 'cairn_chunkserver_operation_seconds'))
  add('disk', 'flushes, of everybody', flushes)
  lines.push('', '| process | user µs a unit | system | waits | busy of the time |', '|---|---|---|---|---|')
  for (const { role, before, after } of processes) {
    if (before === undefined || after === undefined) continue
    const user = after.userMs - before.userMs
    const system = after.systemMs - before.systemMs
    lines.push(
      `| ${role} | ${micros(user)} | ${micros(system)} | ${per(after.waits - before.waits).toFixed(2)} | ${(((user + system) / ms) * 100).toFixed(0)} % |`,
    )
  }
  const others = [...mount, ...master].filter(([series]) => /_total$/.test(series) && !series.includes('cpu'))
  lines.push('', ...others.map(([series, value]) => `- ${series}: ${per(value).toFixed(2)} a unit`))
  return lines
}
