import type { Env } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Inode } from '../cache/inode.ts'
import type { InodeCache } from '../cache/inode-cache.ts'
import type { Op } from '../../wire/commands.ts'
import type { DataPath, MasterPort, Result, ResultOf } from '../ports.ts'

export interface FilesOptions {
  readonly readOnly: boolean
  /** When reading changes atime: as Linux mounts do by default, never, or always. */
  readonly atime: 'relatime' | 'noatime' | 'strictatime'
  /** How long the master is not told of access times, unless somebody asks. */
  readonly atimeDelayMs?: number
}

/** What the kernel was told under leases, and how to have it forget. mount/ implements it. */
export interface Forgetter {
  /** Attributes, and with `pages` what is cached of the contents. Resolves when the kernel has done it. */
  inode(ino: Ino, pages: boolean): Promise<void>
  /** Every name. */
  names(): Promise<void>
  /** As `inode` without pages, at once, for an inode that a request under way keeps in the kernel. */
  attributesNow(ino: Ino): void
  /** As `names`, at once. */
  namesNow(): void
}

/** The session as the file system sees it. */
export interface SessionPort extends MasterPort {
  /** What the export of this mount allows. */
  readonly rules: MasterPort['rules'] & {
    readonly judged: boolean
    readonly noSetuid: boolean
    readonly noDevices: boolean
  }
  /** Rises with every new session. */
  readonly incarnation: number
  leaseLeftMs(): number
  release(inos: readonly Ino[]): void
  /** What a recall is answered with is about to be stored: commits to the inode wait for nobody until then. */
  storing(ino: Ino): void
  /** As call, for what nobody waits for: it may be sent a little later, but before any call after it. */
  post<Case extends Result['$case']>(op: Op, expect: Case): Promise<ResultOf<Case>>
  /** What was posted is sent now, since somebody waits for it. */
  hurry(): void
  /** As `posted`, or rejects with ETIMEDOUT where the master is away for as long as calls wait: it is made later all the same. */
  patiently<T>(posted: Promise<T>): Promise<T>
  /** How long a lease lasts without word from us, ms. */
  readonly leaseMs: number
}

/** What the parts of the file system share. */
export interface FilesContext {
  readonly env: Env
  readonly session: SessionPort
  readonly cache: InodeCache
  readonly data: DataPath
  readonly options: FilesOptions
  /** Absent until there is a mount. */
  kernel: Forgetter | undefined
  /** Until it is settled this mount is still another process's: nothing may be given back. */
  readonly taking: Promise<unknown> | undefined
}

export function mustBeWritable(options: FilesOptions): void {
  if (options.readOnly) throw new FsError('EROFS', 'The mount is read-only')
}

/** EIO for a file without a name that went with its session: others may have it still, so nothing of it is promised. */
export function mustBeOurs(node: Inode | undefined): void {
  if (node?.forfeited === true)
    throw new FsError('EIO', `inode ${node.ino}: it had no name when the session died`)
}

/** Runs `then` on the value: at once if it is there, for what can be answered without waiting. */
export function chain<T, R>(value: T | Promise<T>, then: (value: T) => R | Promise<R>): R | Promise<R> {
  return value instanceof Promise ? value.then(then) : then(value)
}
