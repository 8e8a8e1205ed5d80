import { type Attr, type Dirent, S_IFMT } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { DirEntry, ReadDirReply } from '../../wire/gen/cairn/v1/session.ts'
import { toIno, toName, u63 } from '../../wire/validate.ts'

/** `.` and `..` come first and have cookies of their own; those of the master follow them. */
export const ownCookies = 2n

export function direntFromWire(wire: DirEntry): Dirent {
  return {
    name: toName(wire.name, 'read_dir.name'),
    ino: toIno(wire.ino, 'read_dir.ino'),
    type: wire.type & S_IFMT,
    cookie: u63(wire.cookie, 'read_dir.cookie') + ownCookies,
  }
}

/** A name that the master has just made; the cookie is 0 where it does not tell its place. */
export function newDirent(name: Name, attr: Attr, cookie: bigint): Dirent {
  const place = cookie === 0n ? 0n : u63(cookie, 'entry.cookie') + ownCookies
  return { name, ino: attr.ino, type: attr.mode & S_IFMT, cookie: place }
}

/** The root is its own parent. */
export function parentOf(ino: Ino, reply: Pick<ReadDirReply, 'parent'>): Ino {
  return reply.parent === 0n ? ino : toIno(reply.parent, 'read_dir.parent')
}

/** The entries after a cookie, by bisection. */
export function entriesAfter(entries: readonly Dirent[], cookie: bigint): readonly Dirent[] {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >> 1
    const entry = entries[middle]
    if (entry !== undefined && entry.cookie <= cookie) low = middle + 1
    else high = middle
  }
  return low === 0 ? entries : entries.slice(low)
}
