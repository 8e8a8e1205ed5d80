/**
 * What an operator does while all goes on: has disks emptied that are to be taken away, and changes his mind; has more
 * copies of something, and fewer again; has blocks moved to where there is room, and all of them read.
 */
import { FsError } from '../../core/errors.ts'
import type { CallDef } from '../../core/network.ts'
import { rootIno } from '../../core/ids.ts'
import { second } from '../../core/units.ts'
import type { Store } from '../../master/store/store.ts'
import { RebalanceRequest_Action as Rebalance } from '../../wire/gen/cairn/v1/admin.ts'
import { adminRebalance, adminScrub, adminSetCopies, adminSetDraining } from '../../wire/services.ts'
import { masterAddress } from '../cluster/master-machine.ts'
import type { Prng } from '../world/prng.ts'
import type { World } from '../world/world.ts'
import type { Cluster } from './cluster.ts'
import type { Plan } from './plan.ts'

/** What is asked of the master, and how it is said in the trace. Resolves with what was refused. */
interface Order {
  readonly what: string
  readonly ask: () => Promise<readonly string[]>
}

export class Operator {
  readonly #world: World
  readonly #cluster: Cluster
  readonly #copies: number
  readonly #prng: Prng
  #on = true
  /** Files may want another number of copies than the plan's. */
  #goalsDiffer = false

  /** In some runs only. */
  static begin(world: World, cluster: Cluster, plan: Plan): Operator | undefined {
    const prng = world.aside('operator')
    return prng.chance(0.4) ? new Operator(world, cluster, plan.copies, prng) : undefined
  }

  private constructor(world: World, cluster: Cluster, copies: number, prng: Prng) {
    this.#world = world
    this.#cluster = cluster
    this.#copies = copies
    this.#prng = prng
    world.background(this.#operate())
  }

  /** Everything is to have the plan's copies again. Nodes that are to be emptied stay so, if the others can have everything. */
  end(): void {
    this.#on = false
  }

  async #operate(): Promise<void> {
    const env = this.#world.start('operator of disks', this.#cluster.master.wall)
    const network = this.#world.network.of(env)
    const call: Call = (method, request) =>
      network.call(masterAddress, method, request, { timeoutMs: 20 * second })
    while (this.#world.failure === undefined) {
      await env.delay(this.#on ? this.#prng.between(1, 8) * second : 3 * second)
      const order = this.#cluster.master.up ? this.#next(call) : undefined
      if (order === undefined) continue
      try {
        const refused = await order.ask()
        this.#world.say('*', `${order.what}${refused.length === 0 ? '' : `: refused, ${refused.join(', ')}`}`)
      } catch (error) {
        env.log.debug('not done yet', { what: order.what, why: FsError.from(error).message })
      }
    }
  }

  #next(call: Call): Order | undefined {
    if (!this.#on) return this.#undo(call)
    const orders = [
      () => this.#drain(call),
      () => this.#drain(call),
      () => this.#setGoals(call),
      () => rebalance(call, this.#prng.chance(0.7)),
      () => scrub(call),
    ]
    return this.#prng.pick(orders)()
  }

  #undo(call: Call): Order | undefined {
    if (this.#goalsDiffer) return this.#setCopies(call, rootIno, this.#copies, true)
    const leaving = this.#leaving
    const staying = this.#cluster.nodes.length - (leaving === undefined ? 0 : 1)
    return leaving === undefined || staying >= this.#copies ? undefined : setDraining(call, leaving, false)
  }

  get #leaving(): bigint | undefined {
    return this.#cluster.master.inspect(store => store.nodes.all().find(({ draining }) => draining)?.id)
  }

  #drain(call: Call): Order | undefined {
    const leaving = this.#leaving
    if (leaving !== undefined) return this.#prng.chance(0.3) ? setDraining(call, leaving, false) : undefined
    const ids = this.#cluster.master.inspect(store => store.nodes.all().map(({ id }) => id))
    return ids.length === 0 ? undefined : setDraining(call, this.#prng.pick(ids), true)
  }

  #setGoals(call: Call): Order | undefined {
    const inos = this.#cluster.master.inspect(store =>
      store.db.prepare<[], bigint>('SELECT ino FROM inodes ORDER BY ino').pluck().all(),
    )
    if (inos.length === 0) return undefined
    const more = this.#copies + this.#prng.below(this.#cluster.nodes.length - this.#copies + 1)
    return this.#setCopies(call, this.#prng.pick(inos), more, this.#prng.chance(0.5))
  }

  #setCopies(call: Call, ino: bigint, copies: number, recursive: boolean): Order {
    const all = ino === rootIno && recursive && copies === this.#copies
    return {
      what: `inode ${ino}${recursive ? ' and all below' : ''} is to have ${copies} copies`,
      ask: async () => {
        if (!all) this.#goalsDiffer = true
        await call(adminSetCopies, { ino, copies, recursive })
        if (all && !this.#on) this.#goalsDiffer = false
        return []
      },
    }
  }
}

type Call = <Request, Reply>(method: CallDef<Request, Reply>, request: Request) => Promise<Reply>

const setDraining = (call: Call, node: bigint, draining: boolean): Order => ({
  what: `node ${node} is ${draining ? '' : 'not '}to be emptied`,
  ask: async () => (await call(adminSetDraining, { node, draining })).refused,
})

const rebalance = (call: Call, start: boolean): Order => ({
  what: `blocks are ${start ? '' : 'not '}to be moved to where there is room`,
  ask: async () => {
    await call(adminRebalance, { action: start ? Rebalance.ACTION_START : Rebalance.ACTION_STOP })
    return []
  },
})

const scrub = (call: Call): Order => ({
  what: 'all blocks are to be read',
  ask: async () => {
    await call(adminScrub, { node: 0n, bytesPerSecond: 0n })
    return []
  },
})

/** What is still on a node that is to be emptied. */
export function notEmpty(store: Store): string | undefined {
  for (const { id, draining } of store.nodes.all()) {
    const { blocks } = store.replicas.usageOf(id)
    if (draining && blocks > 0) return `node ${id}, which is to be emptied, has ${blocks} blocks`
  }
  return undefined
}
