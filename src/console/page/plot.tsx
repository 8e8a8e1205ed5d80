import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { useColours } from './theme.ts'

export interface Line {
  readonly label: string
  /** Of the colours of the style sheet: --line-1, … */
  readonly colour: 1 | 2 | 3
  readonly values: readonly (number | null)[]
}

interface Props {
  readonly title: string
  readonly times: readonly number[]
  readonly lines: readonly Line[]
  readonly show: (value: number) => string
}

const height = 180
const latest = 12

/** A plot over time. What it says is in words beside it, since a canvas says nothing to a screen reader. */
export function Plot({ title, times, lines, show }: Props) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const colours = useColours()
  const data = [times.map(ms => ms / 1000), ...lines.map(({ values }) => values)] as uPlot.AlignedData

  useEffect(() => {
    const element = place.current
    if (element === null) return
    const style = getComputedStyle(document.documentElement)
    const colour = (name: string) => style.getPropertyValue(name).trim()
    const axis = {
      stroke: colour('--quiet'),
      grid: { stroke: colour('--rule'), width: 1 },
      ticks: { stroke: colour('--rule'), width: 1 },
      font: '12px system-ui, sans-serif',
    }
    const made = new uPlot(
      {
        width: element.clientWidth,
        height,
        legend: { show: false },
        cursor: { drag: { x: false, y: false } },
        scales: { y: { range: (_plot, _min, max) => [0, max > 0 ? max * 1.1 : 1] } },
        axes: [
          { ...axis, space: 70 },
          { ...axis, size: 76, values: (_plot, at) => at.map(show) },
        ],
        series: [
          {},
          ...lines.map(({ label, colour: at }) => ({
            label,
            stroke: colour(`--line-${String(at)}`),
            width: 2,
            points: { show: false },
          })),
        ],
      },
      data,
      element,
    )
    plot.current = made
    const resized = new ResizeObserver(() => {
      made.setSize({ width: element.clientWidth, height })
    })
    resized.observe(element)
    return () => {
      resized.disconnect()
      made.destroy()
      plot.current = undefined
    }
  }, [colours, lines.length])

  useEffect(() => {
    plot.current?.setData(data)
  }, [times])

  return (
    <figure class="card plot">
      <figcaption>
        <h3>{title}</h3>
        <ul class="legend">
          {lines.map(({ label, colour, values }) => (
            <li key={label}>
              <span class={`dot line-${String(colour)}`} aria-hidden="true" />
              {label} <b>{words(values.at(-1), show)}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={place} class="canvas" aria-hidden="true" />
      <details>
        <summary>The latest values of “{title}” as a table</summary>
        <table role="table">
          <thead role="rowgroup">
            <tr role="row">
              <th role="columnheader" scope="col">
                Time
              </th>
              {lines.map(({ label }) => (
                <th key={label} role="columnheader" scope="col" class="number">
                  {label}
                </th>
              ))}
            </tr>
          </thead>
          <tbody role="rowgroup">
            {times
              .map((time, at) => ({ time, at }))
              .slice(-latest)
              .reverse()
              .map(({ time, at }) => (
                <tr key={time} role="row">
                  <td role="cell" data-head="Time">
                    {new Date(time).toLocaleTimeString()}
                  </td>
                  {lines.map(({ label, values }) => (
                    <td key={label} role="cell" data-head={label} class="number">
                      {words(values[at], show)}
                    </td>
                  ))}
                </tr>
              ))}
          </tbody>
        </table>
      </details>
    </figure>
  )
}

const words = (value: number | null | undefined, show: (value: number) => string): string =>
  value === null || value === undefined ? '–' : show(value)
