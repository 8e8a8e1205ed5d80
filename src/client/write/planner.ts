/** Asks the master where blocks go, those of many files in one question. */
import type { Timers } from '../../core/env.ts'
import { type ErrnoName, FsError } from '../../core/errors.ts'
import { type BlockId, blockIdToBytes, type Ino } from '../../core/ids.ts'
import type { Target } from '../../wire/gen/cairn/v1/common.ts'
import type { PlanReply } from '../../wire/gen/cairn/v1/session.ts'
import { copiesMax } from '../../core/limits.ts'
import { listOf, toBlockKeyOrNone, toNodeId, u32 } from '../../wire/validate.ts'
import type { MasterPort } from '../ports.ts'

/** Blocks in one question, and questions under way: more wait, and so gather. */
const blocksPerPlan = 256
const plansAtOnce = 4
/**
 * A question that the master refuses is asked again in so many parts: one file's trouble among 256 costs 32 more, and
 * trouble of all little more than asking for each.
 */
const partsOfRefused = 16
/** Not what the master answers to this question, but that it answers none. */
const ofAll = new Set<ErrnoName>(['ETIMEDOUT', 'EKEYREVOKED', 'ECANCELED'])

export interface PlanRequest {
  readonly ino: Ino
  readonly id: BlockId
  readonly length: number
}

export interface PlanNodes {
  /** Nodes that just failed. */
  readonly exclude: readonly bigint[]
  /** Nodes that have stored the block already. */
  readonly have: readonly bigint[]
}

/** Where a block goes, or that it exists (`key` is not 0): it is then pinned for this session. */
export interface BlockPlan {
  readonly key: bigint
  readonly targets: readonly Target[]
  readonly copies: number
  readonly minCopies: number
}

interface Waiting extends PlanRequest {
  readonly resolve: (plan: BlockPlan) => void
  readonly reject: (error: unknown) => void
}

export class Planner {
  readonly #master: MasterPort
  readonly #timers: Timers
  #waiting: Waiting[] = []
  #underWay = 0
  #scheduled = false

  constructor(master: MasterPort, timers: Timers) {
    this.#master = master
    this.#timers = timers
  }

  /** As `planWith` no nodes, together with what else is asked this turn. */
  plan(request: PlanRequest): Promise<BlockPlan> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...request, resolve, reject })
      this.#schedule()
    })
  }

  /** The plan for a block that avoids nodes, or completes copies. Rejects with what the master answers. */
  async planWith(request: PlanRequest, nodes: PlanNodes): Promise<BlockPlan> {
    const [plan] = await this.#ask([request], nodes)
    if (plan === undefined) throw new FsError('EPROTO', 'The master planned no block')
    return plan
  }

  #schedule(): void {
    if (this.#scheduled || this.#underWay >= plansAtOnce) return
    this.#scheduled = true
    this.#timers.soon(() => {
      this.#scheduled = false
      while (this.#waiting.length > 0 && this.#underWay < plansAtOnce)
        void this.#send(this.#waiting.splice(0, blocksPerPlan))
    })
  }

  async #send(batch: Waiting[]): Promise<void> {
    this.#underWay++
    const { session } = this.#master.identity
    try {
      const plans = await this.#ask(batch, { exclude: [], have: [] })
      for (const [index, { resolve }] of batch.entries()) {
        const plan = plans[index]
        if (plan !== undefined) resolve(plan)
      }
    } catch (thrown) {
      // What is refused may be for one file or block: it was removed, or wants more copies, or room, than there are.
      const isOfAll = this.#master.identity.session !== session || ofAll.has(FsError.from(thrown).code)
      if (isOfAll || batch.length === 1) for (const { reject } of batch) reject(thrown)
      else for (const part of split(batch, partsOfRefused)) void this.#send(part)
    } finally {
      this.#underWay--
      if (this.#waiting.length > 0) this.#schedule()
    }
  }

  async #ask(requests: readonly PlanRequest[], { exclude, have }: PlanNodes): Promise<BlockPlan[]> {
    const [first] = requests
    if (first === undefined) return []
    const blocks = requests.map(({ ino, id, length }) => ({ id: blockIdToBytes(id), length, ino }))
    const value = { ino: first.ino, blocks, exclude: [...exclude], have: [...have] }
    return checkedPlans(await this.#master.call({ $case: 'plan', value }, 'plan'), requests.length)
  }
}

function split<T>(all: readonly T[], parts: number): T[][] {
  const size = Math.ceil(all.length / parts)
  return Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.slice(n * size, (n + 1) * size))
}

function checkedPlans(reply: PlanReply, count: number): BlockPlan[] {
  if (reply.blocks.length !== count)
    throw new FsError('EPROTO', `The master planned ${reply.blocks.length} blocks of ${count}`)
  return reply.blocks.map(({ key, targets, copies, minCopies }, index) => {
    const field = `plan.blocks[${index}]`
    toBlockKeyOrNone(key, `${field}.key`)
    for (const target of listOf(targets, copiesMax, `${field}.targets`))
      toNodeId(target.node, `${field}.node`)
    return {
      key,
      targets,
      copies: u32(copies === 0 ? reply.copies : copies, `${field}.copies`, copiesMax, 1),
      minCopies: u32(minCopies === 0 ? reply.minCopies : minCopies, `${field}.min_copies`, copiesMax, 1),
    }
  })
}
