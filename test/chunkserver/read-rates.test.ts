/** The rate at which mounts of an export may read, of all nodes together, in virtual time. */
import test from 'ava'
import { ReadRates } from '#src/chunkserver/rpc/read-rates.ts'
import { KiB, MiB } from '#src/core/units.ts'
import { ReadShares } from '#src/master/exports/read-shares.ts'
import type { Turn } from '#src/master/engine/turn.ts'
import type { ExportRow } from '#src/master/store/exports.ts'
import type { ReadTerms } from '#src/wire/read-token.ts'
import { VirtualEnv } from '../client/data/virtual-env.ts'

const never = (): boolean => false
const rate = 8 * MiB
const termsOf = (change: Partial<ReadTerms> = {}): ReadTerms => ({
  ...{ export: 7n, bytesPerSecond: rate, mayReadFiles: false, expiry: 100, ...change },
})

/** Reads of `bytes` each, `atOnce` of them, for ever; how many bytes went. */
function reader(rates: ReadRates, terms: ReadTerms, atOnce = 20, bytes = 64 * KiB) {
  const got = { bytes: 0, over: false }
  const over = (): boolean => got.over
  for (let i = 0; i < atOnce; i++)
    void (async () => {
      while (!over()) {
        await rates.admit(terms, bytes, over)
        if (!over()) got.bytes += bytes
      }
    })()
  return got
}

test('what is over the rate of an export waits, in order, and no other export for it', async t => {
  const env = new VirtualEnv()
  const rates = new ReadRates(env)
  const one = reader(rates, termsOf())
  await env.pass(10_000)
  const most = 11 * rate + 64 * KiB
  t.true(one.bytes <= most, `${one.bytes} of ${most}`)
  t.true(one.bytes >= 10 * rate)
  const order: number[] = []
  for (const n of [1, 2, 3]) void Promise.resolve(rates.admit(termsOf(), 1, never)).then(() => order.push(n))
  let other = false
  void Promise.resolve(rates.admit(termsOf({ export: 8n }), 1, never)).then(() => (other = true))
  void rates.admit(undefined, 1 * MiB, never)
  await env.pass(0)
  t.true(other)
  t.deepEqual(order, [])
  one.over = true
  await env.pass(5000)
  t.deepEqual(order, [1, 2, 3])
})

test('what is given back after the master was told is not missing from what is asked for next', async t => {
  const rates = new ReadRates(new VirtualEnv())
  await rates.admit(termsOf(), 64 * KiB, never)
  t.deepEqual(rates.takeDemands(), [{ export: 7n, bytes: 65_536n }])
  rates.giveBack(termsOf(), 60 * KiB)
  t.deepEqual(rates.takeDemands(), [])
  await rates.admit(termsOf(), 64 * KiB, never)
  t.deepEqual(rates.takeDemands(), [{ export: 7n, bytes: 65_536n }])
})

test('who gave up costs nothing, and is told so; too many are refused', async t => {
  const env = new VirtualEnv()
  const rates = new ReadRates(env)
  const slow = termsOf({ bytesPerSecond: 1 * KiB })
  t.is(await rates.admit(slow, 64 * KiB, never), 64 * KiB)
  let cancelled = false
  let charged: number | undefined
  const waits = Promise.resolve(rates.admit(slow, 1 * MiB, () => cancelled))
  void waits.then(bytes => (charged = bytes))
  await env.pass(10_000)
  t.is(charged, undefined)
  cancelled = true
  await env.pass(2000)
  t.is(charged, 0)
  const next = Promise.resolve(rates.admit(slow, 3 * KiB, never))
  t.is(await env.run(next), 3 * KiB)
  t.true(env.nowMs >= 60_000 && env.nowMs < 90_000, 'what went first is paid for, and nothing else')
  for (let i = 0; i < 16_384; i++) void rates.admit(slow, 1, never)
  t.throws(() => rates.admit(slow, 1, never), { code: 'EBUSY' })
})

test('what an older token says counts no more, nor what the master said long ago', async t => {
  const env = new VirtualEnv()
  const rates = new ReadRates(env)
  const now = termsOf({ bytesPerSecond: 64 * KiB, expiry: 200 })
  await rates.admit(now, 1, never)
  const got = reader(rates, termsOf({ bytesPerSecond: 1024 * MiB, expiry: 100 }))
  await env.pass(10_000)
  t.true(got.bytes <= 12 * 64 * KiB)
  rates.noteShares([{ export: 7n, bytesPerSecond: BigInt(rate) }])
  const before = got.bytes
  await env.pass(5000)
  t.true(got.bytes - before > 4 * rate)
  await env.pass(10_000)
  const after = got.bytes
  await env.pass(10_000)
  t.true(got.bytes - after <= 12 * 64 * KiB)
  got.over = true
})

/** Nodes whose heartbeats the master answers, and those that do not reach it. */
function world(readBytesPerSecond: number, nodes: number) {
  const env = new VirtualEnv()
  const row = { domain: Buffer.alloc(16, 3), readBytesPerSecond, shortCircuit: true } as unknown as ExportRow
  const exports = { all: () => [row] }
  const turn = {
    get now() {
      return env.nowMs
    },
    store: { exports },
  } as unknown as Turn
  const shares = new ReadShares(turn, () => nodes)
  const all = Array.from({ length: nodes }, () => new ReadRates(env))
  const beat = (): void => {
    for (const [index, rates] of all.entries())
      rates.noteShares(shares.demanded(BigInt(index + 1), rates.takeDemands()))
    env.timers.after(1000, beat)
  }
  return { env, row, shares, all, beat }
}

for (const reaching of [true, false])
  test(`who asks all nodes at once gets no more than the rate, ${reaching ? 'with the master' : 'and less without it'}`, async t => {
    const { env, row, shares, all, beat } = world(rate, 5)
    const terms = { ...shares.termsOf(row), expiry: 100 } as ReadTerms
    t.false(terms.mayReadFiles, 'what is read past the nodes is counted by nobody')
    if (reaching) beat()
    const got = all.map(rates => reader(rates, terms))
    const sum = (): number => got.reduce((bytes, each) => bytes + each.bytes, 0)
    await env.pass(20_000)
    // In the first second each has what may be done in one, and each may be one read over.
    const most = 21 * rate + 5 * 64 * KiB
    t.true(sum() <= most, `${sum()} of ${most}`)
    t.true(sum() >= (reaching ? 18 * rate : 4 * rate), String(sum()))
    for (const each of got) each.over = true
  })

test('the larger part of the rate goes to where it is asked for', async t => {
  const { env, row, shares, all, beat } = world(rate, 5)
  const terms = { ...shares.termsOf(row), expiry: 100 } as ReadTerms
  beat()
  const [first] = all
  if (first === undefined) return t.fail()
  const got = reader(first, terms)
  await env.pass(20_000)
  t.true(got.bytes >= 14 * rate, String(got.bytes))
  t.true(got.bytes <= 21 * rate)
  got.over = true
})

test('without a rate and with short-circuit there are no terms, and a rate of 0 makes nobody wait', async t => {
  const { shares, row } = world(0, 3)
  t.is(shares.termsOf(row), undefined)
  t.is(shares.termsOf(undefined), undefined)
  const terms = shares.termsOf({ ...row, shortCircuit: false })
  t.like(terms, { bytesPerSecond: 0, mayReadFiles: false })
  const rates = new ReadRates(new VirtualEnv())
  for (let i = 0; i < 100; i++) await rates.admit(termsOf({ bytesPerSecond: 0 }), 64 * MiB, never)
  t.deepEqual(rates.takeDemands(), [{ export: 7n, bytes: BigInt(6400 * MiB) }], 'but the master hears of it')
  t.deepEqual(shares.demanded(1n, [{ export: 7n, bytes: 1n }]), [])
})

for (const [what, before] of [
  ['set', 0],
  ['lowered', 64 * MiB],
] as const)
  test(`a rate that is ${what} counts for tokens of before as soon as the master has heard of a read`, async t => {
    const { env, row, shares, all, beat } = world(before, 3)
    const mutable = row as { readBytesPerSecond: number; shortCircuit: boolean }
    mutable.shortCircuit = false
    const terms = { ...shares.termsOf(row), expiry: 600 } as ReadTerms
    beat()
    let [bytes, over] = [0, false]
    // As fast as a network is, and no faster: 20 times 1 MiB in 100 ms.
    for (const rates of all)
      for (let i = 0; i < 20; i++)
        void (async () => {
          while (!over) {
            await rates.admit(terms, 1 * MiB, () => over)
            bytes += 1 * MiB
            await env.timers.sleep(100)
          }
        })()
    await env.pass(5000)
    t.true(bytes > 5 * (before === 0 ? 400 * MiB : 60 * MiB), String(bytes))
    mutable.readBytesPerSecond = 1 * MiB
    await env.pass(2000)
    const since = bytes
    await env.pass(20_000)
    t.true(bytes - since <= 24 * MiB, String(bytes - since))
    t.true(bytes - since >= 10 * MiB, String(bytes - since))
    // And it is gone as soon.
    mutable.readBytesPerSecond = before
    await env.pass(12_000)
    const last = bytes
    await env.pass(5000)
    t.true(bytes - last > 5 * (before === 0 ? 400 * MiB : 60 * MiB), String(bytes - last))
    over = true
  })
