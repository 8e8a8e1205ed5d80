/**
 * What can be put right from what the tables say twice. Every step finds the rows that are wrong and mends all of
 * them at once; none invents anything that was in a file, a name or an attribute. The order matters: what names
 * lead to comes before what is counted from them.
 */
import { S_IFDIR, S_IFLNK, S_IFMT } from '../../core/attr.ts'
import { rootIno } from '../../core/ids.ts'
import { accessAclName, defaultAclName } from '../namespace/acl.ts'
import { capabilityName } from '../namespace/privileges.ts'
import { blockState } from '../store/blocks.ts'
import { inodeFlag } from '../store/inodes.ts'

export interface RepairStep {
  /** What is done to a row, with its columns as {0}, {1}, …. */
  readonly does: string
  /** Tables of sums that `find` and `fix` read, in the schema temp. */
  readonly before?: string
  /** The rows that are wrong. */
  readonly find: string
  /** Mends all of them. $time is the time in ns. */
  readonly fix: string
}

const isDirectory = `(mode & ${S_IFMT}) = ${S_IFDIR}`
const { live, condemned, deleting } = blockState

const table = (name: string, select: string): string =>
  `DROP TABLE IF EXISTS temp.${name}; CREATE TEMP TABLE ${name} (key INTEGER PRIMARY KEY, n INTEGER, more INTEGER);
   INSERT INTO temp.${name} ${select};`

/** Names of each inode, and subdirectories of each directory. */
const names =
  table('names', 'SELECT ino, count(*), min(parent) FROM dirents GROUP BY ino') +
  table('subdirectories', `SELECT parent, count(*), 0 FROM dirents WHERE type = ${S_IFDIR} GROUP BY parent`)

/** The flag of an inode follows the attribute that it stands for. */
const flag = (what: string, bit: number, rows: string): RepairStep => ({
  does: `note that inode {0} has ${what}, or no more`,
  find: `SELECT ino FROM inodes WHERE (flags & ${bit} <> 0) <> (ino IN (${rows}))`,
  fix: `UPDATE inodes SET flags = CASE WHEN ino IN (${rows}) THEN flags | ${bit} ELSE flags & ~${bit} END
        WHERE (flags & ${bit} <> 0) <> (ino IN (${rows}))`,
})
const xattr = (name: Buffer): string => `SELECT ino FROM xattrs WHERE name = x'${name.toString('hex')}'`

const deleteRows = (does: string, columns: string, from: string, where: string): RepairStep => ({
  does,
  find: `SELECT ${columns} FROM ${from} WHERE ${where}`,
  fix: `DELETE FROM ${from} WHERE ${where}`,
})

export const repairSteps: readonly RepairStep[] = [
  // ---- names
  deleteRows(
    'remove a name in directory {0} of inode {1}, which does not exist',
    'parent, ino',
    'dirents',
    'ino NOT IN (SELECT ino FROM inodes)',
  ),
  deleteRows(
    'remove a name of inode {1} in {0}, which is no directory any more',
    'parent, ino',
    'dirents',
    `parent NOT IN (SELECT ino FROM inodes WHERE ${isDirectory} AND nlink > 0)
     AND parent NOT IN (SELECT ino FROM dirents)`,
  ),
  {
    does: 'give a name of inode {0} the type of the inode',
    find: `SELECT d.ino FROM dirents d JOIN inodes i ON i.ino = d.ino WHERE d.type <> (i.mode & ${S_IFMT})`,
    fix: `UPDATE dirents SET type = (SELECT mode & ${S_IFMT} FROM inodes i WHERE i.ino = dirents.ino)
          WHERE type <> (SELECT mode & ${S_IFMT} FROM inodes i WHERE i.ino = dirents.ino)`,
  },
  {
    does: 'let .. of directory {0} lead to {1}, which has its only name',
    before: names,
    find: `SELECT i.ino, n.more FROM inodes i JOIN temp.names n ON n.key = i.ino
           WHERE ${isDirectory} AND n.n = 1 AND i.parent <> n.more AND i.ino <> ${rootIno.toString()}`,
    fix: `UPDATE inodes SET parent = (SELECT more FROM temp.names WHERE key = ino)
          WHERE ${isDirectory} AND ino <> ${rootIno.toString()}
            AND parent <> (SELECT more FROM temp.names WHERE key = ino AND n = 1)`,
  },
  {
    does: 'forget the parent {1} of inode {0}, which is no directory',
    find: `SELECT ino, parent FROM inodes WHERE NOT ${isDirectory} AND parent <> 0`,
    fix: `UPDATE inodes SET parent = 0 WHERE NOT ${isDirectory} AND parent <> 0`,
  },
  // ---- rows of nothing
  deleteRows(
    'remove attributes of inode {0}, which does not exist',
    'DISTINCT ino',
    'xattrs',
    'ino NOT IN (SELECT ino FROM inodes)',
  ),
  deleteRows(
    'remove the target of {0}, which is no symbolic link',
    'ino',
    'symlinks',
    `ino NOT IN (SELECT ino FROM inodes WHERE (mode & ${S_IFMT}) = ${S_IFLNK})`,
  ),
  deleteRows(
    'remove the note that session {1} has inode {0} open, which does not exist',
    'ino, session',
    'orphans',
    'ino NOT IN (SELECT ino FROM inodes)',
  ),
  deleteRows(
    'remove replies to session {0}, which has ended',
    'DISTINCT session',
    'replies',
    'session NOT IN (SELECT id FROM sessions)',
  ),
  deleteRows('remove an empty range to be cleared of inode {0}', 'ino', 'doomed', 'start >= end'),
  deleteRows(
    'remove the extent at {1} of inode {0}, which does not exist',
    'ino, offset',
    'extents',
    `ino NOT IN (SELECT ino FROM inodes) AND NOT EXISTS (SELECT 1 FROM doomed d
       WHERE d.ino = extents.ino AND d.start <= extents.offset AND extents.offset < d.end)`,
  ),
  deleteRows(
    'forget a copy on chunkserver {1} of block {0}, which does not exist',
    'block, node',
    'replicas',
    'block NOT IN (SELECT key FROM blocks)',
  ),
  deleteRows(
    'forget a copy of block {0} on chunkserver {1}, which does not exist',
    'block, node',
    'replicas',
    'node NOT IN (SELECT id FROM nodes)',
  ),
  // ---- what an inode says of its rows
  flag('attributes', inodeFlag.xattrs, 'SELECT ino FROM xattrs'),
  flag('an access ACL', inodeFlag.accessAcl, xattr(accessAclName)),
  flag('a default ACL', inodeFlag.defaultAcl, xattr(defaultAclName)),
  flag('capabilities', inodeFlag.capability, xattr(capabilityName)),
  {
    does: 'note that inode {0} has a range to be cleared',
    find: `SELECT DISTINCT d.ino FROM doomed d JOIN inodes i ON i.ino = d.ino WHERE i.flags & ${inodeFlag.doomed} = 0`,
    fix: `UPDATE inodes SET flags = flags | ${inodeFlag.doomed}
          WHERE flags & ${inodeFlag.doomed} = 0 AND ino IN (SELECT ino FROM doomed)`,
  },
  {
    does: 'give symbolic link {0} the size {1} of its target',
    find: `SELECT i.ino, length(s.target) FROM inodes i JOIN symlinks s ON s.ino = i.ino WHERE i.size <> length(s.target)`,
    fix: `UPDATE inodes SET size = (SELECT length(target) FROM symlinks s WHERE s.ino = inodes.ino)
          WHERE size <> (SELECT length(target) FROM symlinks s WHERE s.ino = inodes.ino)`,
  },
  {
    does: 'count {1} allocated bytes of inode {0}',
    before: table('covered', 'SELECT ino, sum(length), 0 FROM extents GROUP BY ino'),
    find: `SELECT i.ino, coalesce(c.n, 0) FROM inodes i LEFT JOIN temp.covered c ON c.key = i.ino
           WHERE i.allocated <> coalesce(c.n, 0)`,
    fix: `UPDATE inodes SET allocated = coalesce((SELECT n FROM temp.covered WHERE key = ino), 0)
          WHERE allocated <> coalesce((SELECT n FROM temp.covered WHERE key = ino), 0)`,
  },
  // ---- links
  {
    does: 'take inode {0}, which has no name and is open somewhere, as removed',
    before: names,
    find: `SELECT ino FROM inodes WHERE nlink > 0 AND ino <> ${rootIno.toString()}
           AND ino IN (SELECT ino FROM orphans) AND ino NOT IN (SELECT key FROM temp.names)`,
    fix: `UPDATE inodes SET nlink = 0 WHERE nlink > 0 AND ino <> ${rootIno.toString()}
          AND ino IN (SELECT ino FROM orphans) AND ino NOT IN (SELECT key FROM temp.names)`,
  },
  {
    does: 'count {1} links of inode {0}',
    before: names,
    find: `SELECT i.ino, n.n FROM inodes i JOIN temp.names n ON n.key = i.ino WHERE NOT ${isDirectory} AND i.nlink <> n.n`,
    fix: `UPDATE inodes SET nlink = (SELECT n FROM temp.names WHERE key = ino)
          WHERE NOT ${isDirectory} AND nlink <> (SELECT n FROM temp.names WHERE key = ino)`,
  },
  {
    does: 'count {1} links of directory {0}',
    before: names,
    find: `SELECT i.ino, 2 + coalesce(s.n, 0) FROM inodes i LEFT JOIN temp.subdirectories s ON s.key = i.ino
           WHERE ${isDirectory} AND i.nlink <> 2 + coalesce(s.n, 0)
             AND (i.ino IN (SELECT key FROM temp.names) OR i.ino = ${rootIno.toString()})`,
    fix: `UPDATE inodes SET nlink = 2 + coalesce((SELECT n FROM temp.subdirectories WHERE key = ino), 0)
          WHERE ${isDirectory} AND nlink <> 2 + coalesce((SELECT n FROM temp.subdirectories WHERE key = ino), 0)
            AND (ino IN (SELECT key FROM temp.names) OR ino = ${rootIno.toString()})`,
  },
  deleteRows(
    'remove the note that session {1} has inode {0} open after its removal: it has a name',
    'ino, session',
    'orphans',
    'ino IN (SELECT ino FROM inodes WHERE nlink > 0)',
  ),
  {
    does: 'note that inode {0}, which has a name, is no temporary file',
    find: `SELECT ino FROM inodes WHERE nlink > 0 AND flags & ${inodeFlag.linkable} <> 0`,
    fix: `UPDATE inodes SET flags = flags & ~${inodeFlag.linkable} WHERE nlink > 0 AND flags & ${inodeFlag.linkable} <> 0`,
  },
  // ---- blocks
  {
    does: 'count {1} references to block {0}',
    before: table('references_', 'SELECT block, count(*), 0 FROM extents GROUP BY block'),
    find: `SELECT b.key, coalesce(r.n, 0) FROM blocks b LEFT JOIN temp.references_ r ON r.key = b.key
           WHERE b.state <> ${deleting} AND b.refs <> coalesce(r.n, 0)`,
    fix: `UPDATE blocks SET refs = coalesce((SELECT n FROM temp.references_ r WHERE r.key = blocks.key), 0)
          WHERE state <> ${deleting} AND refs <> coalesce((SELECT n FROM temp.references_ r WHERE r.key = blocks.key), 0)`,
  },
  {
    does: 'take block {0}, to which nothing refers, as removed now',
    find: `SELECT key FROM blocks WHERE state = ${live} AND refs = 0`,
    fix: `UPDATE blocks SET state = ${condemned}, since = $time WHERE state = ${live} AND refs = 0`,
  },
  {
    does: 'take block {0}, to which files refer, as in use',
    find: `SELECT key FROM blocks WHERE state = ${condemned} AND refs > 0`,
    fix: `UPDATE blocks SET state = ${live}, since = $time WHERE state = ${condemned} AND refs > 0`,
  },
  {
    does: 'count {1} copies of block {0}',
    before: table('copies_', 'SELECT block, count(*), 0 FROM replicas GROUP BY block'),
    find: `SELECT b.key, coalesce(c.n, 0) FROM blocks b LEFT JOIN temp.copies_ c ON c.key = b.key
           WHERE b.have <> coalesce(c.n, 0)`,
    fix: `UPDATE blocks SET have = coalesce((SELECT n FROM temp.copies_ c WHERE c.key = blocks.key), 0)
          WHERE have <> coalesce((SELECT n FROM temp.copies_ c WHERE c.key = blocks.key), 0)`,
  },
  {
    does: 'want {1} copies of block {0}, as its files do',
    before: table(
      'goals_',
      'SELECT e.block, max(i.copies), 0 FROM extents e JOIN inodes i ON i.ino = e.ino GROUP BY e.block',
    ),
    find: `SELECT b.key, g.n FROM blocks b JOIN temp.goals_ g ON g.key = b.key WHERE b.wanted < 1 AND g.n > 0`,
    fix: `UPDATE blocks SET wanted = (SELECT n FROM temp.goals_ g WHERE g.key = blocks.key)
          WHERE wanted < 1 AND (SELECT n FROM temp.goals_ g WHERE g.key = blocks.key) > 0`,
  },
]
