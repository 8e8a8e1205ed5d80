/** Who holds what: file locks and leases. */
import type { Ino, SessionId } from '../../core/ids.ts'
import type {
  LeaseInfo,
  LeasesReply,
  LeasesRequest,
  LockInfo,
  LocksReply,
  LocksRequest,
} from '../../wire/gen/cairn/v1/admin.ts'
import { toIno, toSessionIdOrNone, u32 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { Holder } from '../leases/lease-table.ts'
import type { Recalls } from '../leases/recalls.ts'
import type { Calls } from '../sessions/calls.ts'
import { pathOf } from './paths.ts'
import type { StatusParts } from './status-parts.ts'

/** In one answer: each needs a path, and the engine does nothing else meanwhile. */
const listedMax = 2000
/** A million leases are not looked through for a few. */
const lookedAtMax = 200_000

export interface HoldingParts extends StatusParts {
  readonly recalls: Recalls
  readonly calls: Calls
}

export function locksOf(turn: Turn, { locks, sessions }: StatusParts, request: LocksRequest): LocksReply {
  const ino = request.ino === 0n ? undefined : toIno(request.ino)
  const session = toSessionIdOrNone(request.session)
  const limit = limitOf(request.limit)
  const found: LockInfo[] = []
  for (const { ino: of, who, range, sinceMs } of locks.all(ino)) {
    if (session !== undefined && who.session !== session) continue
    if (found.length >= limit) return { locks: found, more: true }
    const { host, mountpoint } = placeOf(sessions, who.session)
    found.push({
      ...{ ino: of, path: pathOf(turn.store, of), session: who.session, host, mountpoint },
      ...{ pid: range.pid, flock: who.flock, exclusive: range.kind === 'write' },
      ...{ start: range.start, end: range.end },
      waiting: sinceMs !== undefined,
      waitedMs: BigInt(Math.floor(sinceMs === undefined ? 0 : turn.now - sinceMs)),
    })
  }
  return { locks: found, more: false }
}

export function leasesOf(turn: Turn, parts: HoldingParts, request: LeasesRequest): LeasesReply {
  const { leases, recalls, calls, sessions } = parts
  const session = toSessionIdOrNone(request.session)
  const limit = limitOf(request.limit)
  const found: LeaseInfo[] = []
  let left = lookedAtMax
  for (const ino of candidates(parts, request)) {
    if (left-- <= 0) return { leases: found, more: true }
    const holders = leases.holders(ino)
    for (const holder of holders) {
      if (session !== undefined && holder.session !== session) continue
      if (found.length >= limit) return { leases: found, more: true }
      const recalledMs = recalls.underWayMs(holder.session, ino)
      found.push({
        ...infoOf(ino, holder),
        ...placeOf(sessions, holder.session),
        path: pathOf(turn.store, ino),
        waiting: calls.waitingFor(ino),
        recalledMs: recalledMs === undefined ? 0n : BigInt(Math.max(1, Math.floor(recalledMs))),
      })
    }
  }
  return { leases: found, more: false }
}

function candidates({ leases, calls }: HoldingParts, request: LeasesRequest): Iterable<Ino> {
  if (request.ino !== 0n) return [toIno(request.ino)]
  return request.contended ? calls.awaited() : leases.inos()
}

const infoOf = (ino: Ino, { session, lease, open, writing }: Holder) => ({
  ...{ ino, session, lease, open, writing },
})

function placeOf(
  sessions: StatusParts['sessions'],
  id: SessionId,
): { readonly host: string; readonly mountpoint: string } {
  const row = sessions.find(id)?.row
  return { host: row?.host ?? '', mountpoint: row?.mountpoint ?? '' }
}

const limitOf = (wanted: number): number => Math.min(Math.max(1, u32(wanted, 'limit')), listedMax)
