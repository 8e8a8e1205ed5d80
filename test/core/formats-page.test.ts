import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import Database from 'better-sqlite3'
import test from 'ava'
import { schema, unprovenSchema } from '#src/chunkserver/blocks/block-tables.ts'
import { storeSchema } from '#src/chunkserver/blocks/store-table.ts'
import { writeStamp } from '#src/master/store/backup-stamp.ts'
import { Store } from '#src/master/store/store.ts'

const page = readFileSync(fileURLToPath(new URL('../../../docs/formats.md', import.meta.url)), 'utf8')

/** The names in the first column of the tables of a section, several of them in one row too. */
function named(section: string): string[] {
  const text = page.split(`\n## ${section}`)[1]?.split('\n## ')[0] ?? ''
  const table = text.split('| table | a row is |')[1] ?? ''
  return [...table.matchAll(/^\| (`.*?`) \| /gm)].flatMap(row =>
    [...(row[1] ?? '').matchAll(/`(\w+)`/g)].map(name => name[1] ?? ''),
  )
}

const tablesOf = (db: Database.Database): string[] =>
  db
    .prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .pluck()
    .all()

test('docs/formats.md names every table of both databases, and no other', t => {
  const master = new Database(':memory:')
  Store.format(master, {
    cluster: Buffer.alloc(16),
    blockBytes: 1 << 20,
    copies: 3,
    minCopies: 2,
    created: 0n,
  })
  writeStamp(master, { taken: 0n, program: 'test' })
  t.deepEqual(named("The master's folder").sort(), tablesOf(master).sort())
  const index = new Database(':memory:')
  index.exec(schema)
  index.exec(storeSchema)
  index.exec(unprovenSchema)
  t.deepEqual(named("A chunkserver's folder").sort(), tablesOf(index).sort())
})
