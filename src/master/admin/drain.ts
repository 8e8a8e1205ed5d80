/** Empties nodes, and says how far that is. That a node is being emptied is a mark on its row; Repair does the work. */
import { FsError } from '../../core/errors.ts'
import type { NodeId } from '../../core/ids.ts'
import { SetDrainingReply, type SetDrainingRequest } from '../../wire/gen/cairn/v1/admin.ts'
import { toNodeId } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import { type DrainLoad, whyNotDrain } from '../repair/plan-drain.ts'
import { timeFor } from '../repair/rate-meter.ts'
import type { Repair } from '../repair/repair.ts'
import { blockState } from '../store/blocks.ts'

interface Job {
  readonly call: number
  readonly node: Node
  /** Rows up to this key are counted. */
  after: bigint
  load: DrainLoad
}

export interface DrainProgress {
  readonly blocks: number
  readonly bytes: number
  readonly bytesPerSecond: number
  /** 0: not known. */
  readonly leftMs: number
}

/** How old a count may be: counting reads all rows of a node. */
const countMs = 1000
const countMsPerBlock = 0.01

export class Drains {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #repair: Repair
  readonly #jobs: Job[] = []
  readonly #counts = new Map<
    NodeId,
    { readonly atMs: number; readonly blocks: number; readonly bytes: number }
  >()

  constructor(turn: Turn, nodes: NodeRegistry, repair: Repair) {
    this.#turn = turn
    this.#nodes = nodes
    this.#repair = repair
  }

  /** Answers now, or in a later step, when it is known what is on the node. */
  begin(call: number, request: SetDrainingRequest): SetDrainingReply | undefined {
    const node = this.#nodes.find(toNodeId(request.node, 'node'))
    if (node === undefined) throw new FsError('ENOENT', `There is no chunkserver ${request.node}`)
    if (request.draining && !node.row.draining) {
      this.#jobs.push({ call, node, after: 0n, load: { blocks: 0, bytes: 0, wanted: 0 } })
      return undefined
    }
    if (request.draining !== node.row.draining) this.#set(node, request.draining)
    const { blocks, bytes } = this.#turn.store.replicas.usageOf(node.id)
    return { refused: [], blocks: BigInt(blocks), bytes: BigInt(bytes) }
  }

  /** One step of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    const [job] = this.#jobs
    if (job === undefined) return false
    const { store } = this.#turn
    const rows = store.replicas.ofNode(job.node.id, job.after, budget)
    for (const { block: key } of rows) {
      job.after = key
      const block = store.blocks.byKey(key)
      if (block?.state !== blockState.live) continue
      const { blocks, bytes, wanted } = job.load
      job.load = {
        blocks: blocks + 1,
        bytes: bytes + block.length,
        wanted: Math.max(wanted, block.wanted),
      }
    }
    if (rows.length === budget) return true
    this.#jobs.shift()
    const rest = [...this.#nodes.all()].filter(
      other => other !== job.node && this.#nodes.isExpected(other) && other.failingSinceMs === undefined,
    )
    const refused = this.#nodes.find(job.node.id) === undefined ? ['it was removed'] : this.#why(job, rest)
    if (refused.length === 0) this.#set(job.node, true)
    const reply = { refused, blocks: BigInt(job.load.blocks), bytes: BigInt(job.load.bytes) }
    this.#turn.out.answer(job.call, SetDrainingReply.encode(reply).finish())
    return this.#jobs.length > 0
  }

  /** Of a node that is being emptied. */
  progressOf(node: Node): DrainProgress {
    const { now, store } = this.#turn
    let count = this.#counts.get(node.id)
    if (count === undefined || now - count.atMs > countMs + node.blocks * countMsPerBlock) {
      count = { atMs: now, ...store.replicas.usageOf(node.id) }
      this.#counts.set(node.id, count)
    }
    const bytesPerSecond = this.#repair.drainedPerSecond(node)
    const { blocks, bytes } = count
    return { blocks, bytes, bytesPerSecond, leftMs: blocks === 0 ? 0 : timeFor(bytes, bytesPerSecond) }
  }

  #why(job: Job, rest: readonly Node[]): string[] {
    return whyNotDrain(job.node, rest, job.load)
  }

  #set(node: Node, draining: boolean): void {
    this.#nodes.setDraining(node, draining)
    this.#counts.delete(node.id)
    this.#repair.nodeChanged(node)
    this.#turn.out.log('info', draining ? 'node is being emptied' : 'node is not emptied any more', {
      node: node.id,
    })
  }
}
