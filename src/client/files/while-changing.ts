import type { Ino } from '../../core/ids.ts'
import type { FilesContext } from './context.ts'

/**
 * Runs a change of ours of these inodes, or of names in them, that is the master's to make. From when the master has
 * made it until its answer is here, other mounts see more than we know: so what we know of the inodes is not used
 * meanwhile (InodeCache.trusted), and who looks asks the master. Under a write lease it is: whoever wants to look has
 * the lease recalled first, and what that leaves us is not used either. The kernel keeps no attributes in any case: it
 * would not believe the answer where it has learned something since the call was made.
 */
export async function whileChanging<T>(
  { cache, kernel }: FilesContext,
  inos: readonly (Ino | undefined)[],
  change: () => Promise<T>,
): Promise<T> {
  const nodes = inos.filter(ino => ino !== undefined).map(ino => cache.make(ino))
  let names = false
  for (const node of nodes) {
    node.changing += 1
    if (kernel === undefined || node.lease === 'none' || node.changing > 1) continue
    kernel.attributesNow(node.ino)
    names ||= node.lease === 'read' && (node.isDirectory || node.names !== undefined)
  }
  if (names) kernel?.namesNow()
  try {
    return await change()
  } finally {
    for (const node of nodes) node.changing -= 1
  }
}
