import { init, type EChartsOption } from 'echarts'
import { bestPeer, median, type Results, type RowResult } from './results.ts'

const width = 900
const rowHeight = 30
const margin = 110

function svg(option: EChartsOption, height: number): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height })
  chart.setOption({ animation: false, backgroundColor: '#fff', ...option })
  const text = chart.renderToSVGString()
  chart.dispose()
  return `${text}\n`
}

const round = (value: number): number => Number(value.toPrecision(3))

/** Each row's ratio to the best peer (or, without peers, to local), with its goal as a line across the bar. */
export function ratiosPlot({ rows, commit, began }: Results): string {
  const toPeers = rows.some(row => bestPeer(row) !== undefined)
  const base = (row: RowResult) => (toPeers ? bestPeer(row) : median(row.rates['local'] ?? []))
  const shown = rows.filter(row => Number.isFinite(base(row)) && row.rates['cairn'] !== undefined).reverse()
  const values = shown.map(row => round(median(row.rates['cairn'] ?? []) / (base(row) ?? Number.NaN)))
  const goals = shown.map(({ goal }) => (toPeers ? goal : undefined))
  return svg(
    {
      title: {
        text: `Cairn ÷ ${toPeers ? 'best peer' : 'local'}: ${began.slice(0, 10)}, ${commit}`,
        left: 'center',
      },
      grid: { left: 250, right: 60, top: 50, bottom: 40 },
      xAxis: { type: 'log', min: value => 10 ** Math.floor(Math.log10(Math.min(value.min, 1))) },
      yAxis: { type: 'category', data: shown.map(({ name }) => name) },
      series: [
        {
          name: 'ratio',
          type: 'bar',
          data: values.map((value, at) => ({
            value,
            itemStyle: { color: value >= (goals[at] ?? 1) ? '#3a7d44' : '#c0562f' },
          })),
          label: { show: true, position: 'right' },
          markLine: { silent: true, symbol: 'none', label: { show: false }, data: [{ xAxis: 1 }] },
        },
        {
          name: 'goal',
          type: 'scatter',
          symbol: 'rect',
          symbolSize: [3, 18],
          itemStyle: { color: '#222' },
          data: goals.map((goal, at) => [goal ?? Number.NaN, at]),
        },
      ],
    },
    margin + shown.length * rowHeight,
  )
}

/** How the ratios of all runs in the history have grown. */
export function historyPlot(history: readonly Results[]): string {
  const runs = history.filter(({ rows }) => rows.some(row => bestPeer(row) !== undefined))
  const keys = [...new Map(runs.flatMap(({ rows }) => rows.map(({ key, name }) => [key, name] as const)))]
  return svg(
    {
      title: { text: 'Cairn ÷ best peer, by commit', left: 'center' },
      legend: { orient: 'vertical', right: 0, top: 40, textStyle: { fontSize: 10 } },
      grid: { left: 50, right: 290, top: 50, bottom: 60 },
      xAxis: { type: 'category', data: runs.map(({ began, commit }) => `${began.slice(0, 10)}\n${commit}`) },
      yAxis: { type: 'log' },
      series: keys.map(([key, name]) => ({
        name,
        type: 'line',
        data: runs.map(({ rows }) => {
          const row = rows.find(each => each.key === key)
          const best = row === undefined ? undefined : bestPeer(row)
          return row === undefined || best === undefined
            ? '-'
            : round(median(row.rates['cairn'] ?? []) / best)
        }),
      })),
    },
    600,
  )
}
