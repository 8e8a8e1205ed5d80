import test from 'ava'
import { Permits } from '#src/chunkserver/rpc/permits.ts'
import { UserActivity } from '#src/chunkserver/rpc/user-activity.ts'

/** Tasks that end when they are told to, in the order in which they began. */
class Tasks {
  readonly #ends: (() => void)[] = []
  begun = 0

  readonly run = (): Promise<void> => {
    this.begun++
    return new Promise(resolve => this.#ends.push(resolve))
  }

  async end(): Promise<void> {
    this.#ends.shift()?.()
    await new Promise(resolve => setImmediate(resolve))
  }
}

test('so many tasks run at once; a bound that falls or rises counts when one ends', async t => {
  let most = 3
  const permits = new Permits(() => most)
  const tasks = new Tasks()
  const all = Array.from({ length: 9 }, () => permits.run(tasks.run))
  t.is(tasks.begun, 3)
  most = 1
  await tasks.end()
  await tasks.end()
  t.is(tasks.begun, 3)
  await tasks.end()
  t.is(tasks.begun, 4)
  most = 4
  await tasks.end()
  t.is(tasks.begun, 8)
  for (let left = 0; left < 9; left++) await tasks.end()
  await Promise.all(all)
  t.is(tasks.begun, 9)
})

test('a task that fails gives its permit back', async t => {
  const permits = new Permits(1)
  const failed = permits.run(() => Promise.reject(new Error('no')))
  const next = permits.run(() => Promise.resolve(1))
  await t.throwsAsync(failed, { message: 'no' })
  t.is(await next, 1)
})

test('users are busy for a moment after each request', t => {
  let now = 1000
  const users = new UserActivity({ now: () => now, wall: () => 0n })
  t.false(users.isBusy)
  users.note()
  t.true(users.isBusy)
  now += 1000
  t.false(users.isBusy)
})
