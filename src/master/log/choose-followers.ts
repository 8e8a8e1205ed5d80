/** Which nodes keep the log. Pure. */
import type { LogNode } from './log-state.ts'

/**
 * Of the nodes that suit, those that keep it already stay. Others are taken where no chosen one is: in another zone
 * if there is one, else on another machine, else wherever it is.
 */
export function chooseFollowers(
  nodes: readonly LogNode[],
  current: ReadonlySet<bigint>,
  wanted: number,
): bigint[] {
  const chosen = nodes.filter(({ node, suits }) => suits && current.has(node)).slice(0, wanted)
  const rest = new Set(nodes.filter(({ node, suits }) => suits && !current.has(node)))
  while (chosen.length < wanted && rest.size > 0) {
    const next = [...rest].reduce((best, node) =>
      nearness(node, chosen) < nearness(best, chosen) ? node : best,
    )
    rest.delete(next)
    chosen.push(next)
  }
  return chosen.map(({ node }) => node)
}

/** How much would be lost together: a machine is nearer than a zone. Zones without a name are none. */
function nearness({ host, zone }: LogNode, chosen: readonly LogNode[]): number {
  if (chosen.some(other => other.host === host)) return 2
  return zone !== '' && chosen.some(other => other.zone === zone) ? 1 : 0
}
