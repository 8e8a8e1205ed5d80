import { type BlockId, blockIdToBytes } from '../../core/ids.ts'
import { MiB } from '../../core/units.ts'
import { MasterMachine } from '../cluster/master-machine.ts'
import { MountMachine } from '../cluster/mount-machine.ts'
import { sharedSettings, simSettings } from '../cluster/options.ts'
import { NodeMachine } from '../cluster/node-machine.ts'
import { blockState } from '../../master/store/blocks.ts'
import type { World } from '../world/world.ts'
import type { Plan } from './plan.ts'

export const nodeCapacityBytes = 64 * MiB

/** The machines of a run. */
export class Cluster {
  readonly master: MasterMachine
  readonly #nodes: readonly NodeMachine[]
  readonly mounts: readonly MountMachine[]

  constructor(world: World, plan: Plan) {
    const { copies, bugs } = plan
    const minCopies = bugs.singleCopies === true ? 1 : plan.minCopies
    this.master = new MasterMachine(world, {
      copies,
      minCopies,
      bugs,
      log: plan.disaster,
      settings: plan.shared ? sharedSettings : simSettings,
    })
    this.#nodes = Array.from(
      { length: plan.nodes },
      (_, index) => new NodeMachine(world, `node${index + 1}`, nodeCapacityBytes, bugs),
    )
    this.mounts = Array.from(
      { length: plan.mounts },
      (_, index) => new MountMachine(world, `mount${index + 1}`, bugs, this.#nodes[index], this.master),
    )
    for (const node of this.nodes)
      node.onRemoved = (id, generation) => this.#checkRemoval(world, node.name, id, generation)
    if (!plan.shared) for (const { disk, name } of this.nodes) disk.harsh = world.aside(`disk of ${name}`)
  }

  /** All but those that are gone for good. */
  get nodes(): readonly NodeMachine[] {
    return this.#nodes.filter(({ gone }) => !gone)
  }

  /** Those whose disk was lost, whether they came back with an empty one or not. */
  get lost(): readonly NodeMachine[] {
    return this.#nodes.filter(({ lost }) => lost)
  }

  /** No node deletes a copy of a block that files refer to. */
  #checkRemoval(world: World, node: string, id: BlockId, generation: bigint): void {
    if (!this.master.up) return
    const referenced = this.master.inspect(({ db }) =>
      db
        .prepare<[Buffer, string, bigint]>(
          `SELECT 1 FROM blocks b JOIN replicas r ON r.block = b.key JOIN nodes n ON n.id = r.node
           WHERE b.id = ? AND b.state = ${blockState.live} AND n.address LIKE ? AND r.generation = ?`,
        )
        .get(blockIdToBytes(id), `${node}:%`, generation),
    )
    if (referenced !== undefined)
      world.fail('no referenced block is deleted', `${node} deletes ${id} of generation ${generation}`)
  }

  get machineNames(): string[] {
    return [this.master.name, ...this.nodes.map(({ name }) => name), ...this.mounts.map(({ name }) => name)]
  }

  start(): void {
    this.master.start()
    for (const node of this.nodes) node.start()
  }
}
