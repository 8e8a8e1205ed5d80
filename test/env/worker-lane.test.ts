import test from 'ava'
import { FsError, UsageError } from '#src/core/errors.ts'
import { WorkerLane } from '#src/env/worker-lane.ts'
import type { Item, Outcome } from './lane-fixture.ts'

const module = new URL('./lane-fixture.js', import.meta.url)

async function start(mode = 'ok'): Promise<{ lane: WorkerLane<Item, Outcome>; deaths: Error[] }> {
  const deaths: Error[] = []
  const died = (error: Error): void => void deaths.push(error)
  return { lane: await WorkerLane.start({ module, data: { mode }, name: 'test', died }), deaths }
}

test('batches are done in order, and bigints come back', async t => {
  const { lane, deaths } = await start()
  const first = lane.run([{ what: 'order' }])
  const second = lane.run([{ what: 'order' }, { what: 'double', number: 21n }])
  t.deepEqual(await first, [{ order: [1] }])
  t.deepEqual(await second, [{ order: [1, 2] }, { number: 42n }])
  await lane.close()
  t.deepEqual(deaths, [])
})

test('bytes cross exactly: a view is not sent with the memory around it, and is a Buffer on both sides', async t => {
  const { lane } = await start()
  const large = new Uint8Array(1_000_000).fill(7)
  const view = large.subarray(500, 504)
  const [outcome] = await lane.run([{ what: 'sum', bytes: view }])
  t.true(outcome?.isBuffer)
  t.is(outcome?.memory, 4)
  t.true(Buffer.isBuffer(outcome?.bytes))
  t.deepEqual([...(outcome?.bytes ?? [])], [8, 8, 8, 8])
  t.is(large.length, 1_000_000, "the sender's memory stays its own")
  t.deepEqual([...view], [7, 7, 7, 7])
  await lane.close()
})

test('errors cross with their errno, and the thread goes on', async t => {
  const { lane, deaths } = await start()
  const error = await t.throwsAsync(lane.run([{ what: 'fail' }]), { instanceOf: FsError })
  t.is(error.code, 'ENOSPC')
  t.is(error.message, 'no room for it')
  await t.throwsAsync(lane.run([{ what: 'bug' }]), { message: 'a bug' })
  t.deepEqual(await lane.run([{ what: 'double', number: 1n }]), [{ number: 2n }])
  await lane.close()
  t.deepEqual(deaths, [])
})

test('a handler that does not open is what start rejects with', async t => {
  await t.throwsAsync(start('cannot open'), { instanceOf: UsageError, message: 'The folder is in use' })
  await t.throwsAsync(start('broken module'), { message: /cannot load/ })
})

for (const what of ['die', 'throw-later'] as const) {
  test(`a thread that ends by itself (${what}) is reported once and rejects what is under way`, async t => {
    const { lane, deaths } = await start()
    const running = [lane.run([{ what }]), lane.run([{ what: 'double' }])]
    for (const run of running) await t.throwsAsync(run, { message: /^Thread test died: / })
    await t.throwsAsync(lane.run([{ what: 'double' }]), { message: /^Thread test died: / })
    await lane.close()
    t.is(deaths.length, 1)
  })
}

test('what was given before close is finished', async t => {
  const { lane, deaths } = await start()
  const run = lane.run([{ what: 'order' }, { what: 'double', number: 4n }])
  await lane.close()
  t.is((await run)[1]?.number, 8n)
  await lane.close()
  t.deepEqual(deaths, [])
})

test('a thread that cannot close is reported', async t => {
  const { lane, deaths } = await start('cannot close')
  await lane.close()
  t.regex(deaths[0]?.message ?? '', /cannot close/)
})
