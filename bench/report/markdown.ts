import { bestPeer, median, type Results, type RowResult } from './results.ts'

/** Of the processors that one waiting run of the bench does not use: more is somebody else's work. */
const idleLoad = 0.5

const show = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(2)

const ratio = (value: number | undefined): string =>
  value === undefined || !Number.isFinite(value) ? '-' : value.toFixed(value < 0.1 ? 3 : value < 10 ? 2 : 1)

function cell(rates: readonly number[] | undefined): string {
  if (rates === undefined || rates.length === 0) return '-'
  return `${show(median(rates))} (${show(Math.min(...rates))}–${show(Math.max(...rates))})`
}

/** Not idle when it began: figures are then lower than the machine can do, and the sides' ratios less sure. */
export function loadNote({ loads, machine }: Results): string {
  const worst = Math.max(...loads)
  const list = loads.map(load => load.toFixed(1)).join(', ')
  return worst > idleLoad
    ? `**The machine was not idle**: load average ${list} when its parts began, on ${machine.processors} processors.`
    : `The machine was idle: load average ${list} when it began.`
}

function line(row: RowResult, sides: readonly string[]): string {
  const { rates, name, unit, goal } = row
  const cairn = median(rates['cairn'] ?? [])
  const best = bestPeer(row)
  const toPeer = best === undefined ? undefined : cairn / best
  const goalText =
    goal === undefined
      ? '-'
      : toPeer === undefined
        ? goal.toFixed(1)
        : `${goal.toFixed(1)} ${toPeer >= goal ? '✓' : '✗'}`
  const cells = [`${name}, ${unit}`, ...sides.map(side => cell(rates[side]))]
  if (rates['local'] !== undefined) cells.push(ratio(cairn / median(rates['local'])))
  else cells.push('-')
  return `| ${[...cells, ratio(toPeer), goalText].join(' | ')} |`
}

export function markdown(results: Results): string {
  const { machine, sides, rows, sizes, commit, began, startsMs, mountsMs, peaksMiB } = results
  const names = sides.map(({ name }) => name)
  const rounds = Math.max(...rows.flatMap(row => Object.values(row.rates).map(rates => rates.length)))
  const head = ['work, a second', ...names, 'Cairn ÷ local', 'Cairn ÷ best peer', 'goal']
  return [
    `# ${began.slice(0, 10)}, ${commit}`,
    '',
    `${machine.processors} × ${machine.model}, ${machine.memoryGiB} GiB, disk of ${machine.disk}, Linux ${machine.kernel}, Node ${machine.node}.`,
    `${rounds} rounds, interleaved; medians (lowest–highest). ${Object.entries(sizes)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}.`,
    loadNote(results),
    '',
    ...sides.map(({ name, description }) => `- ${name}: ${description}`),
    '',
    `| ${head.join(' | ')} |`,
    `|${head.map(() => '---').join('|')}|`,
    ...rows.map(row =>
      line(
        row,
        sides.map(({ key }) => key),
      ),
    ),
    '',
    `Start of the cluster ${show(median(startsMs))} ms, of a mount ${show(median(mountsMs))} ms. Peak memory, MiB: ${Object.entries(
      peaksMiB,
    )
      .map(([role, peak]) => `${role} ${peak.toFixed(0)}`)
      .join(', ')}.`,
    '',
  ].join('\n')
}
