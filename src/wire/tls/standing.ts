import type { ErrnoName } from '../../core/errors.ts'
import type { PeerIdentity } from './peer.ts'

/** What the master says of an identity. */
export interface Standing {
  readonly id: string
  /** Until when its newest certificate is valid, ms since 1970. */
  readonly until: number
  readonly revoked: boolean
}

/** Why nothing is to be had from, or by, an identity. */
export type Objection = 'revoked' | 'expired' | 'unknown'

/** Of a revoked one nothing will ever come again; the others may be good again. */
export const codeOf = (objection: Objection): ErrnoName =>
  objection === 'revoked' ? 'EKEYREVOKED' : 'EACCES'

/**
 * Which identities are good, as far as the master has told. A connection outlives the certificate that it was
 * made with, if its owner has a newer one meanwhile; it never outlives a revocation.
 */
export class Standings {
  /** Who is not listed is good for nothing: for the master, whose list is complete. */
  onlyListed = false
  readonly #known = new Map<string, Standing>()
  readonly #watchers = new Set<() => void>()

  /** All of them, as of now. */
  replace(standings: Iterable<Standing>): void {
    this.#known.clear()
    for (const standing of standings) this.#known.set(standing.id, standing)
    for (const watcher of this.#watchers) watcher()
  }

  /** Why nothing is to be had from `peer` at `now`; undefined: it is good. */
  objection({ id, until }: PeerIdentity, now: number): Objection | undefined {
    const known = this.#known.get(id)
    if (known === undefined && this.onlyListed) return 'unknown'
    if (known?.revoked === true) return 'revoked'
    return now >= Math.max(until, known?.until ?? 0) ? 'expired' : undefined
  }

  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }
}
