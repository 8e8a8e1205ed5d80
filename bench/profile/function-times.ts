import { readFileSync } from 'node:fs'
import path from 'node:path'

interface CallFrame {
  readonly functionName: string
  readonly url: string
  readonly lineNumber: number
}

interface ProfileNode {
  readonly id: number
  readonly callFrame: CallFrame
  readonly children?: readonly number[]
}

interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  readonly startTime: number
  readonly endTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

export interface FunctionTime {
  readonly name: string
  /** In itself, callees not counted. */
  readonly selfMs: number
  /** With all that it called; what it left for later is not in it. */
  readonly totalMs: number
  /** Of this project, not of Node or a package. */
  readonly own: boolean
}

export interface Spent {
  readonly totalMs: number
  readonly idleMs: number
  readonly functions: readonly FunctionTime[]
}

/** Where a thread spent its time. */
export function timesOf(file: string): Spent {
  const { nodes, samples, timeDeltas, startTime, endTime } = JSON.parse(
    readFileSync(file, 'utf8'),
  ) as CpuProfile
  const byId = new Map(nodes.map(node => [node.id, node]))
  const selfMs = new Map<number, number>()
  samples.forEach((id, at) => {
    // The time up to the next sample is this one's.
    selfMs.set(id, (selfMs.get(id) ?? 0) + (timeDeltas[at + 1] ?? 0) / 1000)
  })
  const found = new Map<string, { selfMs: number; totalMs: number; own: boolean }>()
  const visit = (node: ProfileNode, above: ReadonlySet<string>): number => {
    const name = nameOf(node.callFrame)
    const own = /\/dist\/(?!.*node_modules)/.test(node.callFrame.url)
    const times = found.get(name) ?? { selfMs: 0, totalMs: 0, own }
    found.set(name, times)
    const self = selfMs.get(node.id) ?? 0
    times.selfMs += self
    const inside = new Set([...above, name])
    let total = self
    for (const id of node.children ?? []) {
      const child = byId.get(id)
      if (child !== undefined) total += visit(child, inside)
    }
    // A function that calls itself is counted once.
    if (!above.has(name)) times.totalMs += total
    return total
  }
  const [root] = nodes
  if (root !== undefined) visit(root, new Set())
  const idleMs = found.get('(idle)')?.selfMs ?? 0
  found.delete('(idle)')
  found.delete('(root)')
  return {
    totalMs: (endTime - startTime) / 1000,
    idleMs,
    functions: [...found].map(([name, times]) => ({ name, ...times })),
  }
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
