import type { ComponentChildren } from 'preact'
import { percent } from './format.ts'

const tones: Readonly<Record<string, string>> = {
  ok: 'good',
  up: 'good',
  connected: 'good',
  degraded: 'warn',
  refusing: 'warn',
  silent: 'warn',
  note: 'calm',
  down: 'bad',
  failing: 'bad',
}

/** A state in words; colour only repeats it. */
export function State({ of }: { readonly of: string }) {
  return <span class={`state ${tones[of] ?? 'calm'}`}>{of}</span>
}

export function Card(props: {
  readonly title: string
  readonly wide?: boolean
  readonly children: ComponentChildren
}) {
  return (
    <section class={props.wide === true ? 'card wide' : 'card'}>
      <h2>{props.title}</h2>
      {props.children}
    </section>
  )
}

/** A filled bar with its meaning in words beside it. */
export function Fill(props: { readonly part: number; readonly whole: number; readonly label: string }) {
  const filled = percent(props.part, props.whole)
  const tone = filled >= 95 ? 'bad' : filled >= 85 ? 'warn' : 'good'
  return (
    <span class="fill">
      <span
        class={`bar ${tone}`}
        role="meter"
        aria-label={props.label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(filled)}
      >
        <span style={{ width: `${filled.toFixed(1)}%` }} />
      </span>
      <span class="percent">{filled.toFixed(filled < 10 ? 1 : 0)} %</span>
    </span>
  )
}

export function Progress(props: { readonly permille: number; readonly label: string }) {
  const done = Math.min(100, props.permille / 10)
  return (
    <span class="fill">
      <span
        class="bar good"
        role="progressbar"
        aria-label={props.label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(done)}
      >
        <span style={{ width: `${done.toFixed(1)}%` }} />
      </span>
      <span class="percent">{done.toFixed(0)} %</span>
    </span>
  )
}

export function Figures({ rows }: { readonly rows: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="figures">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
