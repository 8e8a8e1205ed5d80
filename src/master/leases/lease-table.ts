/**
 * Which session may cache what (docs/design.md §6). Lives in memory only: after a restart of the
 * master the sessions reclaim what they held. Pure bookkeeping: it says which holders stand in the way
 * of an operation; recalling them and waiting is the engine's.
 *
 * Per inode at most one session holds 'write', and then no other holds anything; else any number hold
 * 'read'; but for claims that contradict each other after a restart. A session that has the inode open without a
 * lease is remembered too ('none', open), since an unlink must ask it; and one that has it, or may have it, open for writing (`writing`), since nobody
 * else is given 'write' before it was asked. A million leases of one mount are the usual case, so an inode with a single
 * holder costs one small integer.
 */
import { assert } from '../../core/assert.ts'
import type { Ino, SessionId } from '../../core/ids.ts'
import type { Lease } from '../../wire/attr.ts'

/** What one session has of one inode. */
export interface Holder {
  readonly session: SessionId
  readonly lease: Lease
  readonly open: boolean
  /** As far as is known: it does not tell when it closes its last file. */
  readonly writing: boolean
}

const kinds = ['none', 'read', 'write'] as const
const rank: Readonly<Record<Lease, number>> = { none: 0, read: 1, write: 2 }

/** Session slot × 16 + writing × 8 + open × 4 + kind. */
type Packed = number

export class LeaseTable {
  /** By Number(ino): half the memory of bigint keys. Inodes are issued in order from 2, far below 2^53. */
  readonly #byIno = new Map<number, Packed | readonly Packed[]>()
  readonly #slots = new Map<SessionId, number>()
  readonly #sessions: (SessionId | undefined)[] = []
  readonly #counts = new Map<SessionId, number>()

  /** Number of inodes that the session has anything of. */
  countOf(session: SessionId): number {
    return this.#counts.get(session) ?? 0
  }

  /** Inodes that somebody has anything of. */
  *inos(): Generator<Ino> {
    for (const ino of this.#byIno.keys()) yield BigInt(ino) as Ino
  }

  held(ino: Ino, session: SessionId): Lease {
    const found = this.#entries(ino).find(packed => this.#sessionOf(packed) === session)
    return found === undefined ? 'none' : leaseOf(found)
  }

  holders(ino: Ino): Holder[] {
    return this.#entries(ino).map(packed => this.#unpack(packed))
  }

  /**
   * The others that must give something up before `session` may read (nobody else may buffer writes)
   * or change (nobody else may cache) the inode.
   */
  conflicts(ino: Ino, session: SessionId, need: 'read' | 'write'): Holder[] {
    const entry = this.#byIno.get(Number(ino))
    if (entry === undefined) return []
    const found: Holder[] = []
    for (const packed of typeof entry === 'number' ? [entry] : entry) {
      if (this.#sessionOf(packed) === session) continue
      if (rank[leaseOf(packed)] > (need === 'read' ? rank.read : rank.none)) found.push(this.#unpack(packed))
    }
    return found
  }

  /** The others that have, or may have, the inode open: they must be asked before its last name goes. */
  others(ino: Ino, session: SessionId): Holder[] {
    const entry = this.#byIno.get(Number(ino))
    if (entry === undefined) return []
    return this.holders(ino).filter(holder => holder.session !== session)
  }

  /**
   * Gives the session up to `wanted`, as far as the others allow, and never less than it has. Returns
   * what it holds now.
   */
  grant(ino: Ino, session: SessionId, wanted: Lease): Lease {
    const held = this.held(ino, session)
    const allowed = this.#allowed(ino, session, wanted)
    if (allowed === 'none' || rank[allowed] <= rank[held]) return held
    const inTheWay = this.conflicts(ino, session, allowed)
    assert(inTheWay.length === 0, () => `inode ${ino}: one writer or only readers`)
    const { open, writing } = this.#flags(ino, session)
    this.#set(ino, session, allowed, open, writing || allowed === 'write')
    return allowed
  }

  /** The session has, or may have, the inode open. */
  opened(ino: Ino, session: SessionId, how: 'open' | 'writing'): void {
    const { open, writing } = this.#flags(ino, session)
    this.#set(ino, session, this.held(ino, session), open || how === 'open', writing || how === 'writing')
  }

  /** The session has no more than `kept` from now on. */
  reduce(ino: Ino, session: SessionId, kept: Lease, open: boolean, writing: boolean): void {
    const held = this.held(ino, session)
    this.#set(ino, session, rank[kept] < rank[held] ? kept : held, open, writing)
  }

  /** Gives back without being asked. */
  release(ino: Ino, session: SessionId): void {
    this.#set(ino, session, 'none', false, false)
  }

  /**
   * As reclaimed after a restart. False if it contradicts what others hold: then both have it, since both rely on it,
   * and both must be told to give it up.
   */
  reclaim(ino: Ino, session: SessionId, lease: Lease, open: boolean, writing: boolean): boolean {
    const fits = lease === 'none' || this.conflicts(ino, session, lease).length === 0
    this.#set(ino, session, lease, open, writing)
    return fits
  }

  /** Number of inodes, counted once for each session that has anything of them. */
  get total(): number {
    let total = 0
    for (const count of this.#counts.values()) total += count
    return total
  }

  /** The session ended. In one pass: a million leases must not hold up the others' calls. */
  releaseSession(session: SessionId): void {
    const slot = this.#slots.get(session)
    if (slot === undefined) return
    const isOthers = (packed: Packed): boolean => packed >> 4 !== slot
    for (const [ino, entry] of this.#byIno) {
      if (typeof entry === 'number') {
        if (!isOthers(entry)) this.#byIno.delete(ino)
        continue
      }
      const rest = entry.filter(isOthers)
      if (rest.length < entry.length) this.#keep(ino, rest)
    }
    this.#slots.delete(session)
    this.#sessions[slot] = undefined
    this.#counts.delete(session)
  }

  /** The session's leases, those of the inodes that were first leased by anybody first. */
  *oldest(session: SessionId): Generator<Ino> {
    const slot = this.#slots.get(session)
    if (slot === undefined) return
    for (const [key, entry] of this.#byIno) {
      const found: Packed | undefined =
        typeof entry === 'number' ? entry : entry.find(packed => packed >> 4 === slot)
      if (found !== undefined && found >> 4 === slot && leaseOf(found) !== 'none') yield BigInt(key) as Ino
    }
  }

  #allowed(ino: Ino, session: SessionId, wanted: Lease): Lease {
    let highest = wanted
    for (const packed of this.#entries(ino)) {
      if (this.#sessionOf(packed) === session) continue
      const other = leaseOf(packed)
      if (other === 'write') return 'none'
      if ((other === 'read' || isWriting(packed)) && highest === 'write') highest = 'read'
    }
    return highest
  }

  #flags(ino: Ino, session: SessionId): { readonly open: boolean; readonly writing: boolean } {
    const found = this.#entries(ino).find(packed => this.#sessionOf(packed) === session) ?? 0
    return { open: isOpen(found), writing: isWriting(found) }
  }

  #entries(ino: Ino): readonly Packed[] {
    const entry = this.#byIno.get(Number(ino))
    if (entry === undefined) return []
    return typeof entry === 'number' ? [entry] : entry
  }

  #set(ino: Ino, session: SessionId, lease: Lease, open: boolean, writing: boolean): void {
    const before = this.#entries(ino)
    const rest = before.filter(packed => this.#sessionOf(packed) !== session)
    const nothing = lease === 'none' && !open && !writing
    const had = rest.length < before.length
    if (nothing && !had) return
    const flags = (writing ? 8 : 0) + (open ? 4 : 0)
    const entries = nothing ? rest : [...rest, this.#slot(session) * 16 + flags + rank[lease]]
    this.#keep(Number(ino), entries)
    const change = (nothing ? 0 : 1) - (had ? 1 : 0)
    this.#counts.set(session, this.countOf(session) + change)
  }

  #keep(ino: number, entries: readonly Packed[]): void {
    const [only] = entries
    if (only === undefined) this.#byIno.delete(ino)
    else this.#byIno.set(ino, entries.length === 1 ? only : entries)
  }

  #slot(session: SessionId): number {
    let slot = this.#slots.get(session)
    if (slot === undefined) {
      const free = this.#sessions.indexOf(undefined)
      slot = free === -1 ? this.#sessions.length : free
      this.#sessions[slot] = session
      this.#slots.set(session, slot)
    }
    return slot
  }

  #sessionOf(packed: Packed): SessionId {
    const session = this.#sessions[packed >> 4]
    assert(session !== undefined, 'a lease belongs to a session')
    return session
  }

  #unpack(packed: Packed): Holder {
    return {
      session: this.#sessionOf(packed),
      lease: leaseOf(packed),
      open: isOpen(packed),
      writing: isWriting(packed),
    }
  }
}

function leaseOf(packed: Packed): Lease {
  const lease = kinds[packed & 3]
  assert(lease !== undefined, 'a lease has a kind')
  return lease
}

const isOpen = (packed: Packed): boolean => (packed & 4) !== 0
const isWriting = (packed: Packed): boolean => (packed & 8) !== 0
