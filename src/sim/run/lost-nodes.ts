/** What an operator does about chunkservers whose disks are lost. */
import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import { adminRemoveNode } from '../../wire/services.ts'
import type { NodeRow } from '../../master/store/nodes.ts'
import { masterAddress } from '../cluster/master-machine.ts'
import type { World } from '../world/world.ts'
import type { Cluster } from './cluster.ts'

/** What the master knows of nodes that will not be back: who came back empty is another one, that registered later. */
export function lostNodes({ master, lost }: Cluster): NodeRow[] {
  const rows = master.inspect(store => store.nodes.all())
  return lost.flatMap(({ name, gone }) => {
    const known = rows.filter(({ address }) => address.startsWith(`${name}:`))
    known.sort((a, b) => (a.id < b.id ? -1 : 1))
    return gone ? known : known.slice(0, -1)
  })
}

/** Has them forgotten as soon as nothing is lost by it; in the background. */
export function removeLostNodes(world: World, cluster: Cluster): void {
  if (cluster.lost.length === 0) return
  const env = world.start('operator of nodes', cluster.master.wall)
  const network = world.network.of(env)
  const remove = async (): Promise<void> => {
    while (world.failure === undefined) {
      const [row] = cluster.master.up ? lostNodes(cluster) : []
      try {
        if (row !== undefined) {
          const request = { node: row.id, anyway: false }
          const { refused } = await network.call(masterAddress, adminRemoveNode, request, {
            timeoutMs: 20 * second,
          })
          world.say('*', `node ${row.id} is removed${refused === '' ? '' : `: refused, ${refused}`}`)
        }
      } catch (error) {
        env.log.debug('not removed yet', { why: FsError.from(error).message })
      }
      await env.delay(3 * second)
    }
  }
  world.background(remove())
}
