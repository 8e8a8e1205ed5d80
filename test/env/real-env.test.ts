import test from 'ava'
import { RealClock, type TimeSources } from '#src/env/real-clock.ts'
import { RealRandom } from '#src/env/real-random.ts'
import { RealTimers } from '#src/env/real-timers.ts'

class FakeMachine implements TimeSources {
  monotonicMs = 1000
  wallMs = 1_700_000_000_000
  bootMs = 50_000

  pass(ms: number): void {
    this.monotonicMs += ms
    this.wallMs += ms
    this.bootMs += ms
  }

  suspend(ms: number): void {
    this.wallMs += ms
    this.bootMs += ms
  }

  monotonic = (): bigint => BigInt(Math.round(this.monotonicMs * 1e6))
  wall = (): number => Math.floor(this.wallMs)
  uptime = (): number => Math.floor(this.bootMs / 10) / 100
}

const close = (value: number, expected: number, margin: number): boolean =>
  Math.abs(value - expected) <= margin

test('time runs on during suspend, at the first look after it', t => {
  const machine = new FakeMachine()
  const clock = new RealClock(machine)
  const start = clock.now()
  machine.pass(500)
  t.true(close(clock.now() - start, 500, 0.01))
  machine.suspend(60_000)
  t.true(close(clock.now() - start, 60_500, 20))
  machine.pass(10)
  t.true(close(clock.now() - start, 60_510, 20))
  machine.suspend(5_000)
  machine.suspend(7_000)
  t.true(close(clock.now() - start, 72_510, 30))
})

test('a suspend is found even if the wall clock was set back over it', t => {
  const machine = new FakeMachine()
  const clock = new RealClock(machine)
  const start = clock.now()
  machine.suspend(30_000)
  machine.wallMs -= 30_000
  clock.now()
  machine.pass(1_500)
  t.true(close(clock.now() - start, 31_500, 20))
})

test('time never goes back, whatever happens to the wall clock', t => {
  const machine = new FakeMachine()
  const clock = new RealClock(machine)
  let last = clock.now()
  for (let i = 0; i < 2000; i++) {
    machine.pass((i * 7919) % 13)
    if (i % 17 === 0) machine.wallMs -= 86_400_000
    if (i % 23 === 0) machine.wallMs += 3_600_000
    if (i % 101 === 0) machine.suspend(3000)
    const now = clock.now()
    t.true(now >= last)
    last = now
  }
})

test('wall time agrees with the system to the millisecond and is finer', t => {
  const machine = new FakeMachine()
  const clock = new RealClock(machine)
  const seen = new Set<bigint>()
  for (let i = 0; i < 1000; i++) {
    machine.pass(0.05)
    const wall = clock.wall()
    t.is(Number(wall / 1_000_000n), machine.wall())
    seen.add(wall)
  }
  t.true(seen.size > 900)
  machine.wallMs -= 5_000_000
  t.is(Number(clock.wall() / 1_000_000n), machine.wall(), 'a step is followed')
})

test('the real clock is near the system time and goes on', async t => {
  const clock = new RealClock()
  t.true(close(Number(clock.wall() / 1_000_000n), Date.now(), 5))
  const before = clock.now()
  await new Promise(resolve => setTimeout(resolve, 15))
  t.true(clock.now() - before >= 14)
})

test('soon comes before timers, and after runs once unless cancelled', async t => {
  const timers = new RealTimers()
  const order: string[] = []
  const cancelled = timers.after(1, () => order.push('cancelled'))
  cancelled.cancel()
  await new Promise<void>(resolve => {
    timers.after(2, () => {
      order.push('after')
      resolve()
    })
    timers.soon(() => order.push('soon'))
    order.push('now')
  })
  t.deepEqual(order, ['now', 'soon', 'after'])
})

test('a delay longer than node can wait does not end at once', async t => {
  const timers = new RealTimers()
  let rang = false
  const timer = timers.after(2 ** 33, () => {
    rang = true
  })
  await timers.sleep(20)
  timer.cancel()
  t.false(rang)
})

test("sleep rejects with the signal's reason and leaves no timer behind", async t => {
  const timers = new RealTimers()
  const controller = new AbortController()
  const sleeping = timers.sleep(100_000, controller.signal)
  controller.abort(new Error('enough'))
  await t.throwsAsync(sleeping, { message: 'enough' })
  await t.throwsAsync(timers.sleep(100_000, controller.signal), { message: 'enough' })
  await timers.sleep(1, new AbortController().signal)
})

test('random numbers stay below their bound and reach all values', t => {
  const random = new RealRandom()
  const seen = new Set<number>()
  for (let i = 0; i < 500; i++) seen.add(random.below(5))
  t.deepEqual([...seen].sort(), [0, 1, 2, 3, 4])
  t.is(random.bytes(32).length, 32)
  t.notDeepEqual(random.bytes(16), random.bytes(16))
})
