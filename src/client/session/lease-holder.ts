import type { Ino } from '../../core/ids.ts'
import type { Lease, LockChange, LockHolder } from '../../wire/attr.ts'

export interface HeldLease {
  readonly ino: Ino
  readonly lease: Lease
  readonly open: boolean
}

export interface HeldLock {
  readonly ino: Ino
  readonly range: LockChange
  readonly holder: LockHolder
}

/** Who keeps what the session's leases cover. The session tells it what the master says. */
export interface LeaseHolder {
  /** A lease came with a reply. Called before the caller has the reply. */
  granted(ino: Ino, lease: Lease): void
  /**
   * Another session wants something: flush, drop and have the kernel forget, down to `to`. Resolves when
   * that is done, with what is kept. Never rejects.
   */
  recalled(ino: Ino, to: Lease, removing: boolean): Promise<{ readonly kept: Lease; readonly open: boolean }>
  /** What is cached may be false: forget it, here and in the kernel. The leases themselves stay. */
  distrust(why: string): void
  /** Leases, locks and open orphans are lost, and what was not committed with them. */
  sessionDied(): void
  /** What a restarted master must be told. */
  holdings(): { readonly leases: Iterable<HeldLease>; readonly locks: Iterable<HeldLock> }
  readonly dirtyBytes: number
}
