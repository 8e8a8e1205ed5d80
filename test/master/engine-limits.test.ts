import test from 'ava'
import { errno } from '#src/core/errors.ts'
import { MiB } from '#src/core/units.ts'
import type { EngineInput } from '#src/master/engine/io.ts'
import { LeaseKind, LockKind, SessionDown, SessionUp } from '#src/wire/gen/cairn/v1/session.ts'
import { EngineFixture, Mount, type Op } from './engine-fixture.ts'
import { create, getAttr, makeFile, unlink } from './engine-ops.ts'

const lock = (ino: bigint, at: number, kind: LockKind = LockKind.LOCK_KIND_WRITE): Op => ({
  $case: 'setLock',
  value: {
    ino,
    wait: false,
    lock: { kind, flock: false, owner: 1n, start: BigInt(at), end: BigInt(at), pid: 1 },
  },
})

const refusal = (mount: Mount): number | undefined => {
  const item = mount.items.find(({ $case }) => $case === 'refused')
  return item?.$case === 'refused' ? item.value.error?.errno : undefined
}

test('an identity has so many mounts and no more, and others are not kept out by it', async t => {
  const fixture = await EngineFixture.make({ sessionsPerIdentity: 3 })
  fixture.identity = 'aa'.repeat(16)
  const mounts = [new Mount(fixture), new Mount(fixture), new Mount(fixture)]
  for (const mount of mounts) t.is(refusal(mount), undefined)
  t.is(refusal(new Mount(fixture)), errno.EMFILE)
  const [first] = mounts
  if (first === undefined) return t.fail()
  t.like(first.reattach(), { $case: 'welcome' }, 'one that is known comes back')
  fixture.identity = 'bb'.repeat(16)
  t.is(refusal(new Mount(fixture)), undefined)
  fixture.identity = 'aa'.repeat(16)
  first.up({ $case: 'goodbye', value: {} })
  t.is(refusal(new Mount(fixture)), undefined, 'there is room again')
})

test('a mount has so many locks and no more; what it gives back it may have again', async t => {
  const fixture = await EngineFixture.make({ locksPerSession: 4 })
  const mount = new Mount(fixture)
  const other = new Mount(fixture)
  const ino = makeFile(mount, 'f')
  for (let at = 0; at < 8; at += 2) t.deepEqual(mount.call(lock(ino, at), 'done'), {})
  t.is(mount.errno(lock(ino, 8)), errno.ENOLCK)
  t.deepEqual(other.call(lock(ino, 10), 'done'), {})
  t.deepEqual(mount.call(lock(ino, 0, LockKind.LOCK_KIND_UNLOCK), 'done'), {})
  fixture.pass(2000, mount, other)
  t.deepEqual(mount.call(lock(ino, 8), 'done'), {})
  t.is(mount.errno(lock(ino, 12)), errno.ENOLCK)
})

test('a step ends when there is much to answer, and the rest is left for the next one', async t => {
  const fixture = await EngineFixture.make()
  const mount = new Mount(fixture)
  for (let count = 0; count < 600; count++) makeFile(mount, `${'a long name of a file '.repeat(10)} ${count}`)
  const ask = (id: bigint): EngineInput => ({
    kind: 'frame',
    connection: mount.connection,
    bytes: SessionUp.encode({
      items: [
        {
          item: {
            $case: 'call',
            value: {
              id,
              promised: false,
              op: { $case: 'readDir', value: { ino: 1n, after: 0n, limit: 0, attrs: true, removing: false } },
            },
          },
        },
      ],
      acked: 0n,
    }).finish(),
  })
  const inputs = Array.from({ length: 200 }, (_, id) => ask(10_000n + BigInt(id)))
  let steps = 0
  const answered: bigint[] = []
  for (let rest = inputs; rest.length > 0; steps++) {
    const outputs = fixture.engine.step(rest)
    const state = outputs.find(output => output.kind === 'state')
    const frames = outputs.flatMap(output => (output.kind === 'frame' ? [output.bytes] : []))
    t.true(frames.reduce((sum, { length }) => sum + length, 0) < 5 * MiB)
    for (const bytes of frames)
      for (const { item } of SessionDown.decode(bytes).items)
        if (item?.$case === 'reply') answered.push(item.value.id)
    const left = state?.kind === 'state' ? state.left : 0
    t.true(left < rest.length, 'each step does something')
    rest = left === 0 ? [] : rest.slice(-left)
  }
  t.true(steps > 5)
  t.deepEqual(
    answered,
    inputs.map((_, id) => 10_000n + BigInt(id)),
  )
})

const openFile = (mount: Mount, text: string): bigint => {
  const ino = makeFile(mount, text)
  mount.call({ $case: 'acquire', value: { ino, kind: LeaseKind.LEASE_KIND_WRITE, open: true } }, 'acquire')
  return ino
}
const temporary = create('', { tmpfile: true })

test('an identity holds so many removed files open, over all its mounts; others can remove what it has open', async t => {
  const fixture = await EngineFixture.make({ orphansPerIdentity: 4 })
  fixture.identity = 'aa'.repeat(16)
  const [one, two] = [new Mount(fixture), new Mount(fixture)]
  const last = openFile(one, 'last')
  const names = ['a', 'b', 'c']
  const held = names.map(text => openFile(one, text))
  for (const text of names) t.true(one.call(unlink(text, { open: true }), 'remove').orphaned)
  two.call(temporary, 'entry')
  t.is(two.errno(temporary), errno.EDQUOT)
  t.is(one.errno(unlink('last', { open: true })), errno.EDQUOT)
  t.is(one.call(getAttr(last), 'attr').attr?.nlink, 1, 'it is as it was')

  fixture.identity = 'bb'.repeat(16)
  const other = new Mount(fixture)
  other.call(temporary, 'entry')
  const id = other.send(unlink('last'))
  for (let round = 0; round < 3; round++) one.yieldAll(true)
  const { result } = other.answer(id) ?? {}
  t.true(result?.$case === 'remove' && !result.value.orphaned)
  t.is(one.errno(getAttr(last)), errno.ESTALE, 'who holds too many loses it')

  one.call({ $case: 'closeOrphan', value: { ino: held[0] ?? 0n, unsent: false } }, 'done')
  two.call(temporary, 'entry')
})

test('the mounts of an identity have so many locks together', async t => {
  const fixture = await EngineFixture.make({ locksPerSession: 4, locksPerIdentity: 6 })
  fixture.identity = 'aa'.repeat(16)
  const [one, two] = [new Mount(fixture), new Mount(fixture)]
  fixture.identity = 'bb'.repeat(16)
  const other = new Mount(fixture)
  const ino = makeFile(other, 'f')
  for (let at = 0; at < 8; at += 2) t.deepEqual(one.call(lock(ino, at), 'done'), {})
  for (let at = 20; at < 24; at += 2) t.deepEqual(two.call(lock(ino, at), 'done'), {})
  t.is(two.errno(lock(ino, 30)), errno.ENOLCK)
  t.deepEqual(other.call(lock(ino, 40), 'done'), {})
  t.deepEqual(one.call(lock(ino, 0, LockKind.LOCK_KIND_UNLOCK), 'done'), {})
  fixture.pass(2000, one, two, other)
  t.deepEqual(two.call(lock(ino, 30), 'done'), {})
  t.is(two.errno(lock(ino, 32)), errno.ENOLCK)
})

test('the mounts of an identity have so many files open together: beyond, the oldest are asked for', async t => {
  const fixture = await EngineFixture.make({ leasesPerIdentity: 20 })
  fixture.identity = 'aa'.repeat(16)
  const mounts = [new Mount(fixture), new Mount(fixture)]
  fixture.identity = 'bb'.repeat(16)
  const other = new Mount(fixture)
  const all = [...mounts, other]
  for (const [index, mount] of all.entries())
    for (let count = 0; count < 15; count++) {
      // The root goes from one to the other.
      const id = mount.send(create(`${index} ${count}`))
      for (const each of all) if (each !== mount) each.yieldAll()
      const { result } = mount.answer(id) ?? {}
      t.is(result?.$case, 'entry')
    }
  fixture.pass(500, ...mounts, other)
  for (const mount of mounts) t.is(mount.recalls().filter(({ ino }) => ino !== 1n).length >= 4, true)
  t.deepEqual(other.recalls(), [])
})
