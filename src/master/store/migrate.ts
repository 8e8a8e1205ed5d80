import type { Database } from 'better-sqlite3'
import { must } from '../../core/assert.ts'
import { BadCopies } from './bad-copies.ts'
import { Blocks } from './blocks.ts'
import { Exports } from './exports.ts'
import { Restores } from './restores.ts'
import { schemaVersion } from './format.ts'
import { InoRanges } from './ino-ranges.ts'
import { NodeLabels } from './node-labels.ts'
import { Nodes } from './nodes.ts'
import { Sessions } from './sessions.ts'
import { Switches } from './switches.ts'

/** What leads from a version of the schema to the next one. */
const steps: ReadonlyMap<bigint, string> = new Map([
  [1n, `${InoRanges.schema} ${Blocks.surplusIndex}`],
  [2n, Restores.schema],
  [3n, `${BadCopies.schema} ${Switches.schema}`],
  [4n, NodeLabels.schema],
  [5n, `${Nodes.identityColumn} ${Sessions.identityColumn}`],
  [6n, `${Exports.schema} ${Sessions.exportColumn}`],
  [7n, `${Exports.domainColumns} ${Sessions.domainColumn} ${Blocks.domainColumn}`],
])

/**
 * Brings a database of an older version up to this one, whole or not at all. An older program refuses it from
 * then on.
 */
export function migrate(db: Database): void {
  const version = db.prepare<[], bigint>('SELECT version FROM format').safeIntegers().pluck().get()
  if (version === undefined || version >= BigInt(schemaVersion)) return
  db.transaction(() => {
    for (let from = version; from < BigInt(schemaVersion); from++)
      db.exec(must(steps.get(from), `step from version ${from}`))
    db.prepare('UPDATE format SET version = ?').run(schemaVersion)
  })()
}
