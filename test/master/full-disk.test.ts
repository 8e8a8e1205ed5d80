import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import Database from 'better-sqlite3'
import { createChecksums } from '#src/core/checksum.ts'
import { errno, FsError } from '#src/core/errors.ts'
import type { EngineInput } from '#src/master/engine/io.ts'
import { engineHandler } from '#src/master/rpc/open-engine.ts'
import { Store } from '#src/master/store/store.ts'
import { StatusRequest } from '#src/wire/gen/cairn/v1/admin.ts'
import { SessionDown, SessionUp } from '#src/wire/gen/cairn/v1/session.ts'
import { EngineFixture, Mount } from './engine-fixture.ts'
import { create, getAttr, lookup, makeFile, unlink } from './engine-ops.ts'

test('a full disk refuses what needs room, lets go of what is removed, and takes changes again', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  fixture.diskFull = true
  const id = mount.send(create('g'))
  t.like(mount.answer(id)?.result, { $case: 'error', value: { errno: errno.ENOSPC } })
  t.is(mount.errno({ $case: 'reserveSpace', value: { bytes: 1000n } }), errno.ENOSPC)
  mount.call(getAttr(ino), 'attr')
  mount.call(unlink('f'), 'remove')
  fixture.diskFull = false
  mount.send(create('g'), id)
  t.is(mount.answer(id)?.result?.$case, 'entry', 'a refusal that got lost is no outcome')
  t.truthy(mount.call(lookup('g'), 'entry').attr)
})

const rooms = (mount: Mount): boolean[] =>
  mount.items.flatMap(item => (item.$case === 'room' ? [item.value.full] : []))

test('mounts hear that the disk is full; what they had promised by then finds its room, until only what removes does', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  const removed = makeFile(mount, 'f')
  const inos = mount.call({ $case: 'reserveInos', value: { count: 10 } }, 'reserveInos')
  const promised = (text: string, ino: bigint) => {
    const op = create(text)
    const id = mount.send({ ...op, value: { ...op.value, ino } } as typeof op, undefined, true)
    return mount.answer(id)?.result
  }
  t.deepEqual(rooms(mount), [])
  fixture.diskFull = true
  t.is(promised('first', inos.first)?.$case, 'entry')
  t.deepEqual(rooms(mount), [true])
  t.is(mount.errno(create('asked')), errno.ENOSPC)
  const welcome = mount.reattach()
  t.like(welcome, { $case: 'welcome', value: { full: true } })
  t.is(promised('second', inos.first + 1n)?.$case, 'entry')
  fixture.diskSpent = true
  t.like(promised('third', inos.first + 2n), { $case: 'error', value: { errno: errno.ENOSPC } })
  mount.call(unlink('f'), 'remove')
  t.is(mount.errno(getAttr(removed)), errno.ESTALE)
  fixture.diskFull = false
  fixture.diskSpent = false
  t.is(promised('third', inos.first + 2n)?.$case, 'entry')
  t.is(rooms(mount).at(-1), false)
  t.is(mount.call(lookup('asked'), 'entry').attr, undefined)
})

test('where the disk is full to the last byte the step is undone, and the next begins as after a restart', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-full-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'master.db')
  const format = { cluster: Buffer.alloc(16, 7), blockBytes: 65536, copies: 1, minCopies: 1, created: 1n }
  const first = Store.format(new Database(file), format)
  const pages = Number(first.db.pragma('page_count', { simple: true }))
  first.db.pragma(`max_page_count = ${pages + 3}`)
  const handler = engineHandler(first, 'test', await createChecksums(), {
    reopen: () => Store.open(new Database(file)),
  })
  let now = 0
  const step = (...inputs: EngineInput[]) => {
    now += 1
    const clock = { kind: 'clock', now, wall: BigInt(now), random: Buffer.alloc(32), rssBytes: 0 } as const
    return handler.run([[{ ...clock, diskFull: false }, ...inputs]])[0] ?? []
  }
  const attach = (connection: number, key: { session: bigint; epoch: bigint; secret: Uint8Array }) => {
    const hello = {
      ...{ versionMin: 1, versionMax: 1, cluster: Buffer.alloc(0), host: 'h', mountpoint: '/', pid: 1 },
      ...{ program: '', zone: '', readOnly: false, export: '', clock: 0n, ...key },
    }
    const up = SessionUp.encode({ items: [{ item: { $case: 'hello', value: hello } }], acked: 0n }).finish()
    const outputs = step(
      { kind: 'opened', connection, of: 'session', peer: 'test' },
      { kind: 'frame', connection, bytes: up },
    )
    const frames = outputs.flatMap(output =>
      output.kind === 'frame' ? [SessionDown.decode(output.bytes)] : [],
    )
    const welcome = frames.flatMap(({ items }) => items).find(({ item }) => item?.$case === 'welcome')?.item
    return welcome?.$case === 'welcome' ? welcome.value : undefined
  }
  const session = attach(1, { session: 0n, epoch: 0n, secret: Buffer.alloc(0) })
  if (session === undefined) return void t.fail('not welcomed')
  const made: string[] = []
  const make = (connection: number, id: number) => {
    const name = `${'long'.repeat(50)}${id}`
    const items = [
      { item: { $case: 'call' as const, value: { id: BigInt(id), op: create(name), promised: false } } },
    ]
    step({ kind: 'frame', connection, bytes: SessionUp.encode({ items, acked: 0n }).finish() })
    made.push(name)
  }
  const error = t.throws(
    () => {
      for (let id = 1; id < 1000; id++) make(1, id)
    },
    { instanceOf: FsError },
  )
  t.is(error.code, 'ENOSPC')
  t.true(made.length > 0)
  // The old connection is unknown now: what still comes from it changes nothing.
  make(1, 2000)
  made.pop()
  t.like(attach(2, session), { session: session.session, reclaim: true })
  t.is(
    step({ kind: 'admin', call: 1, method: 'status', bytes: StatusRequest.encode({}).finish() })[0]?.kind,
    'answer',
  )
  handler.close()
  const store = Store.open(new Database(file))
  const names = store.db.prepare('SELECT count(*) FROM dirents').pluck().get()
  t.is(names, made.length)
  store.close()
})
