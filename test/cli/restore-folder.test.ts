import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { UsageError } from '#src/core/errors.ts'
import { asidePrefix, MasterFolder } from '#src/cli/master-folder.ts'
import { restoreFolder } from '#src/cli/restore-folder.ts'
import { copyAndCheck } from '#src/master/backup/take-backup.ts'
import { openDatabase } from '#src/master/store/open-database.ts'
import { Store } from '#src/master/store/store.ts'

const format = { cluster: Buffer.alloc(16, 7), blockBytes: 65536, copies: 1, minCopies: 1, created: 1n }
const now = 1_700_000_000_000_000_000n

/** A master's folder with a database, and a backup of it. */
async function make(t: ExecutionContext): Promise<{ folder: string; file: string; database: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'cairn-restore-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const { database } = new MasterFolder(dir)
  Store.format(openDatabase(database), format).close()
  const file = join(dir, 'backup')
  await copyAndCheck(database, file, { taken: 5_000n, program: 'test' })
  return { folder: dir, file, database }
}

const isPending = (database: string): boolean => {
  using store = Store.open(openDatabase(database))
  return store.restores.pending !== undefined
}

test('wherever a restore is killed, there is the old database, or none and no new cluster, or the new one', async t => {
  const { folder, file, database } = await make(t)
  // Killed while it made the new one ready.
  writeFileSync(`${database}.restoring`, 'half')
  writeFileSync(`${database}.restoring-wal`, 'half')
  new MasterFolder(folder).check()
  t.false(isPending(database))
  // Killed between putting aside the database and its log.
  writeFileSync(`${database}-wal`, 'commits of before')
  renameSync(database, join(folder, `${asidePrefix}1`))
  t.throws(() => new MasterFolder(folder).check(), {
    instanceOf: UsageError,
    message: /which is gone: restore it with/,
  })
  // Again: the log of before does not get into the new one.
  const { done, aside } = restoreFolder({ file, folder, now, force: false })
  t.true(done)
  t.is(readFileSync(`${aside ?? ''}-wal`, 'utf8'), 'commits of before')
  t.false(existsSync(`${database}-wal`))
  new MasterFolder(folder).check()
  t.true(isPending(database))
  t.deepEqual(
    readdirSync(folder).filter(name => name.includes('restoring')),
    [],
  )
  t.true(existsSync(file), 'the backup stays')
})

test('a backup with problems is restored only by force, a damaged one never', async t => {
  const { folder, file, database } = await make(t)
  const was = readFileSync(database)
  const db = openDatabase(file)
  db.exec('UPDATE inodes SET nlink = 9')
  db.close()
  const refused = restoreFolder({ file, folder, now, force: false })
  t.false(refused.done)
  t.true(refused.problems.some(line => /link count/.test(line)))
  t.true(readFileSync(database).equals(was))
  t.true(restoreFolder({ file, folder, now, force: true }).done)
  t.true(isPending(database))
  const bytes = readFileSync(file)
  writeFileSync(file, bytes.fill(0xee, 8192, 40_000))
  const before = readFileSync(database)
  try {
    t.false(restoreFolder({ file, folder, now, force: true }).done)
  } catch (thrown) {
    t.true(thrown instanceof UsageError)
  }
  t.true(readFileSync(database).equals(before))
})
