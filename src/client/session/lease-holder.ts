import type { Ino } from '../../core/ids.ts'
import type { Lease, LockChange, LockHolder } from '../../wire/attr.ts'

export interface HeldLease {
  readonly ino: Ino
  readonly lease: Lease
  readonly open: boolean
  readonly writing: boolean
}

/** What another session wants beside the lease: that the last name goes; to open it for writing. */
export interface RecallHow {
  readonly removing: boolean
  readonly sharing: boolean
}

export interface HeldLock {
  readonly ino: Ino
  readonly range: LockChange
  readonly holder: LockHolder
}

/** Who keeps what the session's leases cover. The session tells it what the master says. */
/** Bytes of blocks since the start. */
export interface DataTraffic {
  readonly fetchedBytes: number
  readonly storedBytes: number
}

export interface LeaseHolder {
  /** A lease came with a reply. Called before the caller has the reply. */
  granted(ino: Ino, lease: Lease, alone: boolean): void
  /** Whether a lease of the inode is held. */
  holds(ino: Ino): boolean
  /**
   * Another session wants something: flush, drop and have the kernel forget, down to `to`. Resolves when
   * that is done, with what is kept. When the file is to be shared with another writer, and is open for writing
   * here, a read lease is kept. Never rejects.
   */
  recalled(
    ino: Ino,
    to: Lease,
    how: RecallHow,
  ): Promise<Omit<HeldLease, 'ino' | 'lease'> & { readonly kept: Lease }>
  /** What is cached may be false: forget it, here and in the kernel. The leases themselves stay. */
  distrust(why: string): void
  /** Leases, locks and open orphans are lost, and what was not committed with them. */
  sessionDied(): void
  /** What a restarted master must be told. */
  holdings(): { readonly leases: Iterable<HeldLease>; readonly locks: Iterable<HeldLock> }
  readonly dirtyBytes: number
  readonly traffic: DataTraffic
}
