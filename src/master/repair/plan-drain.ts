import type { NodeView } from '../placement/choose-nodes.ts'

/** What is on a node that is to be emptied. */
export interface DrainLoad {
  readonly blocks: number
  readonly bytes: number
  /** Most copies that are wanted of a block on it. */
  readonly wanted: number
}

/** Why the cluster could not keep its copies without a node; `rest` are those that stay. Pure. */
export function whyNotDrain(node: NodeView, rest: readonly NodeView[], load: DrainLoad): string[] {
  if (load.blocks === 0) return []
  const { wanted } = load
  const reasons: string[] = []
  if (rest.length < wanted)
    reasons.push(`${wanted} copies are wanted of what is on it, only ${rest.length} other chunkservers stay`)
  else
    for (const [what, of] of [
      ['zones', (each: NodeView) => each.zone],
      ['machines', (each: NodeView) => each.host],
    ] as const) {
      const without = Math.min(wanted, new Set(rest.map(of)).size)
      const now = Math.min(wanted, new Set([...rest, node].map(of)).size)
      if (without < now)
        reasons.push(`copies are on ${now} ${what} now, and could be on ${without} without it`)
    }
  const room = rest.reduce((sum, { freeBytes }) => sum + freeBytes, 0)
  if (room < load.bytes) reasons.push(`${load.bytes} bytes are on it, the others have room for ${room}`)
  return reasons
}
