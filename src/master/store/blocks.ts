import type { Database } from 'better-sqlite3'
import { assert, must } from '../../core/assert.ts'
import { noDedupDomain } from '../../core/checksum.ts'
import type { BlockKey } from '../../core/ids.ts'
import type { Counters } from './counters.ts'
import { fitsInt64 } from './int64.ts'

/**
 *            refs 0                    told to a node
 *   live ──────────────► condemned ──────────────────► deleting ──► (no row)
 *        ◄──────────────           (never back: the same content
 *          a reference              is a new block from then on)
 *
 * live ⇔ refs > 0. A pin (memory of the engine) only keeps a condemned block from being deleted.
 */
export const blockState = { live: 0, condemned: 1, deleting: 2 } as const
export type BlockState = (typeof blockState)[keyof typeof blockState]

export interface Block {
  readonly key: BlockKey
  /** 32 bytes: core/checksum.ts. */
  readonly id: Buffer
  readonly length: number
  /** Number of extents rows that name it. */
  readonly refs: number
  /** Copies wanted: the highest goal of the files that referred to it. */
  readonly wanted: number
  /** Number of replicas rows. */
  readonly have: number
  readonly state: BlockState
  /** When it came into this state, ns. */
  readonly since: bigint
  /** What the id was made with; empty: nothing. */
  readonly domain: Uint8Array
}

type Row = readonly [
  key: bigint,
  id: Buffer,
  length: bigint,
  refs: bigint,
  wanted: bigint,
  have: bigint,
  state: bigint,
  since: bigint,
  domain: Buffer,
]

const columns = 'key, id, length, refs, wanted, have, state, since, domain'

const fromRow = ([key, id, length, refs, wanted, have, state, since, domain]: Row): Block => ({
  key: key as BlockKey,
  id,
  length: Number(length),
  refs: Number(refs),
  wanted: Number(wanted),
  have: Number(have),
  state: Number(state) as BlockState,
  since,
  domain,
})

/** Blocks by short key. At most one row of an id is not in state deleting: that one owns the id. */
export class Blocks {
  /** Hears of blocks that had no references and have some again, and of those that are to have more copies than before. */
  onNeed: (key: BlockKey) => void = () => undefined
  static readonly surplusIndex =
    'CREATE INDEX blocks_surplus ON blocks (key) WHERE state = 0 AND have > wanted;'
  static readonly schema = `
    CREATE TABLE blocks (
      key INTEGER PRIMARY KEY,
      id BLOB NOT NULL, -- SHA-256, or in a dedup domain what is made of both
      domain BLOB NOT NULL DEFAULT x'', -- dedup domain
      length INTEGER NOT NULL,
      refs INTEGER NOT NULL, -- extents rows that name it
      wanted INTEGER NOT NULL, -- copies
      have INTEGER NOT NULL, -- replicas rows
      state INTEGER NOT NULL, -- blockState
      since INTEGER NOT NULL -- ns, of the state
    ) STRICT;
    CREATE UNIQUE INDEX blocks_by_id ON blocks (id) WHERE state < 2;
    CREATE INDEX blocks_leaving ON blocks (state, since) WHERE state > 0;
    ${Blocks.surplusIndex}
    CREATE INDEX blocks_short ON blocks (have) WHERE state = 0 AND have < wanted;`

  /** What databases of before it lack. */
  static readonly domainColumn = "ALTER TABLE blocks ADD COLUMN domain BLOB NOT NULL DEFAULT x'';"

  readonly #counters: Counters
  readonly #byKey
  readonly #owner
  readonly #insert
  readonly #refer
  readonly #setWanted
  readonly #setHave
  readonly #setState
  readonly #condemnedBefore
  readonly #short
  readonly #shortAfter
  readonly #surplusAfter
  readonly #deletingAfter
  readonly #lost
  readonly #countShort
  readonly #oldest
  readonly #countCondemned
  readonly #countDeleting
  readonly #deletingOn
  readonly #countLost
  readonly #after
  readonly #delete

  constructor(db: Database, counters: Counters) {
    this.#counters = counters
    const select = (where: string) => db.prepare<unknown[], Row>(`SELECT ${columns} FROM blocks ${where}`)
    this.#byKey = select('WHERE key = ?').safeIntegers().raw()
    this.#owner = select('WHERE id = ? AND state < 2').safeIntegers().raw()
    this.#condemnedBefore = select('WHERE state > 0 AND state = 1 AND since <= ? ORDER BY since LIMIT ?')
      .safeIntegers()
      .raw()
    this.#deletingAfter = select(
      'WHERE state > 0 AND state = 2 AND (since, key) > (?, ?) ORDER BY since, key LIMIT ?',
    )
      .safeIntegers()
      .raw()
    this.#short = select('WHERE state = 0 AND have < wanted ORDER BY have LIMIT ?').safeIntegers().raw()
    this.#after = select('WHERE key > ? AND state = 0 ORDER BY key LIMIT ?').safeIntegers().raw()
    this.#surplusAfter = select('WHERE state = 0 AND have > wanted AND key > ? ORDER BY key LIMIT ?')
      .safeIntegers()
      .raw()
    this.#shortAfter = select(
      'WHERE state = 0 AND have < wanted AND (have, key) > (?, ?) ORDER BY have, key LIMIT ?',
    )
      .safeIntegers()
      .raw()
    this.#lost = select('WHERE state = 0 AND have < wanted AND have = 0 LIMIT ?').safeIntegers().raw()
    this.#countLost = db
      .prepare<[], number>('SELECT count(*) FROM blocks WHERE state = 0 AND have < wanted AND have = 0')
      .pluck()
    this.#countShort = db
      .prepare<[], number>('SELECT count(*) FROM blocks WHERE state = 0 AND have < wanted')
      .pluck()
    this.#deletingOn = db
      .prepare<[Uint8Array, bigint, bigint], number>(
        `SELECT 1 FROM blocks b JOIN replicas r ON r.block = b.key
         WHERE b.state > 0 AND b.state = 2 AND b.id = ? AND r.node = ? AND r.generation = ?`,
      )
      .pluck()
    this.#oldest = db
      .prepare<[number], bigint | null>('SELECT min(since) FROM blocks WHERE state > 0 AND state = ?')
      .safeIntegers()
      .pluck()
    this.#countCondemned = db
      .prepare<[bigint], bigint>('SELECT count(*) FROM blocks WHERE state > 0 AND state = 1 AND since >= ?')
      .safeIntegers()
      .pluck()
    this.#countDeleting = db
      .prepare<[number], { readonly count: bigint; readonly bytes: bigint }>(
        `SELECT count(*) AS count, coalesce(sum(length), 0) AS bytes
         FROM (SELECT length FROM blocks WHERE state > 0 AND state = 2 LIMIT ?)`,
      )
      .safeIntegers()
    this.#insert = db.prepare(`INSERT INTO blocks (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#refer = db.prepare<[number, number, number, bigint, bigint]>(
      'UPDATE blocks SET refs = ?, wanted = ?, state = ?, since = ? WHERE key = ?',
    )
    this.#setWanted = db.prepare<[number, bigint]>('UPDATE blocks SET wanted = ? WHERE key = ?')
    this.#setHave = db.prepare<[number, bigint]>('UPDATE blocks SET have = have + ? WHERE key = ?')
    this.#setState = db.prepare<[number, bigint, bigint]>(
      'UPDATE blocks SET state = ?, since = ? WHERE key = ?',
    )
    this.#delete = db.prepare<[bigint]>('DELETE FROM blocks WHERE key = ?')
  }

  byKey(key: bigint): Block | undefined {
    const row = fitsInt64(key) ? this.#byKey.get(key) : undefined
    return row === undefined ? undefined : fromRow(row)
  }

  /** The block that owns the id: live or condemned, never deleting. */
  owner(id: Uint8Array): Block | undefined {
    const row = this.#owner.get(id)
    return row === undefined ? undefined : fromRow(row)
  }

  issueKey(): BlockKey {
    return this.#counters.issue('block') as BlockKey
  }

  /**
   * A new block with its first references (none: it begins condemned). `have` replicas rows are
   * added by Replicas.
   */
  add(
    block: Omit<Block, 'state' | 'id' | 'domain'> & { readonly id: Uint8Array; readonly domain?: Uint8Array },
  ): void {
    const state = block.refs > 0 ? blockState.live : blockState.condemned
    const { key, id, length, refs, wanted, have, since, domain = noDedupDomain } = block
    this.#insert.run(key, id, length, refs, wanted, have, state, since, domain)
    this.#tally(state, length, 1n)
  }

  /**
   * References come (delta > 0, by files that want `wanted` copies) or go. The last one condemns
   * the block, the first one revives it.
   */
  refer(key: BlockKey, delta: number, wanted: number, time: bigint): void {
    const block = must(this.byKey(key), `block ${key.toString()}`)
    const refs = block.refs + delta
    assert(refs >= 0, () => `block ${key.toString()} would have ${refs} references`)
    assert(block.state !== blockState.deleting, () => `block ${key.toString()} is being deleted`)
    const state = refs > 0 ? blockState.live : blockState.condemned
    const goal = delta > 0 ? Math.max(block.refs > 0 ? block.wanted : 0, wanted) : block.wanted
    this.#refer.run(refs, goal, state, state === block.state ? block.since : time, key)
    if (state !== block.state) {
      this.#tally(block.state, block.length, -1n)
      this.#tally(state, block.length, 1n)
    }
    if (state === blockState.live && (block.state !== state || goal > block.wanted)) this.onNeed(key)
  }

  setWanted(key: BlockKey, wanted: number): void {
    this.#setWanted.run(wanted, key)
    this.onNeed(key)
  }

  /** The block is about to be ordered deleted: from now on its content is a new block. */
  beginDeleting(key: BlockKey, time: bigint): void {
    const block = must(this.byKey(key), `block ${key.toString()}`)
    assert(block.state === blockState.condemned, () => `block ${key.toString()} is not condemned`)
    this.#setState.run(blockState.deleting, time, key)
    this.#tally(block.state, block.length, -1n)
  }

  /** Every node has confirmed (or is gone for good): the row goes. */
  gone(key: BlockKey): void {
    const block = must(this.byKey(key), `block ${key.toString()}`)
    assert(block.state !== blockState.live, () => `block ${key.toString()} is live`)
    assert(block.have === 0, () => `block ${key.toString()} has replicas`)
    this.#delete.run(key)
    this.#tally(block.state, block.length, -1n)
  }

  /** For Replicas: rows came or went. */
  adjustHave(key: BlockKey, delta: number): void {
    this.#setHave.run(delta, key)
  }

  /** Condemned since `until` or longer, oldest first. */
  condemnedBefore(until: bigint, limit: number): Block[] {
    return this.#condemnedBefore.all(until, limit).map(fromRow)
  }

  /** In state deleting, after this one in the order in which they came to be so; from the first if undefined. */
  deletingAfter(after: Block | undefined, limit: number): Block[] {
    return this.#deletingAfter.all(after?.since ?? -1n, after?.key ?? 0n, limit).map(fromRow)
  }

  /** Since when the oldest block has been in the state, ns. */
  oldestLeaving(state: typeof blockState.condemned | typeof blockState.deleting): bigint | undefined {
    return this.#oldest.get(state) ?? undefined
  }

  /** Condemned blocks that nobody has referred to since `after` or later. */
  countCondemned(after: bigint): bigint {
    return this.#countCondemned.get(after) ?? 0n
  }

  /** Whether the instance is a copy of an earlier block of that content, which is being deleted. Looks at all of those. */
  isDeletingOn(id: Uint8Array, node: bigint, generation: bigint): boolean {
    return this.#deletingOn.get(id, node, generation) !== undefined
  }

  /** Of the first `limit` blocks that are being deleted. */
  deleting(limit: number): { readonly count: bigint; readonly bytes: bigint; readonly more: boolean } {
    const { count, bytes } = must(this.#countDeleting.get(limit), 'an aggregate has a row')
    return { count, bytes, more: count === BigInt(limit) }
  }

  /** Live blocks with fewer replicas rows than wanted, fewest first. */
  short(limit: number): Block[] {
    return this.#short.all(limit).map(fromRow)
  }

  /** As `short`, from a place on: those after (have, key). */
  shortAfter(have: number, key: bigint, limit: number): Block[] {
    return this.#shortAfter.all(have, key, limit).map(fromRow)
  }

  /** Live blocks with more replicas rows than wanted, in the order of keys from a place on: those after `key`. */
  surplusAfter(key: bigint, limit: number): Block[] {
    return this.#surplusAfter.all(key, limit).map(fromRow)
  }

  /** Live blocks without any replicas row. */
  lost(limit: number): Block[] {
    return this.#lost.all(limit).map(fromRow)
  }

  countLost(): number {
    return this.#countLost.get() ?? 0
  }

  countShort(): number {
    return this.#countShort.get() ?? 0
  }

  /** Live blocks in the order of keys. */
  liveAfter(key: bigint, limit: number): Block[] {
    return this.#after.all(key, limit).map(fromRow)
  }

  get live(): { readonly count: bigint; readonly bytes: bigint } {
    return { count: this.#counters.total('liveBlocks'), bytes: this.#counters.total('liveBytes') }
  }

  get condemned(): { readonly count: bigint; readonly bytes: bigint } {
    return { count: this.#counters.total('condemnedBlocks'), bytes: this.#counters.total('condemnedBytes') }
  }

  #tally(state: BlockState, length: number, sign: 1n | -1n): void {
    if (state === blockState.deleting) return
    const live = state === blockState.live
    this.#counters.adjust(live ? 'liveBlocks' : 'condemnedBlocks', sign)
    this.#counters.adjust(live ? 'liveBytes' : 'condemnedBytes', sign * BigInt(length))
  }
}
