import { S_IFLNK, S_IFMT } from '../../core/attr.ts'
import { accessAclName, defaultAclName } from '../namespace/acl.ts'
import { capabilityName } from '../namespace/privileges.ts'
import { inodeFlag } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'
import type { Findings } from './findings.ts'
import { rowsOf } from './merge.ts'

const hex = (name: Buffer): string => `x'${name.toString('hex')}'`

/** An attribute that is there without its flag (which would never be found again), or the reverse. */
const flagged = (bit: number, name: Buffer): string =>
  `SELECT i.ino FROM inodes i LEFT JOIN xattrs x ON x.ino = i.ino AND x.name = ${hex(name)}
   WHERE (i.flags & ${bit} <> 0) <> (x.ino IS NOT NULL)`

/** Each finds inodes of which side tables and row disagree. */
const checks: readonly (readonly [kind: string, sql: string])[] = [
  [
    'attributes without an inode that knows of them',
    `SELECT DISTINCT x.ino FROM xattrs x LEFT JOIN inodes i ON i.ino = x.ino
     WHERE i.ino IS NULL OR i.flags & ${inodeFlag.xattrs} = 0`,
  ],
  ['an access ACL and its flag disagree', flagged(inodeFlag.accessAcl, accessAclName)],
  ['a default ACL and its flag disagree', flagged(inodeFlag.defaultAcl, defaultAclName)],
  ['capabilities and their flag disagree', flagged(inodeFlag.capability, capabilityName)],
  [
    'a target without a symbolic link',
    `SELECT s.ino FROM symlinks s LEFT JOIN inodes i ON i.ino = s.ino
     WHERE i.ino IS NULL OR i.mode & ${S_IFMT} <> ${S_IFLNK}`,
  ],
  [
    'a symbolic link without a target of its size',
    `SELECT i.ino FROM inodes i LEFT JOIN symlinks s ON s.ino = i.ino
     WHERE i.mode & ${S_IFMT} = ${S_IFLNK} AND (s.ino IS NULL OR length(s.target) <> i.size)`,
  ],
  [
    'a doomed range that the inode does not know of',
    `SELECT DISTINCT d.ino FROM doomed d JOIN inodes i ON i.ino = d.ino WHERE i.flags & ${inodeFlag.doomed} = 0`,
  ],
  [
    'an orphan of an unknown session',
    'SELECT o.ino FROM orphans o LEFT JOIN sessions s ON s.id = o.session WHERE s.id IS NULL',
  ],
]

/** Rows of side tables that belong to nothing, or that their owner does not know of. */
export function checkStrangers(store: Store, findings: Findings): void {
  for (const [kind, sql] of checks) {
    for (const [ino] of rowsOf(store, sql)) findings.add(kind, `Inode ${String(ino)}: ${kind}`)
  }
  const replies = `SELECT r.session, count(*) FROM replies r LEFT JOIN sessions s ON s.id = r.session
    WHERE s.id IS NULL GROUP BY r.session`
  for (const [session, count] of rowsOf(store, replies)) {
    findings.add(
      'replies',
      `${String(count)} replies are kept for session ${String(session)}, which is unknown`,
    )
  }
}
