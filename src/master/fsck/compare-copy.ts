/**
 * Compares the database with an earlier copy of it, to find what contradicts nothing: a bit that flipped in a time, a
 * name, the id of a block. What has not been changed by a command since the copy was made must be in both, to the letter.
 * Of an inode its ctime says whether it was: that of what changed less than `settledNs` before the copy may have been
 * in the middle of it, and is left to the next one. Written data keep the time of their write, however late they come, and move no ctime
 * that is later: a file that has a block of after the copy was changed, too.
 */
import { must } from '../../core/assert.ts'
import { S_IFMT } from '../../core/attr.ts'
import { second } from '../../core/units.ts'
import type { Store } from '../store/store.ts'
import { Findings } from './findings.ts'

export interface Differences {
  /** One line each; none: all is as it was. */
  readonly lines: string[]
  /** Of them, those about blocks: by these live data may look like what nobody needs. */
  readonly ofBlocks: number
}

/** Under this name the copy is attached, as the queries say. */
export const copySchema = 'copy'

/** Mounts' clocks differ by less, and what they ask for does not wait longer. */
const settledNs = BigInt(60 * second) * 1_000_000n

/**
 * Inode `c.ino` has got no data since the copy. Keys of blocks are given out in order, and never again. One that is higher by
 * a flipped bit is no way around: fsck finds that the block is missing, or is named once too often.
 */
const noNewBlock = `NOT EXISTS (SELECT 1 FROM main.extents e
  WHERE e.ino = c.ino AND e.block > (SELECT coalesce(max(key), 0) FROM copy.blocks))`

interface Row {
  readonly what: string
}

interface Query {
  readonly kind: string
  readonly sql: string
}

/** For copies whose format has it. */
const domains: Query = {
  kind: 'blocks',
  sql: `SELECT 'block ' || c.key || ' was of the dedup domain ' || lower(hex(c.domain)) AS what
        FROM copy.blocks c JOIN main.blocks m USING (key) WHERE m.domain IS NOT c.domain`,
}

/** What each query finds is wrong; `:before` is the time up to which inodes are compared. */
const queries: readonly Query[] = [
  {
    kind: 'blocks',
    sql: `SELECT 'block ' || c.key || ' was ' || lower(hex(c.id)) || ' of ' || c.length || ' bytes' AS what
          FROM copy.blocks c JOIN main.blocks m USING (key)
          WHERE m.id IS NOT c.id OR m.length IS NOT c.length`,
  },
  {
    kind: 'extents',
    sql: `SELECT 'inode ' || c.ino || ' had block ' || c.block || ' at ' || c.offset AS what
          FROM copy.extents c JOIN copy.inodes i USING (ino) JOIN main.inodes n USING (ino)
          LEFT JOIN main.extents m ON m.ino = c.ino AND m.offset = c.offset
          WHERE i.ctime = n.ctime AND i.ctime < :before AND i.nlink > 0
            AND (m.length IS NOT c.length OR m.block IS NOT c.block OR m.block_offset IS NOT c.block_offset)
            AND NOT EXISTS (SELECT 1 FROM copy.doomed d WHERE d.ino = c.ino) AND ${noNewBlock}`,
  },
  {
    kind: 'inodes',
    sql: `SELECT 'inode ' || c.ino || ': mode, owner, size or a time is not what it was' AS what
          FROM copy.inodes c JOIN main.inodes m USING (ino)
          WHERE m.btime IS NOT c.btime OR m.rdev IS NOT c.rdev OR (m.mode & ${S_IFMT}) IS NOT (c.mode & ${S_IFMT})
            OR (m.ctime = c.ctime AND c.ctime < :before AND (m.mode IS NOT c.mode OR m.uid IS NOT c.uid
              OR m.gid IS NOT c.gid OR m.size IS NOT c.size OR m.mtime IS NOT c.mtime) AND ${noNewBlock})`,
  },
  {
    kind: 'names',
    sql: `SELECT 'directory ' || c.parent || ' had the name ' || hex(c.name) || ' of inode ' || c.ino AS what
          FROM copy.dirents c JOIN copy.inodes i ON i.ino = c.parent JOIN main.inodes n ON n.ino = c.parent
          LEFT JOIN main.dirents m ON m.parent = c.parent AND m.name = c.name
          WHERE i.ctime = n.ctime AND i.ctime < :before AND (m.ino IS NOT c.ino OR m.type IS NOT c.type)`,
  },
  {
    kind: 'symlinks',
    sql: `SELECT 'the target of symlink ' || c.ino || ' is not what it was' AS what
          FROM copy.symlinks c JOIN main.symlinks m USING (ino) WHERE m.target IS NOT c.target`,
  },
  {
    kind: 'attributes',
    sql: `SELECT 'extended attribute ' || hex(c.name) || ' of inode ' || c.ino || ' is not what it was' AS what
          FROM copy.xattrs c JOIN copy.inodes i USING (ino) JOIN main.inodes n USING (ino)
          LEFT JOIN main.xattrs m ON m.ino = c.ino AND m.name = c.name
          WHERE i.ctime = n.ctime AND i.ctime < :before AND m.value IS NOT c.value`,
  },
]

/** The database of `store` has an earlier backup of it attached as `copySchema`. */
export function compareWithCopy({ db }: Store): Differences {
  const findings = new Findings()
  let ofBlocks = 0
  const taken = must(
    db.prepare<[], bigint>(`SELECT taken FROM ${copySchema}.backup`).pluck().safeIntegers().get(),
    'time of the copy',
  )
  const hasDomains = db
    .prepare<[string]>("SELECT 1 FROM pragma_table_info('blocks', ?) WHERE name = 'domain'")
    .get(copySchema)
  for (const { kind, sql } of hasDomains === undefined ? queries : [...queries, domains]) {
    const before = sql.includes(':before') ? { before: taken - settledNs } : {}
    for (const { what } of db.prepare<[object], Row>(sql).iterate(before)) {
      findings.add(kind, what)
      if (kind === 'blocks' || kind === 'extents') ofBlocks += 1
    }
  }
  return { lines: findings.lines(), ofBlocks }
}
