/**
 * Stores sealed blocks in the cluster: plans, puts, replaces targets that fail, and gathers receipts.
 *
 *   plan ──► exists: pinned, nothing is sent
 *     │
 *     └────► put to targets ──► copies receipts: stored
 *                │
 *                ├─ a target failed: plan again without it, for what is missing
 *                ├─ no more nodes, at least minCopies receipts: stored, degraded (the master repairs it)
 *                └─ fewer: again after a pause, until `giveUpMs` have gone by, or longer while the master
 *                   says that nodes are just away
 *
 * A block that several writers store at once is put once. What a failed put may still be sending is
 * never written again (Chunk.taint).
 */
import type { Env } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { type BlockId, blockIdToBytes, type Ino } from '../../core/ids.ts'
import { KiB, second } from '../../core/units.ts'
import { errorFromWire } from '../../wire/attr.ts'
import type { Location, Receipt, Target } from '../../wire/gen/cairn/v1/common.ts'
import type { BlockStreams } from '../blocks/block-streams.ts'
import type { MasterPort } from '../ports.ts'
import { Gate } from '../waiting.ts'
import type { Chunk } from './chunk-pool.ts'
import { type BlockPlan, Planner, type PlanNodes, type PlanRequest } from './planner.ts'
import type { SealedBlock, Stored } from './sealed.ts'
import { SmallPuts } from './small-puts.ts'

/** Up to here a block goes to all targets at once, many in one message. */
const smallBytesMax = 64 * KiB
const pauseFirstMs = 100
const pauseMaxMs = 2 * second
/** Of a longer chain, whose nodes share the time that it may stand still, each gets as much as of this one. */
const usualTargets = 3
/** Nodes that are just away are waited for so much longer. */
const awayFactor = 3

export interface BlockToStore extends SealedBlock {
  readonly ino: Ino
  readonly data: Buffer
  readonly chunk: Chunk
  /** Nobody needs it any more: give up. */
  readonly cancelled: () => boolean
}

export interface BlockStoreOptions {
  /** Bytes of blocks on their way at once. */
  readonly inFlightBytes: number
  /** No progress for this long is a failure of the node. */
  readonly stallMs: number
  /** How long to try before the write-back fails. */
  readonly giveUpMs: number
}

/** What has been achieved for one block. */
interface Progress {
  readonly receipts: Map<bigint, Receipt>
  readonly addresses: Map<bigint, string>
  readonly failed: Set<bigint>
  lastError: FsError | undefined
}

export class BlockStore {
  /** What was stored since the mount began, each block once, and how many blocks were given up. */
  storedBytes = 0
  givenUp = 0
  readonly #env: Env
  readonly #master: MasterPort
  readonly #streams: BlockStreams
  readonly #planner: Planner
  readonly #smallPuts: SmallPuts
  readonly #gate: Gate
  readonly #options: BlockStoreOptions
  readonly #underWay = new Map<BlockId, Promise<Stored>>()

  constructor(env: Env, master: MasterPort, streams: BlockStreams, options: BlockStoreOptions) {
    this.#env = env
    this.#master = master
    this.#streams = streams
    this.#options = options
    this.#planner = new Planner(master, env.timers)
    this.#smallPuts = new SmallPuts(streams, env.timers, options.stallMs)
    this.#gate = new Gate(options.inFlightBytes)
  }

  /**
   * Resolves when enough nodes have the block on stable storage. Rejects with ENOSPC, ENOENT (the inode is
   * gone), ECANCELED, or EIO when no way worked.
   */
  async store(block: BlockToStore): Promise<Stored> {
    for (
      let other = this.#underWay.get(block.id);
      other !== undefined;
      other = this.#underWay.get(block.id)
    ) {
      const stored = await other.catch(() => undefined)
      if (stored !== undefined && this.#serves(stored)) return stored
    }
    const storing = this.#storeAlone(block)
    this.#underWay.set(block.id, storing)
    try {
      return await storing
    } finally {
      if (this.#underWay.get(block.id) === storing) this.#underWay.delete(block.id)
    }
  }

  /** Whether what another file's goal achieved is good enough for any file of the default goal. */
  #serves({ block }: Stored): boolean {
    return block.key !== 0n || block.receipts.length >= this.#master.facts.copies
  }

  async #storeAlone(block: BlockToStore): Promise<Stored> {
    await this.#gate.enter(block.data.length)
    try {
      const stored = await this.#attempts(block)
      this.storedBytes += block.data.length
      return stored
    } finally {
      this.#gate.leave(block.data.length)
    }
  }

  async #attempts(block: BlockToStore): Promise<Stored> {
    const { clock, timers } = this.#env
    const progress: Progress = {
      receipts: new Map(),
      addresses: new Map(),
      failed: new Set(),
      lastError: undefined,
    }
    const { giveUpMs } = this.#options
    const startedAt = clock.now()
    for (let pauseMs = pauseFirstMs; ; pauseMs = Math.min(pauseMaxMs, pauseMs * 2)) {
      const stored = await this.#round(block, progress)
      if (stored !== undefined) return stored
      // The master says how long nodes that are away are waited for; this is for one that never says.
      const patienceMs = progress.lastError?.code === 'EAGAIN' ? awayFactor * giveUpMs : giveUpMs
      if (clock.now() + pauseMs > startedAt + patienceMs) throw this.#giveUp(block, progress)
      await timers.sleep(pauseMs)
      progress.failed.clear()
    }
  }

  /** Plans and puts until there are enough copies or no more nodes to try. */
  async #round(block: BlockToStore, progress: Progress): Promise<Stored | undefined> {
    for (;;) {
      if (block.cancelled()) throw new FsError('ECANCELED')
      const plan = await this.#plan(block, progress)
      if (plan === undefined) return undefined
      if (plan.key !== 0n) return storedBlock(block, plan.key, progress)
      const targets = plan.targets.filter(
        ({ node }) => !progress.receipts.has(node) && !progress.failed.has(node),
      )
      const missing = plan.copies - progress.receipts.size
      if (missing > 0 && targets.length > 0) {
        await this.#put(block, targets.slice(0, missing), progress)
        if (progress.receipts.size < plan.copies) continue
      }
      return progress.receipts.size >= plan.minCopies ? storedBlock(block, 0n, progress) : undefined
    }
  }

  /** The plan, or undefined when the master had nothing better than an error that may pass. */
  async #plan(block: BlockToStore, progress: Progress): Promise<BlockPlan | undefined> {
    const request = { ino: block.ino, id: block.id, length: block.data.length }
    const have = [...progress.receipts.keys()]
    const exclude = [...progress.failed]
    const silent = this.#streams.silentNodes().filter(node => !progress.receipts.has(node))
    try {
      if (silent.length > 0) {
        const plan = await this.#planAvoiding(request, {
          exclude: [...new Set([...exclude, ...silent])],
          have,
        })
        if (plan !== undefined) return plan
      }
      // Where only nodes are left that lately did not answer, trying them is better than failing.
      if (have.length + exclude.length === 0) return await this.#planner.plan(request)
      return await this.#planner.planWith(request, { exclude, have })
    } catch (thrown) {
      const error = FsError.from(thrown)
      const enough = progress.receipts.size >= this.#master.facts.minCopies
      if (enough && progress.receipts.size > 0) return noMoreNodes(progress, this.#master.facts.minCopies)
      if (error.code === 'ENOENT' || error.code === 'ESTALE' || error.code === 'EPROTO') throw error
      progress.lastError = error
      // Full for everybody: waiting makes no space.
      if (error.code === 'ENOSPC' && progress.failed.size === 0) throw error
      return undefined
    }
  }

  /** Undefined when that leaves too few nodes. */
  async #planAvoiding(request: PlanRequest, nodes: PlanNodes): Promise<BlockPlan | undefined> {
    try {
      const plan = await this.#planner.planWith(request, nodes)
      const enough = plan.targets.length + nodes.have.length >= plan.minCopies
      return plan.key !== 0n || enough ? plan : undefined
    } catch (thrown) {
      const { code } = FsError.from(thrown)
      if (code === 'EIO' || code === 'EAGAIN' || code === 'ENOSPC') return undefined
      throw thrown
    }
  }

  async #put(block: BlockToStore, targets: readonly Target[], progress: Progress): Promise<void> {
    for (const { node, address } of targets) progress.addresses.set(node, address)
    if (block.data.length <= smallBytesMax) await this.#putSmall(block, targets, progress)
    else await this.#putChain(block, targets, progress)
  }

  async #putSmall(block: BlockToStore, targets: readonly Target[], progress: Progress): Promise<void> {
    const meta = metaOf(block)
    await Promise.all(
      targets.map(async target => {
        try {
          const small = { block: meta, grant: target.grant, data: block.data }
          this.#succeeded(progress, await this.#smallPuts.put(target, small))
        } catch (thrown) {
          this.#failed(block, progress, target.node, FsError.from(thrown))
        }
      }),
    )
  }

  async #putChain(block: BlockToStore, targets: readonly Target[], progress: Progress): Promise<void> {
    const [first, ...chain] = targets
    if (first === undefined) return
    try {
      const link = this.#streams.to(first.address, 'put')
      const patienceMs = Math.ceil(this.#options.stallMs * Math.max(1, targets.length / usualTargets))
      const begin = { block: metaOf(block), grant: first.grant, chain, verifyId: true, patienceMs }
      const outcomes = await link.putLarge(begin, block.data)
      const untried = new Set<bigint>()
      for (const { node, receipt, error: wire } of outcomes) {
        if (!targets.some(target => target.node === node)) continue
        const error = wire === undefined ? noReceipt(node) : errorFromWire(wire)
        if (receipt?.node === node) this.#succeeded(progress, receipt)
        else if (error.code === 'ECANCELED') untried.add(node)
        else this.#failed(block, progress, node, error)
      }
      // The next plan may name again those behind one that failed, but somebody must have failed.
      const blamed = targets.some(({ node }) => progress.failed.has(node))
      for (const { node } of targets)
        if (!progress.receipts.has(node) && !progress.failed.has(node) && !(blamed && untried.has(node)))
          this.#failed(block, progress, node, noReceipt(node))
    } catch (thrown) {
      // The others of the chain are not to blame; the next plan may name them again.
      this.#failed(block, progress, first.node, FsError.from(thrown))
    }
  }

  #succeeded(progress: Progress, receipt: Receipt): void {
    progress.receipts.set(receipt.node, receipt)
    this.#streams.noteSuccess(receipt.node)
  }

  #failed(block: BlockToStore, progress: Progress, node: bigint, error: FsError): void {
    block.chunk.taint()
    progress.failed.add(node)
    progress.lastError = error
    this.#streams.noteFailure(node, error)
    const fields = { ino: block.ino, block: block.id, node, error: error.message }
    this.#env.log.warn('a node did not store a block', fields)
  }

  #giveUp(block: BlockToStore, progress: Progress): FsError {
    this.givenUp++
    const why = progress.lastError === undefined ? 'too few nodes' : messageOf(progress.lastError)
    const code = progress.lastError?.code === 'ENOSPC' ? 'ENOSPC' : 'EIO'
    const have = progress.receipts.size
    return new FsError(code, `Cannot store block ${block.id} of inode ${block.ino}: ${have} copies, ${why}`)
  }
}

const noReceipt = (node: bigint): FsError => new FsError('EIO', `Node ${node} gave no receipt`)

const metaOf = ({ id, checksums, data }: BlockToStore) => ({
  id: blockIdToBytes(id),
  length: data.length,
  checksums,
})

const noMoreNodes = (progress: Progress, minCopies: number): BlockPlan => ({
  key: 0n,
  targets: [],
  copies: progress.receipts.size,
  minCopies,
})

function storedBlock(block: BlockToStore, key: bigint, progress: Progress): Stored {
  const receipts = key === 0n ? [...progress.receipts.values()] : []
  const locations: Location[] = receipts.map(({ node }) => ({
    node,
    address: progress.addresses.get(node) ?? '',
    zone: '',
    host: '',
  }))
  return { block: { key, id: blockIdToBytes(block.id), length: block.data.length, receipts }, locations }
}
