import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import Database from 'better-sqlite3'
import { Store } from '#src/master/store/store.ts'
import { cairnFails } from '../support/cluster.ts'

/** `cairn fsck --repair` on what no repair may go on with: it says so, and leaves every byte as it was. */
const pageBytes = 4096
const format = { cluster: Buffer.alloc(16, 7), blockBytes: 65536, copies: 1, minCopies: 1, created: 1n }

interface Killed {
  readonly folder: string
  readonly database: Buffer
  readonly wal: Buffer
  /** Root page of the table of names, from 1 on. */
  readonly names: number
}

/** The folder of a master that was killed after ten commits, with something to repair. */
function killed(t: ExecutionContext): Killed {
  const top = mkdtempSync(path.join(tmpdir(), 'cairn-repair-damaged-'))
  t.teardown(() => rmSync(top, { recursive: true, force: true }))
  const [file, folder] = [path.join(top, 'live.db'), path.join(top, 'master')]
  mkdirSync(folder)
  using store = Store.format(new Database(file), format)
  store.db.exec('UPDATE inodes SET nlink = 5')
  store.db.pragma('wal_checkpoint(TRUNCATE)')
  for (let n = 0; n < 10; n++) store.transaction(() => store.format.beginIncarnation())
  const names = Number(
    store.db.prepare("SELECT rootpage FROM sqlite_master WHERE name = 'dirents'").pluck().get(),
  )
  return { folder, database: readFileSync(file), wal: readFileSync(`${file}-wal`), names }
}

function put({ folder }: Killed, database: Buffer, wal: Buffer): void {
  for (const name of readdirSync(folder)) rmSync(path.join(folder, name), { recursive: true })
  writeFileSync(path.join(folder, 'master.db'), database)
  writeFileSync(path.join(folder, 'master.db-wal'), wal)
}

const flip = (bytes: Buffer, at: number): Buffer => {
  const flipped = Buffer.from(bytes)
  flipped[at] = (flipped[at] ?? 0) ^ 1
  return flipped
}

async function refuses(t: ExecutionContext, state: Killed, database: Buffer, wal: Buffer, says: RegExp) {
  put(state, database, wal)
  for (const more of [[], ['--yes'], ['--json'], ['--yes', '--json']]) {
    const { code, stdout, stderr } = await cairnFails(['fsck', '--repair', state.folder, ...more])
    t.is(code, 1, stderr)
    t.is(stderr, '')
    if (more.includes('--json')) {
      const said = JSON.parse(stdout) as { damaged: string; repaired: boolean; actions: string[] }
      t.regex(said.damaged, says)
      t.false(said.repaired)
      t.deepEqual(said.actions, [])
    } else {
      t.regex(stdout, says)
      t.is(stdout.trim().split('\n').length, 1, stdout)
      t.regex(stdout, /restore it with cairn restore FILE --data .*Nothing was changed/)
    }
    t.true(readFileSync(path.join(state.folder, 'master.db')).equals(database), 'the database')
    t.true(readFileSync(path.join(state.folder, 'master.db-wal')).equals(wal), 'its log')
    t.false(readdirSync(state.folder).some(name => name.includes('before-repair')))
  }
}

test('a log in which commits would be lost is not repaired over', async t => {
  const state = killed(t)
  await refuses(
    t,
    state,
    state.database,
    flip(state.wal, 100),
    /^The master database is damaged \(its write-ahead log: at least \d+ commits would be lost\)/,
  )
})

test('damaged pages are not repaired, nor is the log moved into them', async t => {
  const state = killed(t)
  const spoiled = Buffer.from(state.database)
  spoiled.fill(0xee, (state.names - 1) * pageBytes, state.names * pageBytes)
  await refuses(t, state, spoiled, state.wal, /^The master database is damaged \(its pages: /)
})

test('what a kill leaves is repaired, with all that was committed', async t => {
  const state = killed(t)
  put(state, state.database, state.wal)
  const { code, stdout } = await cairnFails(['fsck', '--repair', state.folder, '--yes'])
  t.is(code, 0, stdout)
  t.regex(stdout, /^did count 2 links of directory 1$/m)
  using store = Store.open(new Database(path.join(state.folder, 'master.db')))
  t.is(store.format.incarnation, 10n)
})
