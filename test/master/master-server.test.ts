import test from 'ava'
import Database from 'better-sqlite3'
import { createChecksums } from '#src/core/checksum.ts'
import { silentLog } from '#src/core/env.ts'
import { FsError } from '#src/core/errors.ts'
import { realEnv } from '#src/env/real-env.ts'
import type { EngineInput, EngineOutput } from '#src/master/engine/io.ts'
import { engineHandler } from '#src/master/rpc/open-engine.ts'
import { type EngineLane, MasterServer } from '#src/master/rpc/server.ts'
import { Store } from '#src/master/store/store.ts'
import type { SessionDown, SessionUp } from '#src/wire/gen/cairn/v1/session.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { adminStatus, sessionAttach } from '#src/wire/services.ts'
import { create } from './engine-ops.ts'

/** An engine in this thread whose steps can be held up, as by a slow disk. */
async function slowLane(): Promise<EngineLane & { hold: Promise<void> | undefined; batches: number[] }> {
  const store = Store.format(new Database(':memory:'), {
    cluster: Buffer.alloc(16, 7),
    blockBytes: 65536,
    copies: 1,
    minCopies: 1,
    created: 1n,
  })
  const handler = engineHandler(store, 'test', await createChecksums())
  const lane = {
    hold: undefined as Promise<void> | undefined,
    batches: [] as number[],
    async run(batch: readonly (readonly EngineInput[])[]): Promise<EngineOutput[][]> {
      await lane.hold
      for (const inputs of batch) lane.batches.push(inputs.filter(input => input.kind === 'frame').length)
      return handler.run(batch)
    },
    async close(): Promise<void> {
      handler.close()
    },
  }
  return lane
}

const hello: SessionUp = {
  items: [
    {
      item: {
        $case: 'hello',
        value: {
          versionMin: 1,
          versionMax: 1,
          session: 0n,
          epoch: 0n,
          secret: new Uint8Array(0),
          cluster: new Uint8Array(0),
          host: 'h',
          mountpoint: '/mnt',
          pid: 1,
          program: 'test',
          zone: '',
          readOnly: false,
          clock: 0n,
          export: '',
        },
      },
    },
  ],
  acked: 0n,
}

test('heartbeats are answered while the disk holds up the engine; what arrives meanwhile is one batch', async t => {
  const network = new GrpcNetwork({ log: silentLog })
  const lane = await slowLane()
  const server = await MasterServer.start(realEnv(silentLog), network, lane, {
    listen: '127.0.0.1:0',
    rssBytes: () => 0,
    failed: error => t.fail(String(error)),
  })
  const link = network.dial(server.address, sessionAttach)
  const items: NonNullable<SessionDown['items'][number]['item']>[] = []
  let woken: () => void = () => undefined
  link.onFrame(frame => {
    for (const { item } of frame.items) if (item !== undefined) items.push(item)
    woken()
  })
  const closed = new Promise(resolve => {
    link.onClose(resolve)
  })
  const until = async (done: () => boolean): Promise<void> => {
    while (!done())
      await new Promise<void>(resolve => {
        woken = resolve
      })
  }
  link.send(hello)
  await until(() => items.some(item => item.$case === 'welcome'))

  let release: () => void = () => undefined
  lane.hold = new Promise(resolve => {
    release = resolve
  })
  const batchesBefore = lane.batches.length
  for (let id = 1n; id <= 20n; id++) {
    link.send({
      items: [{ item: { $case: 'call', value: { id, op: create(`f${id}`), promised: false } } }],
      acked: 0n,
    })
    // Frames of their own, and time for the first to reach the engine.
    await new Promise(resolve => setImmediate(resolve))
  }
  link.send({
    items: [
      {
        item: {
          $case: 'heartbeat',
          value: { sentMs: 77n, dirtyBytes: 0n, fetchedBytes: 0n, storedBytes: 0n },
        },
      },
    ],
    acked: 0n,
  })
  await until(() => items.some(item => item.$case === 'heartbeat' && item.value.sentMs === 77n))
  t.false(
    items.some(item => item.$case === 'reply'),
    'no answer before the disk has it',
  )
  lane.hold = undefined
  release()
  await until(() => items.filter(item => item.$case === 'reply').length === 20)
  t.true(lane.batches.slice(batchesBefore).filter(frames => frames > 0).length < 10, 'gathered')

  const status = await network.call(server.address, adminStatus, {}, { timeoutMs: 5000 })
  t.is(status.inodes, 21n)
  t.is(status.mounts.length, 1)
  await server.close()
  await closed
  await network.close()
})

test('a mount that floods a master whose disk is slow holds up neither another one nor an administrator', async t => {
  const network = new GrpcNetwork({ log: silentLog })
  const lane = await slowLane()
  const server = await MasterServer.start(realEnv(silentLog), network, lane, {
    listen: '127.0.0.1:0',
    rssBytes: () => 0,
    failed: error => t.fail(String(error)),
  })
  const attached = async () => {
    const link = network.dial(server.address, sessionAttach)
    const answers: bigint[] = []
    let welcome: () => void = () => undefined
    const welcomed = new Promise<void>(resolve => {
      welcome = resolve
    })
    link.onFrame(({ items }) => {
      for (const { item } of items)
        if (item?.$case === 'welcome') welcome()
        else if (item?.$case === 'reply') answers.push(item.value.id)
    })
    link.onClose(() => undefined)
    link.send(hello)
    await welcomed
    const call = (id: bigint): void =>
      link.send({
        items: [
          {
            item: {
              $case: 'call',
              value: { id, op: { $case: 'getAttr', value: { ino: 1n } }, promised: false },
            },
          },
        ],
        acked: 0n,
      })
    return { answers, call }
  }
  const flooder = await attached()
  const honest = await attached()
  const count = 20_000
  let release: () => void = () => undefined
  lane.hold = new Promise(resolve => {
    release = resolve
  })
  for (let id = 1n; id <= count; id++) flooder.call(id)
  honest.call(1n)
  const status = network.call(server.address, adminStatus, {}, { timeoutMs: 60_000 })
  // Until what the front takes in has arrived there.
  await network.call(server.address, adminStatus, {}, { timeoutMs: 300 }).catch(() => undefined)
  lane.hold = undefined
  release()
  t.is((await status).mounts.length, 2)
  while (honest.answers.length === 0) await new Promise(resolve => setImmediate(resolve))
  t.true(flooder.answers.length < count / 2, `${String(flooder.answers.length)} of the flood came first`)
  while (flooder.answers.length < count) await new Promise(resolve => setTimeout(resolve, 10))
  t.deepEqual(
    flooder.answers,
    Array.from({ length: count }, (_, at) => BigInt(at + 1)),
    'all, in order',
  )

  lane.hold = new Promise(resolve => {
    release = resolve
  })
  const asked = Array.from({ length: 100 }, () =>
    network.call(server.address, adminStatus, {}, { timeoutMs: 60_000 }).then(
      () => 'answered',
      (error: unknown) => FsError.from(error).code,
    ),
  )
  let refused = 0
  for (const outcome of asked) void outcome.then(what => (refused += what === 'EBUSY' ? 1 : 0))
  while (refused < 36) await new Promise(resolve => setTimeout(resolve, 10))
  lane.hold = undefined
  release()
  const outcomes = await Promise.all(asked)
  t.is(
    outcomes.filter(outcome => outcome === 'answered').length,
    64,
    'so many questions at a time, and no more',
  )
  await server.close()
  await network.close()
})

test('an engine that begins anew is told again what is told when it changes', async t => {
  const network = new GrpcNetwork({ log: silentLog })
  const lane = await slowLane()
  const told: (readonly string[])[] = []
  let full = false
  const server = await MasterServer.start(
    realEnv(silentLog),
    network,
    {
      run: async batch => {
        if (full) {
          full = false
          throw new FsError('ENOSPC', 'The disk of the master is full')
        }
        for (const input of batch.flat()) if (input.kind === 'identities') told.push(input.good)
        return lane.run(batch)
      },
      close: () => lane.close(),
    },
    {
      listen: '127.0.0.1:0',
      rssBytes: () => 0,
      identities: ['a'],
      failed: error => t.fail(String(error)),
    },
  )
  t.deepEqual(told, [['a']])
  server.noteIdentities(['a', 'b'], new Map())
  await server.measure()
  t.deepEqual(told.at(-1), ['a', 'b'])
  full = true
  // The step that finds no room is undone, with what it was told.
  server.noteIdentities(['b'], new Map())
  await t.throwsAsync(server.measure(), { instanceOf: FsError })
  await server.measure()
  t.deepEqual(told.at(-1), ['b'])
  await server.close()
  await network.close()
})

test('an engine that fails takes its connections along and says so once', async t => {
  const network = new GrpcNetwork({ log: silentLog })
  const lane = await slowLane()
  const failures: unknown[] = []
  const server = await MasterServer.start(realEnv(silentLog), network, lane, {
    listen: '127.0.0.1:0',
    rssBytes: () => 0,
    failed: error => failures.push(error),
  })
  lane.hold = Promise.reject(new Error('disk full'))
  const link = network.dial(server.address, sessionAttach)
  const closed = new Promise(resolve => {
    link.onClose(resolve)
  })
  link.onFrame(() => t.fail('nothing may be answered'))
  link.send(hello)
  t.not(await closed, undefined)
  t.is(failures.length, 1)
  await server.close()
  await network.close()
})
