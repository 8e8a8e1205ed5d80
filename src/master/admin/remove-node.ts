/** Forgets a node for good: only when nothing is lost by it, or when that is what was asked for. */
import { FsError } from '../../core/errors.ts'
import type { BlockKey } from '../../core/ids.ts'
import { RemoveNodeReply, type RemoveNodeRequest } from '../../wire/gen/cairn/v1/admin.ts'
import { toNodeId } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import type { Removal } from '../removal/removal.ts'
import { liveOf } from '../repair/plan-repair.ts'
import type { Repair } from '../repair/repair.ts'
import { type Block, blockState } from '../store/blocks.ts'
import { FindRanges } from './find-ranges.ts'

/** Files that are named when a removal is refused. */
const filesMax = 20

/**
 *   counting   looks at what only this node has   → naming (refused) or dropping
 *   naming     looks for the files of that        → answered
 *   dropping   its rows go; last its own row      → answered
 */
interface Job {
  readonly call: number
  readonly node: Node
  readonly anyway: boolean
  after: bigint
  blocks: number
  lost: number
  lostBytes: number
  readonly some: BlockKey[]
  phase: 'counting' | 'naming' | 'dropping'
  ranges: FindRanges | undefined
}

export class RemoveNode {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #repair: Repair
  readonly #removal: Removal
  readonly #jobs: Job[] = []

  constructor(turn: Turn, nodes: NodeRegistry, repair: Repair, removal: Removal) {
    this.#turn = turn
    this.#nodes = nodes
    this.#repair = repair
    this.#removal = removal
  }

  /** Answered in a later step. */
  begin(call: number, request: RemoveNodeRequest): void {
    const node = this.#nodes.find(toNodeId(request.node, 'node'))
    if (node === undefined) throw new FsError('ENOENT', `There is no chunkserver ${request.node}`)
    this.#jobs.push({
      call,
      node,
      anyway: request.anyway,
      after: 0n,
      blocks: 0,
      lost: 0,
      lostBytes: 0,
      some: [],
      phase: 'counting',
      ranges: undefined,
    })
  }

  /** One step of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    const [job] = this.#jobs
    if (job === undefined) return false
    if (this.#nodes.find(job.node.id) === undefined) this.#answer(job, 'it is removed already')
    else if (job.phase === 'counting') this.#count(job, budget)
    else if (job.phase === 'naming') this.#name(job, budget)
    else this.#drop(job, budget)
    return this.#jobs.length > 0
  }

  #count(job: Job, budget: number): void {
    const { store } = this.#turn
    const rows = store.replicas.ofNode(job.node.id, job.after, budget)
    for (const { block: key } of rows) {
      job.after = key
      const block = store.blocks.byKey(key)
      if (block?.state !== blockState.live) continue
      job.blocks += 1
      if (!this.#isOnlyOn(job.node, block)) continue
      job.lost += 1
      job.lostBytes += block.length
      if (job.some.length < filesMax) job.some.push(key)
    }
    if (rows.length === budget) return
    const { node, blocks, lost, anyway } = job
    if (node.isUp && !node.row.draining) this.#answer(job, 'it is up: empty it first (cairn node drain)')
    else if (node.isUp && blocks > 0)
      this.#answer(job, `it is not empty yet: ${blocks} blocks are left on it`)
    else if (lost > 0 && !anyway) {
      job.phase = 'naming'
      job.ranges = new FindRanges(this.#turn.store, job.some)
    } else {
      job.phase = 'dropping'
      this.#turn.out.log(lost > 0 ? 'error' : 'info', 'node is removed', { node: node.id, blocks, lost })
    }
  }

  /** Nobody else who is up has a good copy. */
  #isOnlyOn(node: Node, block: Block): boolean {
    return liveOf(this.#repair.views.of(block)).every(other => other === node)
  }

  #name(job: Job, budget: number): void {
    if (job.ranges?.step(budget) === true)
      this.#answer(job, `no other chunkserver that is up has a good copy of ${job.lost} blocks on it`)
  }

  #drop(job: Job, budget: number): void {
    const { store } = this.#turn
    const { node } = job
    // It came back while its rows went: what it has is compared again.
    if (node.isUp && !node.row.draining) {
      this.#answer(job, 'it came up again')
      return
    }
    const rows = store.replicas.ofNode(node.id, 0n, budget)
    for (const { block: key } of rows) {
      // It was committed since it was counted, or lost its other copies.
      const before = store.blocks.byKey(key)
      if (!job.anyway && before?.state === blockState.live && this.#isOnlyOn(node, before)) {
        this.#answer(
          job,
          'no other chunkserver that is up has a good copy of a block on it any more: try again',
        )
        return
      }
      store.replicas.forget(key, node.id)
      const block = store.blocks.byKey(key)
      if (block?.state === blockState.deleting && block.have === 0) store.blocks.gone(key)
      else this.#repair.changed(key)
    }
    if (rows.length === budget) return
    store.strays.nodeRemoved(node.id)
    this.#removal.detached(node)
    this.#repair.nodeRemoved(node)
    this.#nodes.remove(node)
    this.#answer(job, '')
  }

  #answer(job: Job, refused: string): void {
    this.#jobs.splice(this.#jobs.indexOf(job), 1)
    const files = [...(job.ranges?.found.values() ?? [])].flat().slice(0, filesMax)
    const reply = { refused, blocksLost: BigInt(job.lost), bytesLost: BigInt(job.lostBytes), files }
    this.#turn.out.answer(job.call, RemoveNodeReply.encode(reply).finish())
  }
}
