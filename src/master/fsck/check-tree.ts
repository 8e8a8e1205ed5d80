import { must } from '../../core/assert.ts'
import { isDirectory, S_IFDIR, S_IFMT } from '../../core/attr.ts'
import { rootIno } from '../../core/ids.ts'
import type { Store } from '../store/store.ts'
import type { Findings } from './findings.ts'
import { rowsOf } from './merge.ts'

/**
 * Every directory is reached from the root. That each has one name, in its parent, was checked with
 * the inodes; what is left is a loop of directories that hang on each other alone.
 */
export function checkTree(store: Store, findings: Findings): void {
  const root = store.inodes.find(rootIno)
  findings.check(root !== undefined && isDirectory(root.mode) && root.parent === rootIno, 'root', () => {
    return 'The root directory is missing, no directory or not its own parent'
  })
  const directories = one(
    store,
    `SELECT count(*) FROM inodes WHERE (mode & ${S_IFMT}) = ${S_IFDIR} AND nlink > 0`,
  )
  // The limit ends a loop, which only another damage could make reachable.
  const reached = one(
    store,
    `WITH RECURSIVE tree (ino) AS (
       SELECT ino FROM inodes WHERE ino = ${rootIno.toString()}
       UNION ALL
       SELECT d.ino FROM tree JOIN dirents d ON d.parent = tree.ino AND d.type = ${S_IFDIR}
       LIMIT ${(directories + 1n).toString()}
     )
     SELECT count(*) FROM tree`,
  )
  findings.check(directories === reached, 'tree', () => {
    return `The root reaches ${reached.toString()} directories of ${directories.toString()}: some hang in a loop`
  })
}

function one(store: Store, sql: string): bigint {
  for (const [value] of rowsOf(store, sql)) return must(value, 'count')
  return 0n
}
