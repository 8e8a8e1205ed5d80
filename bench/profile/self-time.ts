import { readFileSync } from 'node:fs'
import path from 'node:path'

interface CallFrame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[]
  readonly startTime: number
  readonly endTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

export interface SelfTime {
  readonly name: string
  readonly ms: number
}

export interface Spent {
  readonly totalMs: number
  readonly idleMs: number
  /** Most first; without idle. */
  readonly functions: readonly SelfTime[]
}

/** Where a thread spent its time by itself, callees not counted. */
export function selfTimes(file: string): Spent {
  const { nodes, samples, timeDeltas, startTime, endTime } = JSON.parse(
    readFileSync(file, 'utf8'),
  ) as CpuProfile
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const spent = new Map<string, number>()
  samples.forEach((id, at) => {
    const name = names.get(id) ?? '?'
    // The time up to the next sample is this one's.
    const micros = timeDeltas[at + 1] ?? 0
    spent.set(name, (spent.get(name) ?? 0) + micros / 1000)
  })
  const idleMs = spent.get('(idle)') ?? 0
  spent.delete('(idle)')
  const functions = [...spent].map(([name, ms]) => ({ name, ms })).sort((a, b) => b.ms - a.ms)
  return { totalMs: (endTime - startTime) / 1000, idleMs, functions }
}

function nameOf({ functionName, url, lineNumber }: CallFrame): string {
  const name = functionName === '' ? '(anonymous)' : functionName
  if (url === '') return name
  const at = url.lastIndexOf('/node_modules/')
  const short =
    at >= 0
      ? url.slice(at + '/node_modules/'.length)
      : url.startsWith('node:')
        ? url
        : path.join(path.basename(path.dirname(url)), path.basename(url))
  return `${name} ${short}:${String(lineNumber + 1)}`
}
