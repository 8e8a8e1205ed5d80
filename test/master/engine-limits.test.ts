import test from 'ava'
import { errno } from '#src/core/errors.ts'
import { LockKind } from '#src/wire/gen/cairn/v1/session.ts'
import { EngineFixture, Mount, type Op } from './engine-fixture.ts'
import { makeFile } from './engine-ops.ts'

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
