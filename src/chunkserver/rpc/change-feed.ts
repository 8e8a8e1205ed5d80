import { bucketBits } from '../blocks/block-tables.ts'
import type { BlockStore } from '../blocks/block-store.ts'
import type { Damage } from '../blocks/damage.ts'
import type { ChangeRow } from '../blocks/index-protocol.ts'
import type { Timer, Timers } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { blockIdToBytes } from '../../core/ids.ts'
import type { Link } from '../../core/network.ts'
import type { BlockChange, NodeDown, NodeUp } from '../../wire/gen/cairn/v1/nodes.ts'

/** Changes in one message. */
const changesAtOnce = 2000
/** Changes that are sent ahead of the master's word for them. */
const changesAhead = 20_000
/**
 * Changes wait so long for others. Nobody waits for them (a commit rests on receipts), and each message costs
 * the master a transaction of its own, as each word of the master's for it costs the index one.
 */
const gatherMs = 100
/** The master's word for changes, which are kept until then, is written down at leisure. */
const forgetMs = 1000
/** Blocks in one message of a listing. */
const listingAtOnce = 5000

type MasterLink = Pick<Link<NodeUp, NodeDown>, 'send' | 'drained'>

/**
 * Tells one connection of the master what this store has: changes in order, digests and listings. One
 * thing at a time, so that a digest "as of change s" leaves when exactly the changes up to s have left; and no more
 * than the transport takes, so that an answer, which may be all that the store has, does not gather in memory.
 */
export class ChangeFeed {
  readonly #timers: Timers
  readonly #store: BlockStore
  readonly #link: MasterLink
  readonly #failed: (error: FsError) => void
  #sent: bigint
  #acked: bigint
  #tail: Promise<void> = Promise.resolve()
  #pump: Timer | undefined
  #forget: Timer | undefined
  #closed = false

  /** The master knows the changes up to `known`. `failed` hears that the index cannot be read. */
  constructor(
    timers: Timers,
    store: BlockStore,
    known: bigint,
    link: MasterLink,
    failed: (error: FsError) => void,
  ) {
    this.#timers = timers
    this.#store = store
    this.#link = link
    this.#failed = failed
    this.#sent = known
    this.#acked = known
    this.#enqueue(() => this.#begin())
    // Its word for them may have been lost with the last connection.
    if (known > 0n) this.acked(known)
    this.#enqueue(() => this.#sendThrough(this.#store.totals.sequence))
  }

  close(): void {
    this.#closed = true
    this.#pump?.cancel()
    this.#forget?.cancel()
  }

  /** There are new changes. */
  pump(): void {
    if (this.#closed) return
    this.#pump ??= this.#timers.after(gatherMs, () => {
      this.#pump = undefined
      this.#enqueue(() => this.#sendThrough(this.#store.totals.sequence))
    })
  }

  /** The changes up to `sequence` are in the master's database. */
  acked(sequence: bigint): void {
    if (sequence > this.#sent) throw new FsError('EPROTO', `ack_changes.sequence: ${sequence} was never sent`)
    this.#acked = sequence
    if (this.#closed) return
    this.#forget ??= this.#timers.after(forgetMs, () => {
      this.#forget = undefined
      this.#enqueue(async () => {
        // On a disk that takes no writes they are kept, and told again after a restart.
        await this.#store.index.ask('acked', { sequence: this.#acked }).catch((error: unknown) => {
          if (!this.#closed) this.#store.noteFailure(error)
        })
      })
    })
    // Some may have waited for the master's word.
    if (this.#sent < this.#store.totals.sequence) this.pump()
  }

  digest(prefixBits: number): void {
    if (prefixBits > bucketBits) throw new FsError('EPROTO', `ask_digest.prefix_bits: ${prefixBits}`)
    this.#enqueue(async () => {
      const { sequence, digests } = await this.#store.index.ask('digest', { prefixBits })
      await this.#sendThrough(sequence, true)
      await this.#send({ $case: 'digest', value: { sequence, prefixBits, digests: [...digests] } })
    })
  }

  buckets(prefixBits: number, buckets: readonly number[]): void {
    if (prefixBits > bucketBits) throw new FsError('EPROTO', `ask_buckets.prefix_bits: ${prefixBits}`)
    for (const bucket of buckets) {
      if (bucket >= 2 ** prefixBits) throw new FsError('EPROTO', `ask_buckets.buckets: ${bucket}`)
      this.#enqueue(() => this.#list(prefixBits, bucket))
    }
  }

  async #list(prefixBits: number, bucket: number): Promise<void> {
    const { sequence, blocks } = await this.#store.index.ask('bucket', { prefixBits, bucket })
    await this.#sendThrough(sequence, true)
    for (let at = 0; at === 0 || at < blocks.length; at += listingAtOnce) {
      const part = blocks.slice(at, at + listingAtOnce).map(toWire)
      const last = at + listingAtOnce >= blocks.length
      await this.#send({ $case: 'listing', value: { sequence, prefixBits, bucket, blocks: part, last } })
    }
    await this.#tellDamages(blocks)
  }

  /**
   * Changes that the master does not know and this store does not either (it acknowledged them once, then
   * its database was put back) are skipped by an empty message: it compares inventories then.
   */
  async #begin(): Promise<void> {
    // Before the question, so that no change can come between the two.
    const { sequence } = this.#store.totals
    const { changes } = await this.#store.index.ask('changes', { after: this.#sent, limit: 1 })
    if (changes.length > 0 || sequence <= this.#sent) return
    this.#sent = sequence
    await this.#send({ $case: 'changes', value: { first: sequence + 1n, changes: [] } })
  }

  /** `anyway`: also beyond what the master has acknowledged. */
  async #sendThrough(sequence: bigint, anyway = false): Promise<void> {
    while (
      this.#sent < sequence &&
      !this.#closed &&
      (anyway || this.#sent - this.#acked < BigInt(changesAhead))
    ) {
      const wanted = sequence - this.#sent
      const limit = wanted < BigInt(changesAtOnce) ? Number(wanted) : changesAtOnce
      const { first, changes } = await this.#store.index.ask('changes', { after: this.#sent, limit })
      if (changes.length === 0) return
      // It may be acknowledged before the transport takes more.
      this.#sent = first + BigInt(changes.length) - 1n
      await this.#send({ $case: 'changes', value: { first, changes: changes.map(toWire) } })
      await this.#tellDamages(changes)
    }
  }

  /** Damages were told before; of blocks that the master did not know then it knows only now. */
  async #tellDamages(rows: readonly ChangeRow[]): Promise<void> {
    for (const { id, generation, removed } of rows) {
      const damage = this.#store.damages.of(id)
      if (!removed && damage?.generation === generation) await this.#send(damagedItem(damage))
    }
  }

  async #send(item: NonNullable<NodeUp['item']>): Promise<void> {
    this.#link.send({ item })
    await this.#link.drained()
  }

  #enqueue(task: () => Promise<void>): void {
    this.#tail = this.#tail
      .then(() => (this.#closed ? undefined : task()))
      .catch((error: unknown) => {
        // A closed store is the end of the process, not of the index.
        if (!this.#closed) this.#failed(FsError.from(error))
      })
  }
}

export const damagedItem = ({ id, generation, what }: Damage): NonNullable<NodeUp['item']> => ({
  $case: 'damaged',
  value: { id: blockIdToBytes(id), generation, what },
})

function toWire({ id, generation, length, removed }: ChangeRow): BlockChange {
  return { id: blockIdToBytes(id), generation, length, removed }
}
