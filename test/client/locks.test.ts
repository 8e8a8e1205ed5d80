import test from 'ava'
import type { SessionPort } from '#src/client/files/context.ts'
import { lockEndMax, Locks } from '#src/client/locks/locks.ts'
import { FsError } from '#src/core/errors.ts'
import { ino } from '#src/core/ids.ts'
import type { LockChange } from '#src/core/lock-ranges.ts'
import type { SetLock } from '#src/wire/gen/cairn/v1/session.ts'

const file = ino(7n)
const posix = { owner: 1n, flock: false }
const flock = { owner: 2n, flock: true }
const range = (kind: LockChange['kind'], start: number, end: number): LockChange => ({
  kind,
  start: BigInt(start),
  end: BigInt(end),
  pid: 1,
})
const all = (kind: LockChange['kind']): LockChange => ({ kind, start: 0n, end: lockEndMax, pid: 1 })
const kinds = ['unlock', 'read', 'write']

/** A session whose calls are answered by the test. */
class Scripted {
  readonly asked: string[] = []
  readonly #answers: ((error?: FsError) => void)[] = []
  incarnation = 1

  readonly port = {
    call: (op: { value: SetLock }) => {
      const { lock } = op.value
      this.asked.push(`${kinds[lock?.kind ?? 0] ?? ''} ${String(lock?.start)}-${String(lock?.end)}`)
      return new Promise((resolve, reject) => {
        this.#answers.push(error => {
          if (error === undefined) resolve({})
          else reject(error)
        })
      })
    },
  } as unknown as SessionPort

  constructor() {
    Object.defineProperty(this.port, 'incarnation', { get: () => this.incarnation })
  }

  async answer(error?: FsError): Promise<void> {
    this.#answers.shift()?.(error)
    await new Promise(resolve => setImmediate(resolve))
  }
}

const told = (locks: Locks): string[] =>
  [...locks.all()].map(({ range: { kind, start, end } }) => `${kind} ${String(start)}-${String(end)}`)

test('a restarted master is never told of more than it may have granted', async t => {
  const session = new Scripted()
  const locks = new Locks(session.port)
  const taking = locks.set(file, 1n, posix, range('write', 0, 9), true)
  t.deepEqual(told(locks), [])
  await session.answer()
  await taking
  t.deepEqual(told(locks), ['write 0-9'])

  // A downgrade and an unlock hold from the moment when they are sent.
  const lowering = locks.set(file, 1n, posix, range('read', 2, 3), true)
  t.deepEqual(told(locks), ['write 0-1', 'read 2-3', 'write 4-9'])
  await session.answer()
  await lowering
  const leaving = locks.set(file, 1n, posix, range('unlock', 0, 5), false)
  t.deepEqual(told(locks), ['write 6-9'])
  await session.answer()
  await leaving

  // What was refused is as it was.
  const refused = locks.set(file, 1n, posix, range('read', 8, 20), false)
  t.deepEqual(told(locks), ['write 6-7', 'read 8-9'])
  await session.answer(new FsError('EAGAIN'))
  await t.throwsAsync(refused, { message: /EAGAIN/ })
  t.deepEqual(told(locks), ['write 6-9'])
})

test('a flock that is to become another kind is given up first, as the master does', async t => {
  const session = new Scripted()
  const locks = new Locks(session.port)
  const taking = locks.set(file, 1n, flock, all('read'), true)
  await session.answer()
  await taking
  const raising = locks.set(file, 1n, flock, all('write'), true)
  t.deepEqual(told(locks), [])
  await session.answer(new FsError('EINTR'))
  await t.throwsAsync(raising)
  t.deepEqual(told(locks), [])
})

test('with the master away, an unlock is sent until it is taken, and a lock that failed is undone', async t => {
  const session = new Scripted()
  const locks = new Locks(session.port)
  const away = () => new FsError('ETIMEDOUT', 'away')
  const taking = locks.set(file, 1n, posix, range('read', 4, 5), true)
  await session.answer()
  await taking
  session.asked.length = 0

  const raising = locks.set(file, 1n, posix, range('write', 0, 9), true)
  await session.answer(away())
  await t.throwsAsync(raising)
  t.deepEqual(told(locks), ['read 4-5'])
  t.deepEqual(session.asked, ['write 0-9', 'unlock 0-3', 'read 4-5', 'unlock 6-9'])
  for (let n = 0; n < 3; n++) await session.answer()
  session.asked.length = 0

  const leaving = locks.set(file, 1n, posix, range('unlock', 4, 5), false)
  await session.answer(away())
  await leaving
  t.deepEqual(session.asked, ['unlock 4-5', 'unlock 4-5'])
  // The session has died: there is nothing to give up.
  session.incarnation = 2
  await session.answer(away())
  t.is(session.asked.length, 2)
})

test('whoever lost a lock with its session hears of it until it has given it up', async t => {
  const session = new Scripted()
  const locks = new Locks(session.port)
  for (const [handle, holder] of [
    [1n, posix],
    [2n, flock],
  ] as const) {
    const taking = locks.set(file, handle, holder, all('write'), true)
    await session.answer()
    await taking
  }
  locks.check(file, 1n)
  locks.lose()
  t.deepEqual(told(locks), [])
  for (const handle of [1n, 2n]) t.throws(() => locks.check(file, handle), { message: /EIO|lost/ })
  locks.check(file, 3n)
  await t.throwsAsync(locks.set(file, 1n, posix, range('read', 0, 0), true), { message: /lost/ })

  const leaving = locks.set(file, 1n, posix, all('unlock'), false)
  await session.answer()
  await leaving
  locks.check(file, 1n)
  await locks.closeHandle(file, 2n, flock.owner)
  locks.check(file, 2n)
  t.false(locks.holdsAny(file))
})
