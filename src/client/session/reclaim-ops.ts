import { leaseToWire, lockToWire } from '../../wire/attr.ts'
import type { Reclaim, ReclaimLease, ReclaimLock } from '../../wire/gen/cairn/v1/session.ts'
import type { HeldLease, HeldLock } from './lease-holder.ts'

/** Leases or locks in one call: some 40 KiB. */
const perCall = 2000

/** What the session held, as calls; the last one says so. */
export function* reclaimOps(
  leases: Iterable<HeldLease>,
  locks: Iterable<HeldLock>,
): Generator<{ $case: 'reclaim'; value: Reclaim }> {
  let leasePart: ReclaimLease[] = []
  let lockPart: ReclaimLock[] = []
  const take = (last: boolean): { $case: 'reclaim'; value: Reclaim } => {
    const value = { leases: leasePart, locks: lockPart, last }
    leasePart = []
    lockPart = []
    return { $case: 'reclaim', value }
  }
  for (const { ino, lease, open, writing } of leases) {
    leasePart.push({ ino, kind: leaseToWire(lease), open, writing })
    if (leasePart.length === perCall) yield take(false)
  }
  for (const { ino, range, holder } of locks) {
    lockPart.push({ ino, lock: lockToWire(range, holder) })
    if (lockPart.length === perCall) yield take(false)
  }
  yield take(true)
}
