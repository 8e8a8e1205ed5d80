/**
 * Puts of small blocks, many in one message per node, so that one sync of the node serves them all. While
 * messages are under way to a node, what comes for it gathers.
 */
import type { Timers } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { dataMessageBytes } from '../../core/limits.ts'
import type { SmallBlock } from '../../wire/gen/cairn/v1/blocks.ts'
import type { Receipt, Target } from '../../wire/gen/cairn/v1/common.ts'
import { errorFromWire } from '../../wire/attr.ts'
import type { BlockStreams } from '../blocks/block-streams.ts'

const blocksPerMessage = 256
const messagesAtOnce = 2

interface Waiting {
  readonly block: SmallBlock
  readonly resolve: (receipt: Receipt) => void
  readonly reject: (error: FsError) => void
}

interface Lane {
  waiting: Waiting[]
  underWay: number
  scheduled: boolean
}

export class SmallPuts {
  readonly #streams: BlockStreams
  readonly #timers: Timers
  readonly #stallMs: number
  /** By node and address; gone when empty. */
  readonly #lanes = new Map<string, Lane>()

  constructor(streams: BlockStreams, timers: Timers, stallMs: number) {
    this.#streams = streams
    this.#timers = timers
    this.#stallMs = stallMs
  }

  /** Resolves when the block is on the node's stable storage. */
  put(target: Target, block: SmallBlock): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const key = `${target.node} ${target.address}`
      let lane = this.#lanes.get(key)
      if (lane === undefined) this.#lanes.set(key, (lane = { waiting: [], underWay: 0, scheduled: false }))
      lane.waiting.push({ block, resolve, reject })
      this.#schedule(key, target, lane)
    })
  }

  #schedule(key: string, target: Target, lane: Lane): void {
    if (lane.scheduled || lane.underWay >= messagesAtOnce) return
    lane.scheduled = true
    this.#timers.soon(() => {
      lane.scheduled = false
      while (lane.waiting.length > 0 && lane.underWay < messagesAtOnce)
        void this.#send(key, target, lane, takeMessage(lane.waiting))
    })
  }

  async #send(key: string, target: Target, lane: Lane, batch: readonly Waiting[]): Promise<void> {
    lane.underWay++
    try {
      const link = this.#streams.to(target.address, 'put')
      const outcomes = await link.putSmall(
        batch.map(one => one.block),
        this.#stallMs,
      )
      const left = new Set(batch)
      for (const { index, receipt, error } of outcomes) {
        const one = batch[index]
        if (one === undefined || !left.has(one)) continue
        if (receipt?.node === target.node) one.resolve(receipt)
        else if (error !== undefined) one.reject(errorFromWire(error))
        else continue
        left.delete(one)
      }
      for (const one of left)
        one.reject(new FsError('EPROTO', `Node ${target.node} answered without a receipt`))
    } catch (thrown) {
      for (const one of batch) one.reject(FsError.from(thrown))
    } finally {
      lane.underWay--
      if (lane.waiting.length > 0) this.#schedule(key, target, lane)
      else if (lane.underWay === 0 && !lane.scheduled) this.#lanes.delete(key)
    }
  }
}

/** As many as one message may carry, at least one. */
function takeMessage(waiting: Waiting[]): Waiting[] {
  let count = 0
  for (let bytes = 0; count < Math.min(waiting.length, blocksPerMessage); count++) {
    bytes += waiting[count]?.block.data.length ?? 0
    if (count > 0 && bytes > dataMessageBytes) break
  }
  return waiting.splice(0, count)
}
