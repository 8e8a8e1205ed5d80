import type { Turn } from '../engine/turn.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type { LeaseTable } from './lease-table.ts'
import type { Recalls } from './recalls.ts'

/** Leases over the bound that one session is asked for at once. */
const recalledAtOnce = 4096

/** Keeps the memory for leases bounded: a session, or an identity, with very many gives back the oldest. */
export function boundLeases(
  { settings }: Turn,
  sessions: SessionRegistry,
  table: LeaseTable,
  recalls: Recalls,
): void {
  const { leases, leasesPerSession, leasesPerIdentity } = settings
  const share = Math.floor(leases / Math.max(1, sessions.size))
  const each = table.total > leases ? Math.min(share, leasesPerSession) : leasesPerSession
  const byIdentity = new Map<string, number>()
  for (const { id, row } of sessions.all())
    byIdentity.set(row.identity, (byIdentity.get(row.identity) ?? 0) + table.countOf(id))
  for (const session of sessions.all()) {
    const { identity } = session.row
    const all = byIdentity.get(identity) ?? 0
    const own = table.countOf(session.id)
    // Each gives back the same part of what it has.
    const most =
      identity === '' || all <= leasesPerIdentity
        ? each
        : Math.min(each, Math.floor((leasesPerIdentity / all) * own))
    let over = Math.min(own - most, recalledAtOnce)
    if (over <= 0) continue
    for (const ino of table.oldest(session.id)) {
      if (over-- <= 0) break
      recalls.ask(session, ino, 'none', 'plain')
    }
  }
}
