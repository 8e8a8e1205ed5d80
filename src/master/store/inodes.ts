import type { Database } from 'better-sqlite3'
import { isDirectory } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import { linksMax } from '../../core/limits.ts'
import type { Attr } from '../../wire/gen/cairn/v1/common.ts'
import type { Counters } from './counters.ts'
import { fitsInt64 } from './int64.ts'

/** Bits of `Inode.flags`: what need not be looked for in other tables when it is not set. */
export const inodeFlag = {
  /** There may be rows in xattrs. */
  xattrs: 1,
  /** system.posix_acl_default is set. */
  defaultAcl: 2,
  /** system.posix_acl_access is set. */
  accessAcl: 4,
  /** security.capability is set. */
  capability: 8,
  /** Made by O_TMPFILE without O_EXCL and not linked yet: a link may still name it. */
  linkable: 16,
  /** There may be ranges in doomed. */
  doomed: 32,
} as const

/** A row of inodes, to be changed in place and saved. */
export interface Inode {
  readonly ino: Ino
  mode: number
  /** Of a directory: 2 and one for each subdirectory. 0: no name any more. */
  nlink: number
  uid: number
  gid: number
  readonly rdev: number
  size: number
  /** Sum of the lengths of the inode's extents rows. */
  allocated: number
  atime: bigint
  mtime: bigint
  ctime: bigint
  readonly btime: bigint
  /** Of a directory: where `..` leads; of anything else 0. */
  parent: Ino
  /** Copies wanted of its blocks; of a directory: of what is made in it. */
  copies: number
  flags: number
}

type Row = readonly bigint[]

const columns =
  'ino, mode, nlink, uid, gid, rdev, size, allocated, atime, mtime, ctime, btime, parent, copies, flags'

function fromRow(row: Row): Inode {
  const [
    ino,
    mode,
    nlink,
    uid,
    gid,
    rdev,
    size,
    allocated,
    atime,
    mtime,
    ctime,
    btime,
    parent,
    copies,
    flags,
  ] = row as unknown as bigint[] & { length: 15 }
  return {
    ino: ino as Ino,
    mode: Number(mode),
    nlink: Number(nlink),
    uid: Number(uid),
    gid: Number(gid),
    rdev: Number(rdev),
    size: Number(size),
    allocated: Number(allocated),
    atime: atime as bigint,
    mtime: mtime as bigint,
    ctime: ctime as bigint,
    btime: btime as bigint,
    parent: parent as Ino,
    copies: Number(copies),
    flags: Number(flags),
  }
}

/** What is made in the directory gets its mode less the umask. */
export const isPlain = (directory: Inode): boolean => (directory.flags & inodeFlag.defaultAcl) === 0

/** As the wire shows it. Beyond ext4's limit a directory's count is 1, "not known", as ext4 has it. */
export function wireAttr(inode: Inode): Attr {
  return {
    ino: inode.ino,
    mode: inode.mode,
    nlink: inode.nlink > linksMax && isDirectory(inode.mode) ? 1 : inode.nlink,
    uid: inode.uid,
    gid: inode.gid,
    rdev: inode.rdev,
    size: BigInt(inode.size),
    allocated: BigInt(inode.allocated),
    atime: inode.atime,
    mtime: inode.mtime,
    ctime: inode.ctime,
    btime: inode.btime,
  }
}

/** One row an inode. A row without a name (nlink 0) has rows in orphans. */
export class Inodes {
  static readonly schema = `
    CREATE TABLE inodes (
      ino INTEGER PRIMARY KEY,
      mode INTEGER NOT NULL,
      nlink INTEGER NOT NULL,
      uid INTEGER NOT NULL,
      gid INTEGER NOT NULL,
      rdev INTEGER NOT NULL,
      size INTEGER NOT NULL,
      allocated INTEGER NOT NULL, -- sum of extents.length
      atime INTEGER NOT NULL, -- times: ns since 1970, cluster time
      mtime INTEGER NOT NULL,
      ctime INTEGER NOT NULL,
      btime INTEGER NOT NULL,
      parent INTEGER NOT NULL, -- directories: ..; else 0
      copies INTEGER NOT NULL,
      flags INTEGER NOT NULL -- inodeFlag
    ) STRICT;`

  readonly #counters: Counters
  readonly #byIno
  readonly #parentOf
  readonly #insert
  readonly #update
  readonly #delete

  constructor(db: Database, counters: Counters) {
    this.#counters = counters
    this.#byIno = db
      .prepare<[bigint], Row>(`SELECT ${columns} FROM inodes WHERE ino = ?`)
      .safeIntegers()
      .raw()
    this.#parentOf = db
      .prepare<[bigint], bigint>('SELECT parent FROM inodes WHERE ino = ?')
      .safeIntegers()
      .pluck()
    this.#insert = db.prepare(`INSERT INTO inodes (${columns}) VALUES (${'?, '.repeat(14)}?)`)
    this.#update = db.prepare(
      `UPDATE inodes SET mode = ?, nlink = ?, uid = ?, gid = ?, size = ?, allocated = ?,
         atime = ?, mtime = ?, ctime = ?, parent = ?, copies = ?, flags = ? WHERE ino = ?`,
    )
    this.#delete = db.prepare<[bigint]>('DELETE FROM inodes WHERE ino = ?')
  }

  find(ino: bigint): Inode | undefined {
    const row = fitsInt64(ino) ? this.#byIno.get(ino) : undefined
    return row === undefined ? undefined : fromRow(row)
  }

  /** Where `..` of a directory leads; undefined when there is no such inode. */
  parentOf(directory: Ino): Ino | undefined {
    return this.#parentOf.get(directory) as Ino | undefined
  }

  issueIno(): Ino {
    return this.#counters.issue('ino') as Ino
  }

  add(i: Inode): void {
    this.#insert.run(
      i.ino,
      i.mode,
      i.nlink,
      i.uid,
      i.gid,
      i.rdev,
      i.size,
      i.allocated,
      i.atime,
      i.mtime,
      i.ctime,
      i.btime,
      i.parent,
      i.copies,
      i.flags,
    )
    this.#counters.adjust('inodes', 1n)
  }

  save(i: Inode): void {
    this.#update.run(
      i.mode,
      i.nlink,
      i.uid,
      i.gid,
      i.size,
      i.allocated,
      i.atime,
      i.mtime,
      i.ctime,
      i.parent,
      i.copies,
      i.flags,
      i.ino,
    )
  }

  remove(ino: Ino): void {
    if (this.#delete.run(ino).changes > 0) this.#counters.adjust('inodes', -1n)
  }

  get count(): bigint {
    return this.#counters.total('inodes')
  }
}
