import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import Database from 'better-sqlite3'
import { createChecksums } from '#src/core/checksum.ts'
import { UsageError } from '#src/core/errors.ts'
import type { EngineInput } from '#src/master/engine/io.ts'
import { engineHandler } from '#src/master/rpc/open-engine.ts'
import { Store } from '#src/master/store/store.ts'
import { type Call, SessionUp } from '#src/wire/gen/cairn/v1/session.ts'
import { create, lookup } from './engine-ops.ts'

const format = { cluster: Buffer.alloc(16, 7), blockBytes: 65536, copies: 1, minCopies: 1, created: 1n }

/** All but the first page, which says whose database it is. */
function spoil(file: string): void {
  const fd = openSync(file, 'r+')
  const { size } = fstatSync(fd)
  writeSync(fd, Buffer.alloc(size - 4096, 0xa5), 0, size - 4096, 4096)
  closeSync(fd)
}

test('a database that turns out to be damaged ends the engine with one clear line, whatever was asked', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-damaged-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'master.db')
  const store = Store.format(new Database(file), format)
  const handler = engineHandler(store, 'test', await createChecksums())
  t.teardown(() => handler.close())
  let now = 0
  const step = (...inputs: EngineInput[]) => {
    now += 1
    const clock = { kind: 'clock', now, wall: BigInt(now), random: Buffer.alloc(32), rssBytes: 0 } as const
    return handler.run([[{ ...clock, diskFull: false }, ...inputs]])[0] ?? []
  }
  const hello = {
    ...{ versionMin: 1, versionMax: 1, cluster: Buffer.alloc(0), host: 'h', mountpoint: '/', pid: 1 },
    ...{
      program: '',
      zone: '',
      readOnly: false,
      export: '',
      clock: 0n,
      session: 0n,
      epoch: 0n,
      secret: Buffer.alloc(0),
    },
  }
  const up = SessionUp.encode({ items: [{ item: { $case: 'hello', value: hello } }], acked: 0n }).finish()
  step(
    { kind: 'opened', connection: 1, of: 'session', peer: 'test' },
    { kind: 'frame', connection: 1, bytes: up },
  )
  const call = (id: bigint, op: Call['op']) => {
    const items = [{ item: { $case: 'call' as const, value: { id, op, promised: false } } }]
    return step({ kind: 'frame', connection: 1, bytes: SessionUp.encode({ items, acked: 0n }).finish() })
  }
  for (let id = 1n; id < 50n; id++) call(id, create(`${'long'.repeat(50)}${id}`))
  store.db.pragma('wal_checkpoint(TRUNCATE)')
  for (const op of [lookup('long'), create('new')]) {
    spoil(file)
    store.db.pragma('shrink_memory')
    t.throws(() => call(op.$case === 'lookup' ? 100n : 101n, op), {
      instanceOf: UsageError,
      message: /^The master database is damaged \(.*malformed.*\): restore it from a backup$/,
    })
  }
})

test('an index that does not say what its table says is noticed when the database is opened', t => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-damaged-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'master.db')
  const db = new Database(file)
  const store = Store.format(db, format)
  const add = db.prepare('INSERT INTO dirents (parent, name, ino, type, cookie) VALUES (1, ?, ?, 0, ?)')
  for (let id = 1; id <= 20; id++) add.run(Buffer.from(`name-${String(id)}`), 1000 + id, 1000 + id)
  const page = db
    .prepare("SELECT rootpage FROM sqlite_master WHERE name = 'dirents_in_order'")
    .pluck()
    .get() as number
  const bytes = db.pragma('page_size', { simple: true }) as number
  db.pragma('wal_checkpoint(TRUNCATE)')
  store.close()
  Store.open(new Database(file)).close()
  // The end of the row that was put in first.
  const fd = openSync(file, 'r+')
  const last = Buffer.alloc(1)
  readSync(fd, last, 0, 1, page * bytes - 1)
  writeSync(fd, Buffer.from([(last[0] ?? 0) ^ 1]), 0, 1, page * bytes - 1)
  closeSync(fd)
  t.throws(() => Store.open(new Database(file)), {
    instanceOf: UsageError,
    message:
      /^The master database is damaged \(.*dirents_in_order.*\): repair it with cairn fsck --repair DIR, or restore it from a backup$/,
  })
})
