/** What an operator does about disks that are to be taken away while all goes on, and changes his mind. */
import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { NodeRow } from '../../master/store/nodes.ts'
import type { Store } from '../../master/store/store.ts'
import { adminSetDraining } from '../../wire/services.ts'
import { masterAddress } from '../cluster/master-machine.ts'
import type { Prng } from '../world/prng.ts'
import type { World } from '../world/world.ts'
import type { Cluster } from './cluster.ts'
import type { Plan } from './plan.ts'

export class Drains {
  readonly #world: World
  readonly #cluster: Cluster
  readonly #copies: number
  readonly #prng: Prng
  #on = true

  /** In some runs only. */
  static begin(world: World, cluster: Cluster, plan: Plan): Drains | undefined {
    const prng = world.aside('drains')
    return prng.chance(0.4) ? new Drains(world, cluster, plan.copies, prng) : undefined
  }

  private constructor(world: World, cluster: Cluster, copies: number, prng: Prng) {
    this.#world = world
    this.#cluster = cluster
    this.#copies = copies
    this.#prng = prng
    world.background(this.#operate())
  }

  /** No other node is to be emptied. Those that are, stay so, if the others can have everything. */
  end(): void {
    this.#on = false
  }

  async #operate(): Promise<void> {
    const env = this.#world.start('operator of disks', this.#cluster.master.wall)
    const network = this.#world.network.of(env)
    while (this.#world.failure === undefined) {
      await env.delay(this.#on ? this.#prng.between(1, 8) * second : 3 * second)
      const order = this.#cluster.master.up ? this.#next() : undefined
      if (order === undefined) continue
      const { row, draining } = order
      try {
        const request = { node: row.id, draining }
        const { refused } = await network.call(masterAddress, adminSetDraining, request, {
          timeoutMs: 20 * second,
        })
        const said = refused.length === 0 ? '' : `: refused, ${refused.join(', ')}`
        this.#world.say('*', `node ${row.id} is ${draining ? '' : 'not '}to be emptied${said}`)
      } catch (error) {
        env.log.debug('not drained yet', { why: FsError.from(error).message })
      }
    }
  }

  #next(): { readonly row: NodeRow; readonly draining: boolean } | undefined {
    const rows = this.#cluster.master.inspect(store => store.nodes.all())
    const leaving = rows.find(row => row.draining)
    if (!this.#on) {
      const staying = this.#cluster.nodes.length - (leaving === undefined ? 0 : 1)
      return leaving === undefined || staying >= this.#copies ? undefined : { row: leaving, draining: false }
    }
    if (leaving !== undefined) return this.#prng.chance(0.3) ? { row: leaving, draining: false } : undefined
    return rows.length === 0 ? undefined : { row: this.#prng.pick(rows), draining: true }
  }
}

/** What is still on a node that is to be emptied. */
export function notEmpty(store: Store): string | undefined {
  for (const { id, draining } of store.nodes.all()) {
    const { blocks } = store.replicas.usageOf(id)
    if (draining && blocks > 0) return `node ${id}, which is to be emptied, has ${blocks} blocks`
  }
  return undefined
}
