import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import test, { type ExecutionContext } from 'ava'
import { errno } from '#src/core/errors.ts'
import { restoreDatabase } from '#src/master/backup/restore-database.ts'
import { copyAndCheck } from '#src/master/backup/take-backup.ts'
import { fsck } from '#src/master/fsck/fsck.ts'
import { schemaVersion } from '#src/master/store/format.ts'
import { openDatabase } from '#src/master/store/open-database.ts'
import { Store } from '#src/master/store/store.ts'
import {
  ConfirmRestoreRequest,
  RestoreStatusReply,
  RestoreStatusRequest,
  StatusReply,
  StatusRequest,
} from '#src/wire/gen/cairn/v1/admin.ts'
import { ChunkNode, EngineFixture, Mount, sha } from './engine-fixture.ts'
import { commit, create, getAttr, makeFile, plan, unlink, writeFile } from './engine-ops.ts'

const minutes = 60_000
const none = new Uint8Array(0)

const folderOf = (t: ExecutionContext): ((name: string) => string) => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-restore-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return name => join(folder, name)
}

/** The master's disk is lost; another goes on with what `backup` was. Nobody is attached. */
function restore(t: ExecutionContext, fixture: EngineFixture, backup: Buffer): void {
  const file = folderOf(t)('master.db')
  writeFileSync(file, backup)
  const { problems } = restoreDatabase(file, fixture.wall)
  t.deepEqual(problems, [])
  fixture.replace(Store.open(openDatabase(file)))
}

const report = (fixture: EngineFixture): RestoreStatusReply =>
  RestoreStatusReply.decode(
    fixture.admin('restoreStatus', RestoreStatusRequest.encode({}).finish()).bytes ?? none,
  )

const confirm = (fixture: EngineFixture, anyway = false): string =>
  fixture.admin('confirmRestore', ConfirmRestoreRequest.encode({ anyway }).finish()).code ?? 'done'

const copiesOf = (nodes: readonly ChunkNode[], id: Buffer): number =>
  nodes.filter(node => node.blocks.has(id.toString('hex'))).length

test('what was written after the backup survives on the nodes until the restore is confirmed', async t => {
  // Removed blocks and strays go after a minute here.
  const fixture = await EngineFixture.make({ condemnedMs: 40_000, grantMs: 40_000, inventoryMs: 10_000 })
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  const kept = writeFile(mount, nodes, makeFile(mount, 'kept'), 'kept')
  const dropped = writeFile(mount, nodes, makeFile(mount, 'dropped'), 'dropped')
  for (const node of nodes) node.tell()
  fixture.pass(1000, mount, ...nodes)
  const backup = fixture.store.db.serialize()

  const later = writeFile(mount, nodes, makeFile(mount, 'later'), 'later')
  mount.call(unlink('dropped'), 'remove')
  for (const node of nodes) node.tell()
  fixture.pass(2 * minutes, mount, ...nodes)
  t.is(copiesOf(nodes, dropped), 0, 'it was deleted after the backup')
  const ids = (['ino', 'block', 'generation', 'session', 'node', 'cookie', 'order'] as const).map(
    kind => [kind, fixture.store.counters.peek(kind)] as const,
  )
  const incarnation = fixture.store.format.incarnation

  restore(t, fixture, backup)
  for (const [kind, next] of ids) t.true(fixture.store.counters.peek(kind) > next + 1000n, kind)
  t.true(fixture.store.format.incarnation > incarnation)
  t.deepEqual(fsck(fixture.store).problems, [])

  // Old sessions are refused for good; new ones begin.
  t.like(mount.reattach(), { $case: 'refused', value: { sessionDead: true } })
  const again = new Mount(fixture)
  for (const node of nodes) node.reattach()

  // Before a node was compared its rows are no reason to send nothing: that would lose what is written now.
  const unsure = again.call(plan(1n, kept, 1000), 'plan').blocks[0]
  t.true((unsure?.targets.length ?? 0) > 0, 'not compared yet')
  fixture.pass(20_000, again, ...nodes)
  t.deepEqual(report(fixture).unverified, [])
  t.true((again.call(plan(1n, kept, 1000), 'plan').blocks[0]?.key ?? 0n) > 0n, 'it is known to be there now')
  const missing = again.call(plan(1n, dropped, 1000), 'plan').blocks[0]
  t.is(missing?.key, 0n, 'it is known not to be')

  const seen = report(fixture)
  t.like(seen, { pending: true, confirmed: 0n, surplusBlocks: 1n, surplusBytes: 1000n, missingBlocks: 1n })
  t.deepEqual(
    seen.surplus.map(({ blocks }) => blocks),
    [1n, 1n, 1n],
  )
  t.deepEqual(
    seen.files.map(file => Buffer.from(file).toString()),
    ['/dropped'],
  )
  // Files of now come and go; nothing is removed from any node.
  const brief = writeFile(again, nodes, makeFile(again, 'brief'), 'brief')
  again.call(unlink('brief'), 'remove')
  fixture.pass(3 * minutes, again, ...nodes)
  for (const id of [kept, later, brief]) t.is(copiesOf(nodes, id), 3)
  const status = (): StatusReply =>
    StatusReply.decode(fixture.admin('status', StatusRequest.encode({}).finish()).bytes ?? none)
  t.like(status().restore, { pending: true, unverified: 0 })
  t.true(status().reasons.some(reason => /nothing is removed until cairn restore confirm/.test(reason)))

  // A restart changes nothing about that.
  fixture.restart()
  const third = new Mount(fixture)
  for (const node of nodes) node.reattach()
  fixture.pass(3 * minutes, third, ...nodes)
  t.is(copiesOf(nodes, later), 3)

  t.is(confirm(fixture), 'done')
  t.is(confirm(fixture), 'EINVAL', 'once')
  fixture.pass(2 * minutes, third, ...nodes)
  t.is(copiesOf(nodes, later), 0)
  t.is(copiesOf(nodes, brief), 0)
  t.is(copiesOf(nodes, kept), 3)
  t.false(report(fixture).pending)
  t.deepEqual(
    fsck(fixture.store).problems.filter(line => !/no node has it/.test(line)),
    [],
  )
})

test('a lost block that is written again is whole again', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  const id = writeFile(mount, nodes, ino, 'content')
  for (const node of nodes) node.tell()
  const backup = fixture.store.db.serialize()
  for (const node of nodes) node.forget(id)
  restore(t, fixture, backup)
  const again = new Mount(fixture)
  for (const node of nodes) node.reattach()
  fixture.pass(20_000, again, ...nodes)
  t.is(report(fixture).missingBlocks, 1n)
  writeFile(again, nodes, makeFile(again, 'g'), 'content')
  t.is(report(fixture).missingBlocks, 0n)
  t.is(fixture.store.blocks.owner(id)?.have, 3)
})

test('a node that joined after the backup keeps its id; confirming waits until every node has told all', async t => {
  const fixture = await EngineFixture.make({ grantMs: 40_000 }, { copies: 2, minCopies: 1 })
  const old = new ChunkNode(fixture, 'n1')
  const away = new ChunkNode(fixture, 'n2')
  const mount = new Mount(fixture)
  const backup = fixture.store.db.serialize()
  const joined = new ChunkNode(fixture, 'n3')
  away.lose()
  fixture.pass(100_000, mount, old, joined)
  const id = writeFile(mount, [old, joined], makeFile(mount, 'f'), 'later')
  joined.tell()
  t.true(joined.blocks.has(id.toString('hex')))
  const was = joined.node

  restore(t, fixture, backup)
  old.reattach()
  joined.reattach()
  t.is(joined.node, was)
  t.is(joined.closed, undefined)
  fixture.pass(20_000, old, joined)
  t.deepEqual(
    report(fixture).unverified.map(({ node }) => node),
    [away.node],
  )
  t.is(confirm(fixture), 'EBUSY')
  t.true(fixture.store.restores.pending !== undefined)
  t.is(confirm(fixture, true), 'done')
  // What is not known of it stays untouched, also when it comes back.
  const stranger = sha('stranger')
  away.blocks.set(stranger.toString('hex'), { generation: 1n, length: 7 })
  away.obedient = false
  away.reattach()
  fixture.pass(5 * minutes, old, joined, away)
  t.true(away.blocks.has(stranger.toString('hex')))
  // An id that nobody can have had is refused as ever.
  const forger = new ChunkNode(fixture, 'n9')
  forger.node = 1n << 40n
  forger.reattach()
  t.like(forger.items[0], { $case: 'refused' })
})

test('a database that was put back by hand is noticed, and then as good as restored', async t => {
  const fixture = await EngineFixture.make({ condemnedMs: 40_000, grantMs: 40_000 })
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  writeFile(mount, nodes, makeFile(mount, 'kept'), 'kept')
  for (const node of nodes) node.tell()
  const old = fixture.store.db.serialize()
  // Nothing that nodes were told is lost by this: no alarm.
  fixture.replace(Store.open(new Database(old)))
  for (const node of nodes) node.reattach()
  const second = new Mount(fixture)
  fixture.pass(40_000, second, ...nodes)
  t.is(fixture.store.restores.pending, undefined)
  const later = writeFile(second, nodes, makeFile(second, 'later'), 'later')
  for (const node of nodes) node.tell()
  const generations = fixture.store.counters.peek('generation')

  fixture.replace(Store.open(new Database(old)))
  for (const node of nodes) node.reattach()
  t.like(fixture.store.restores.pending, { byHand: true })
  t.true(fixture.store.counters.peek('generation') > generations)
  t.true(fixture.logs.some(line => line.startsWith('error the database is older than what')))
  fixture.pass(3 * minutes, ...nodes)
  t.is(copiesOf(nodes, later), 3)
  t.like(report(fixture), {
    pending: true,
    byHand: true,
    unverified: [],
    surplusBlocks: 1n,
    missingBlocks: 0n,
  })
  t.is(confirm(fixture), 'done')
  fixture.pass(2 * minutes, ...nodes)
  t.is(copiesOf(nodes, later), 0)
})

test('a second restore from the same backup issues nothing that the first one did', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const backup = fixture.store.db.serialize()
  restore(t, fixture, backup)
  for (const node of nodes) node.reattach()
  const joined = new ChunkNode(fixture, 'n4')
  const mount = new Mount(fixture)
  fixture.pass(20_000, mount, joined, ...nodes)
  writeFile(mount, [...nodes, joined], makeFile(mount, 'f'), 'content')
  const kinds = ['ino', 'block', 'generation', 'session', 'node', 'cookie', 'order'] as const
  const issued = kinds.map(kind => [kind, fixture.store.counters.peek(kind)] as const)
  restore(t, fixture, backup)
  for (const [kind, next] of issued) t.true(fixture.store.counters.peek(kind) > next, kind)
  const was = joined.node
  joined.reattach()
  t.is(joined.node, was)
  t.not(new ChunkNode(fixture, 'n5').node, was)
})

test('open removed files are let go, and time does not go back', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  const id = writeFile(mount, nodes, ino, 'content')
  mount.call(unlink('f', { open: true }), 'remove')
  const made = makeFile(mount, 'g')
  const { time } = must(mount.call(getAttr(made), 'attr').attr)
  const backup = fixture.store.db.serialize()
  fixture.wallOffset = -100n * 1_000_000_000n * 3600n
  restore(t, fixture, backup)
  t.is(fixture.store.inodes.find(ino), undefined)
  t.is(fixture.store.blocks.owner(id)?.refs, 0, 'condemned, not deleted')
  const again = new Mount(fixture)
  t.true(must(again.call(create('h'), 'entry').attr).ctime >= time)
})

const must = (attr: { readonly ctime: bigint; readonly ino: bigint } | undefined) => {
  if (attr === undefined) throw new Error('no attributes')
  return { ...attr, time: attr.ctime }
}

test('an unanswered command of before is not executed by another session', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const mount = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  const id = sha('x')
  const targets = mount.call(plan(ino, id, 10), 'plan').blocks[0]?.targets ?? []
  const receipts = targets.flatMap(target =>
    nodes.filter(node => node.node === target.node).map(node => node.put(target, id, 10)),
  )
  restore(t, fixture, fixture.store.db.serialize())
  for (const node of nodes) node.reattach()
  const again = new Mount(fixture)
  const { again: refused } = again.call(commit(ino, { key: 0n, id, length: 10, receipts }), 'commit')
  t.is(refused.length, 1, 'receipts of an ended session prove nothing')
  t.is(again.errno(getAttr(1n << 50n)), errno.ESTALE)
})

test('a backup is of one moment while the database goes on, and a master does not start on it', async t => {
  const path = folderOf(t)
  const database = path('master.db')
  const format = { cluster: Buffer.alloc(16, 7), blockBytes: 65536, copies: 1, minCopies: 1, created: 1n }
  using store = Store.format(openDatabase(database), format)
  store.transaction(() => store.format.beginIncarnation())
  const under = copyAndCheck(database, path('copy'), { taken: 5_000n, program: 'test' })
  store.transaction(() => store.format.beginIncarnation())
  const checked = await under
  t.like(checked, { problems: [], version: schemaVersion, inodes: 1n })
  t.deepEqual(checked.cluster, format.cluster)
  t.throws(() => Store.open(openDatabase(path('copy'))), {
    message: /is a backup.*cairn restore FILE --data DIR/,
  })
  const restored = restoreDatabase(path('copy'), 10_000_000_000n)
  t.like(restored, { problems: [], damaged: false, inodes: 1n })
  t.like(restored.facts, { taken: 5_000n, program: 'test', version: schemaVersion })
  using again = Store.open(openDatabase(path('copy')))
  t.like(again.restores.pending, { taken: 5_000n, confirmed: 0n })
})
