import test from 'ava'
import { must } from '#src/core/assert.ts'
import type { ReadTree } from '#src/wire/gen/cairn/v1/session.ts'
import { ChunkNode, EngineFixture, Mount, sha } from './engine-fixture.ts'
import { acquire, chmod, commit, create, getAttr, makeFile, plan, writeFile } from './engine-ops.ts'

const none = 0
const read = 1
const write = 2

/** Answers the recall of an inode as a mount does that has it open for writing, or not. */
function answer(mount: Mount, kept: 0 | 1 | 2, writing: boolean): void {
  const [recall] = mount.recalls()
  if (recall === undefined) throw new Error('nothing was recalled')
  const { id, ino } = recall
  mount.up({ $case: 'recallDone', value: { id, ino, kept, open: writing, writing } })
}

/** What an Acquire that has been answered brought. */
const granted = (mount: Mount, id: bigint): number | undefined => {
  const result = mount.answer(id)?.result
  return result?.$case === 'acquire' ? result.value.kind : undefined
}

test('who opens for writing what another has open for writing shares it: both may cache, nobody buffers', async t => {
  const fixture = await EngineFixture.make()
  const [a, b, c] = [new Mount(fixture), new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const first = b.send(acquire(ino, 'write'))
  t.like(a.recalls()[0], { ino, to: none, sharing: true, removing: false })
  a.up({ $case: 'recallDone', value: { id: 1n, ino, kept: read, open: true, writing: true } })
  t.is(granted(b, first), read)
  // A third one asks those who may be writing; one who says yes is enough, and nobody loses what it caches.
  const second = c.send(acquire(ino, 'write'))
  answer(a, read, true)
  t.is(granted(c, second), read)
  t.is(b.recalls().length, 1, 'asked at the same time')
  b.up({ $case: 'recallDone', value: { id: 3n, ino, kept: read, open: true, writing: true } })
  // Who has neither a lease nor the file open any more, as far as it knows, is asked as well.
  const again = a.send(acquire(ino, 'write'))
  t.is(a.answer(again), undefined)
  answer(b, none, false)
  t.is(a.answer(again), undefined, 'the other may be writing')
  answer(c, none, false)
  t.is(granted(a, again), write, 'sharing has ended')
})

test('a write lease that was lowered may still be open for writing, which a restarted master is told', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const looking = b.send(getAttr(ino))
  answer(a, read, true)
  t.truthy(b.answer(looking))
  // Recalled by a plain change, it has nothing, but is writing.
  const changing = b.send(acquire(ino, 'write'))
  answer(a, none, true)
  t.is(granted(b, changing), read)
})

test('an append goes where the file ends when it is executed', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const a = new Mount(fixture)
  const ino = makeFile(a, 'f')
  const stored = (text: string, length: number) => {
    const id = sha(text)
    const targets = a.call(plan(ino, id, length), 'plan').blocks[0]?.targets ?? []
    const receipts = targets.map(target => {
      const node = nodes.find(other => other.node === target.node)
      if (node === undefined) throw new Error('unknown target')
      return node.put(target, id, length)
    })
    return { key: 0n, id, length, receipts }
  }
  t.is(a.call(commit(ino, stored('one', 100), { append: true }), 'commit').attr?.size, 100n)
  t.is(a.call(commit(ino, stored('two', 50), { append: true }), 'commit').attr?.size, 150n)
  t.is(a.call(commit(ino, stored('three', 120)), 'commit').attr?.size, 150n, 'this one is at the start')
  t.is(a.call(commit(ino, stored('four', 7), { append: true }), 'commit').attr?.size, 157n)
  const { extents } = a.call(
    { $case: 'getExtents', value: { ino, offset: 0n, length: 1000n, limit: 10 } },
    'extents',
  )
  t.deepEqual(
    extents.map(({ offset, length }) => [offset, length]),
    [
      [0n, 120n],
      [120n, 30n],
      [150n, 7n],
    ],
  )
})

test('extents of many files are told without a wait, of those that nobody else may be changing', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(host => new ChunkNode(fixture, host))
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const [kept, stored, large] = ['kept', 'stored', 'large'].map(text => makeFile(a, text))
  if (kept === undefined || stored === undefined || large === undefined) return t.fail()
  writeFile(a, nodes, stored, 'text')
  const grown = chmod(large, 0o644)
  if (grown.$case !== 'setAttr') return t.fail()
  a.call({ ...grown, value: { ...grown.value, size: 100_000n } }, 'attr')
  for (const ino of [stored, large]) a.up({ $case: 'release', value: { inos: [ino] } })
  const inos = [kept, stored, large, 1n, 999n]
  const call = b.send({ $case: 'getExtentsOf', value: { inos } })
  const reply = b.answer(call)
  const files = reply?.result?.$case === 'extentsOf' ? reply.result.value.files : []
  // Neither the one that may be changing, nor a large one, a directory, nor one that is not there.
  t.deepEqual(
    files.map(({ ino }) => ino),
    [stored],
  )
  t.is(files[0]?.extents?.blocks[0]?.length, 1000)
  t.is(files[0]?.extents?.end, 1000n)
  t.deepEqual(
    reply?.leases.map(({ ino, kind }) => [ino, kind]),
    [[stored, read]],
  )
  t.deepEqual(a.recalls(), [], 'nobody was asked')
  const many = { $case: 'getExtentsOf' as const, value: { inos: Array.from({ length: 65 }, () => stored) } }
  t.like(b.answer(b.send(many))?.result, { $case: 'error' })
})

test('trees are told without a wait, depth first, of directories that nobody else may be changing', async t => {
  const fixture = await EngineFixture.make()
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const made = (text: string, parent = 1n, mode = 0o040755): bigint =>
    a.call(create(text, { parent, mode }), 'entry').attr?.ino ?? 0n
  const [first, second, third] = ['d1', 'd2', 'd3'].map(text => made(text))
  if (first === undefined || second === undefined || third === undefined) return t.fail()
  const [inner, deep] = [made('inner', first), made('other', second)]
  const file = made('f', first, 0o100644)
  a.up({ $case: 'release', value: { inos: [first, second, inner, deep] } })
  const ask = (value: Partial<ReadTree>) => {
    const whole = {
      inos: [first, second, third, file, 999n],
      limit: 0,
      below: true,
      removing: false,
      ...value,
    }
    return b.answer(b.send({ $case: 'readTree', value: whole }))
  }
  const reply = ask({})
  const told = (of: typeof reply) =>
    of?.result?.$case === 'readTree' ? of.result.value.directories.map(({ ino }) => ino) : []
  // Neither the one that may be changing, a file, nor one that is not there.
  t.deepEqual(told(reply), [first, inner, second, deep])
  const entries = reply?.result?.$case === 'readTree' ? reply.result.value.directories[0]?.entries : []
  t.deepEqual(
    entries?.map(({ ino, attr }) => [ino, attr?.ino]),
    [
      [inner, inner],
      [file, undefined],
    ],
    'attributes that another mount may be changing are left out',
  )
  t.deepEqual(new Set(reply?.leases.map(({ ino }) => ino)), new Set([first, inner, second, deep]))
  t.true(reply?.leases.every(({ kind }) => kind === read))
  t.deepEqual(a.recalls(), [], 'nobody was asked')
  t.deepEqual(told(ask({ limit: 3 })), [first, inner, second])
  t.deepEqual(told(ask({ below: false })), [first, second])
  t.like(ask({ inos: Array.from({ length: 257 }, () => first) })?.result, { $case: 'error' })
})

/** Two mounts that cache a file and have it open for writing. */
async function sharing(
  settings: Parameters<typeof EngineFixture.make>[0] = {},
): Promise<{ a: Mount; b: Mount; ino: bigint; fixture: EngineFixture }> {
  const fixture = await EngineFixture.make(settings)
  const [a, b] = [new Mount(fixture), new Mount(fixture)]
  const ino = makeFile(a, 'f')
  const opening = b.send(acquire(ino, 'write'))
  answer(a, read, true)
  b.answer(opening)
  return { a, b, ino, fixture }
}

/** A commit of nothing but a time: nothing need be stored for it. */
const touch = (ino: bigint, pages = false) =>
  commit(ino, { key: 0n, id: new Uint8Array(0), length: 0, receipts: [] }, { extents: [], blocks: [], pages })

test('what a recall is answered with waits for nobody; who made it can wait for the others', async t => {
  const { a, b, ino } = await sharing()
  const ofA = a.send(touch(ino))
  t.is(a.answer(ofA), undefined, 'the other caches')
  const ofB = b.send(touch(ino))
  t.is(b.answer(ofB), undefined, 'likewise')
  // Each waits for the other's answer to a recall, and B cannot answer before its commit is done.
  b.up({ $case: 'storing', value: { ino } })
  const early = b.answer(ofB)?.result
  t.like(early, { $case: 'commit', value: { early: true } })
  const settling = b.send({ $case: 'settle', value: { ino } })
  answer(b, none, true)
  t.is(a.answer(ofA)?.result?.$case, 'commit')
  t.is(b.answer(settling), undefined, 'A has yet to forget what was there')
  answer(a, none, true)
  t.is(b.answer(settling)?.result?.$case, 'done')
  t.deepEqual(b.reply(touch(ino)).result?.$case === 'commit', true)
})

test('nobody is told of a storing that was not asked for', async t => {
  const { a, ino } = await sharing()
  a.up({ $case: 'storing', value: { ino } })
  const id = a.send(touch(ino))
  t.is(a.answer(id), undefined)
})

test('who keeps pages of what it writes gets a lease for them, though others wait', async t => {
  const { a, b, ino, fixture } = await sharing()
  const c = new Mount(fixture)
  t.truthy(c.call(getAttr(ino), 'attr').attr)
  // B waits for C, and for A.
  const waiting = b.send(touch(ino))
  answer(a, none, true)
  t.is(b.answer(waiting), undefined)
  // A's page would be covered by nothing when B's turn has come.
  const id = a.send(touch(ino, true))
  t.is(a.answer(id), undefined)
  answer(c, none, false)
  t.truthy(b.answer(waiting) ?? a.answer(id))
})

test('who cannot answer a recall because its own write waits for a dead mount is not evicted with that', async t => {
  const { a, b, ino, fixture } = await sharing({ leaseMs: 4000, leaseMarginMs: 100 })
  const dead = new Mount(fixture)
  t.truthy(dead.call(getAttr(ino), 'attr').attr)
  // A's kernel has the page locked until the write is answered.
  const writing = a.send(touch(ino, true))
  answer(b, none, true)
  const change = b.send(touch(ino))
  const recall = must(a.recalls()[0], 'recall of A')
  fixture.pass(5000, a, b)
  t.like(a.answer(writing)?.result, { $case: 'commit' })
  a.up({ $case: 'recallDone', value: { id: recall.id, ino, kept: none, open: true, writing: true } })
  t.like(b.answer(change)?.result, { $case: 'commit' })
  // Who just does not answer, is.
  const again = a.send(touch(ino, true))
  t.is(a.answer(again), undefined)
  fixture.pass(5000, a, b)
  fixture.pass(4500, a)
  t.like(a.answer(again)?.result, { $case: 'commit' })
  t.is(b.answer(b.send(getAttr(ino))), undefined)
})

test('a read that holds pages is answered while its mount is recalled, an open is not', async t => {
  const { a, b, ino } = await sharing()
  const change = b.send(touch(ino))
  const opening = a.send(acquire(ino, 'write'))
  t.is(a.answer(opening), undefined)
  const reading = a.send(acquire(ino, 'read'))
  t.is(granted(a, reading), read, 'what it still has')
  answer(a, none, true)
  t.truthy(b.answer(change))
  answer(b, read, true)
  t.is(granted(a, opening), read)
})
