/** Lists the blocks without a good copy that can be read now, with the files that they are parts of. */
import type { BlockKey } from '../../core/ids.ts'
import { type DamagedBlockInfo, DamagedReply } from '../../wire/gen/cairn/v1/admin.ts'
import type { Turn } from '../engine/turn.ts'
import type { Repair } from '../repair/repair.ts'
import type { Suspects } from '../repair/suspects.ts'
import { liveOf } from '../repair/plan-repair.ts'
import { blockState } from '../store/blocks.ts'
import { FindRanges } from './find-ranges.ts'

const blocksMax = 1000

interface Job {
  readonly call: number
  readonly ranges: FindRanges
  readonly more: boolean
}

export class Damaged {
  readonly #turn: Turn
  readonly #repair: Repair
  readonly #suspects: Suspects
  readonly #jobs: Job[] = []

  constructor(turn: Turn, repair: Repair, suspects: Suspects) {
    this.#turn = turn
    this.#repair = repair
    this.#suspects = suspects
  }

  /** Answered in a later step. */
  begin(call: number): void {
    const keys = new Set<BlockKey>()
    for (const { key } of this.#turn.store.blocks.lost(blocksMax + 1)) keys.add(key)
    for (const key of this.#suspects.blocks()) if (this.#isDamaged(key)) keys.add(key)
    for (const key of this.#repair.queue.unreachable(blocksMax + 1)) if (this.#isDamaged(key)) keys.add(key)
    const shown = [...keys].slice(0, blocksMax)
    const ranges = new FindRanges(this.#turn.store, shown)
    this.#jobs.push({ call, ranges, more: keys.size > blocksMax })
  }

  /** One step of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    const [job] = this.#jobs
    if (job === undefined) return false
    if (!job.ranges.step(budget)) return true
    this.#jobs.shift()
    const blocks = [...job.ranges.found].flatMap(([key, files]) => {
      const info = this.#infoOf(key)
      return info === undefined ? [] : [{ ...info, files }]
    })
    this.#turn.out.answer(job.call, DamagedReply.encode({ blocks, more: job.more }).finish())
    return this.#jobs.length > 0
  }

  #isDamaged(key: BlockKey): boolean {
    const block = this.#turn.store.blocks.byKey(key)
    return block?.state === blockState.live && liveOf(this.#repair.views.of(block)).length === 0
  }

  #infoOf(key: BlockKey): DamagedBlockInfo | undefined {
    const { store } = this.#turn
    const block = store.blocks.byKey(key)
    if (block === undefined) return undefined
    const { holders } = this.#repair.views.of(block)
    const copies = store.replicas.of(key).map(({ node, generation }) => ({
      node,
      what: this.#suspects.whyBad(key, node, generation) ?? '',
    }))
    return {
      key,
      id: block.id,
      length: block.length,
      lost: holders.every(({ bad }) => bad),
      copies,
      files: [],
    }
  }
}
