import { isDirectory, isRegular, isSymlink, S_IFDIR, S_IFMT } from '../../core/attr.ts'
import { rootIno } from '../../core/ids.ts'
import { inodeFlag } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import type { Findings } from './findings.ts'
import { Merged, type Row, rowsOf } from './merge.ts'

interface Facts {
  readonly ino: bigint
  readonly mode: number
  readonly nlink: bigint
  readonly size: bigint
  readonly allocated: bigint
  readonly parent: bigint
  readonly copies: bigint
  readonly flags: number
}

/** Each inode against the rows of other tables that are about it. */
export function checkInodes(store: Store, findings: Findings): void {
  using links = new Merged(
    store,
    `SELECT ino, count(*), min(parent), min(type), max(type) FROM dirents GROUP BY ino ORDER BY ino`,
  )
  using entries = new Merged(
    store,
    `SELECT parent, count(*), sum(type = ${S_IFDIR}) FROM dirents GROUP BY parent ORDER BY parent`,
  )
  using covered = new Merged(store, 'SELECT ino, sum(length) FROM extents GROUP BY ino ORDER BY ino')
  using orphans = new Merged(store, 'SELECT ino, count(*) FROM orphans GROUP BY ino ORDER BY ino')
  const noInode =
    (what: string) =>
    ([ino]: Row): void =>
      findings.add(`${what} of no inode`, `Inode ${String(ino)} is missing, but there is ${what} of it`)
  const noDirectory = noInode('an entry in a directory')
  const noTarget = noInode('a name')
  const noHolder = noInode('an orphan row')

  for (const facts of inodes(store)) {
    checkLinks(facts, links.at(facts.ino, noTarget), findings)
    checkEntries(facts, entries.at(facts.ino, noDirectory), findings)
    checkOrphan(facts, orphans.at(facts.ino, noHolder), findings)
    checkForm(facts, covered.at(facts.ino)?.[1] ?? 0n, findings)
  }
  links.rest(noTarget)
  entries.rest(noDirectory)
  orphans.rest(noHolder)
  // Extents of an inode that is gone are checkExtents' matter.
  covered.rest(() => undefined)
}

function* inodes(store: Store): Generator<Facts> {
  const sql = 'SELECT ino, mode, nlink, size, allocated, parent, copies, flags FROM inodes ORDER BY ino'
  for (const row of rowsOf(store, sql)) {
    const [ino, mode, nlink, size, allocated, parent, copies, flags] = row as bigint[] & { length: 8 }
    yield {
      ino: ino as bigint,
      mode: Number(mode),
      nlink: nlink as bigint,
      size: size as bigint,
      allocated: allocated as bigint,
      parent: parent as bigint,
      copies: copies as bigint,
      flags: Number(flags),
    }
  }
}

/** Names that lead to it: a directory has one, in its parent; anything else as many as its link count. */
function checkLinks({ ino, mode, nlink, parent }: Facts, row: Row | undefined, findings: Findings): void {
  const count = row?.[1] ?? 0n
  const type = BigInt(mode & S_IFMT)
  findings.check(row === undefined || (row[3] === type && row[4] === type), 'type of entry', () => {
    return `A name of inode ${ino.toString()} says another type than the inode's mode ${mode.toString(8)}`
  })
  if (!isDirectory(mode)) {
    findings.check(count === nlink, 'link count', () => {
      return `Inode ${ino.toString()} has ${count.toString()} names but a link count of ${nlink.toString()}`
    })
    return
  }
  const expected = ino === rootIno || nlink === 0n ? 0n : 1n
  findings.check(count === expected, 'names of directory', () => {
    return `Directory ${ino.toString()} has ${count.toString()} names instead of ${expected.toString()}`
  })
  findings.check(row === undefined || row[2] === parent, 'parent of directory', () => {
    return `Directory ${ino.toString()} is in ${String(row?.[2])} but its .. leads to ${parent.toString()}`
  })
}

function checkEntries({ ino, mode, nlink }: Facts, row: Row | undefined, findings: Findings): void {
  if (!isDirectory(mode)) {
    findings.check(row === undefined, 'entries in a non-directory', () => {
      return `Inode ${ino.toString()} is no directory but has entries`
    })
    return
  }
  if (nlink === 0n) {
    findings.check(row === undefined, 'entries in a removed directory', () => {
      return `Directory ${ino.toString()} was removed but has entries`
    })
    return
  }
  const expected = 2n + (row?.[2] ?? 0n)
  findings.check(nlink === expected, 'link count of directory', () => {
    return `Directory ${ino.toString()} has a link count of ${nlink.toString()} instead of ${expected.toString()}`
  })
}

function checkOrphan({ ino, nlink }: Facts, row: Row | undefined, findings: Findings): void {
  findings.check((nlink === 0n) === (row !== undefined), 'orphan', () => {
    return nlink === 0n
      ? `Inode ${ino.toString()} has no name and nobody has it open`
      : `Inode ${ino.toString()} has a name but is an orphan of a session`
  })
}

function checkForm(facts: Facts, covered: bigint, findings: Findings): void {
  const { ino, mode, size, allocated, copies, parent, flags } = facts
  findings.check(covered === allocated, 'allocated bytes', () => {
    return `Inode ${ino.toString()} has extents of ${covered.toString()} bytes but counts ${allocated.toString()}`
  })
  findings.check(covered === 0n || isRegular(mode), 'extents of a non-file', () => {
    return `Inode ${ino.toString()} is no regular file but has extents`
  })
  findings.check(size >= 0n && copies >= 1n, 'form of inode', () => {
    return `Inode ${ino.toString()} has size ${size.toString()} and ${copies.toString()} copies`
  })
  findings.check(isDirectory(mode) || parent === 0n, 'form of inode', () => {
    return `Inode ${ino.toString()} is no directory but has a parent`
  })
  findings.check((flags & inodeFlag.linkable) === 0 || facts.nlink === 0n, 'form of inode', () => {
    return `Inode ${ino.toString()} has a name but still is an O_TMPFILE`
  })
  findings.check(!isSymlink(mode) || size > 0n, 'form of inode', () => {
    return `Symbolic link ${ino.toString()} is empty`
  })
}
