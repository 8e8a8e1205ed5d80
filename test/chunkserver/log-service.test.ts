import { createHash } from 'node:crypto'
import test, { type ExecutionContext } from 'ava'
import { MasterLog } from '#src/chunkserver/log/master-log.ts'
import { Authority } from '#src/chunkserver/rpc/authority.ts'
import { LogService } from '#src/chunkserver/rpc/log-service.ts'
import { FsError } from '#src/core/errors.ts'
import type { Codec, Link, StreamDef } from '#src/core/network.ts'
import { MiB } from '#src/core/units.ts'
import { realEnv } from '#src/env/real-env.ts'
import { rebuild, type RebuildTarget } from '#src/master/log/rebuild.ts'
import type { ListLogReply, LogDown, LogUp } from '#src/wire/gen/cairn/v1/log.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { encodeRecord } from '#src/wire/log-records.ts'
import { logMac } from '#src/wire/mac.ts'
import { logFollow, logList, logRead } from '#src/wire/services.ts'
import { HostileBytes } from '../support/hostile-bytes.ts'
import { MemoryDisk } from './support/memory-disk.ts'
import { checksums, cluster, key, quietLog } from './support/test-node.ts'

interface Served {
  readonly network: GrpcNetwork
  readonly address: string
  readonly disk: MemoryDisk
}

async function serve(t: ExecutionContext): Promise<Served> {
  const disk = new MemoryDisk()
  const authority = new Authority(realEnv(quietLog).clock)
  authority.accept({ cluster, node: 1n, incarnation: 1n, key, blockBytes: MiB })
  const service = new LogService({
    open: () =>
      MasterLog.open({
        disk,
        checksums,
        space: { promise: () => undefined, settle: () => undefined },
        failed: error => FsError.from(error),
        log: quietLog,
      }),
    authority,
    identity: () => ({ cluster, node: 1n }),
  })
  const network = new GrpcNetwork({ log: quietLog })
  const listener = await network.listen('127.0.0.1:0', serving => service.register(serving))
  t.teardown(() => network.close())
  return { network, address: listener.address, disk }
}

const helloOf = (incarnation: bigint, mac = logMac(key, 1n, incarnation)): LogUp => ({
  item: { $case: 'hello', value: { versionMin: 1, versionMax: 1, cluster, node: 1n, incarnation, mac } },
})

/** A database of some pages, each filled with a number. */
const base = Buffer.concat([1, 2, 3].map(fill => Buffer.alloc(512, fill)))

const recordOf = (sequence: bigint, number: number, fill: number, pages = 4): Uint8Array =>
  encodeRecord(
    checksums,
    { incarnation: 5n, sequence, time: 1000n + sequence, databasePages: pages, pageBytes: 512 },
    [{ number, data: Buffer.alloc(512, fill) }],
  )

/** A link that waits for what it wants to hear. */
class Master {
  readonly #heard: LogDown[] = []
  readonly #link: Link<LogUp, LogDown>
  readonly closed: Promise<FsError | undefined>
  #wake: () => void = () => undefined

  constructor({ network, address }: Served) {
    this.#link = network.dial(address, logFollow)
    this.#link.onFrame(frame => {
      this.#heard.push(frame)
      this.#wake()
    })
    this.closed = new Promise(resolve => this.#link.onClose(error => resolve(error)))
  }

  send(...frames: LogUp[]): this {
    for (const frame of frames) this.#link.send(frame)
    return this
  }

  async hear(met: (item: NonNullable<LogDown['item']>) => boolean): Promise<void> {
    while (!this.#heard.some(({ item }) => item !== undefined && met(item)))
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
  }

  close(): void {
    this.#link.close()
  }
}

const recordFrame = (data: Uint8Array): LogUp => ({ item: { $case: 'record', value: { data } } })

function baseFrames(after: bigint, until: bigint): LogUp[] {
  const sha256 = createHash('sha256').update(base).digest()
  return [
    { item: { $case: 'base', value: { after } } },
    { item: { $case: 'data', value: { offset: 0n, data: base } } },
    { item: { $case: 'end', value: { bytes: BigInt(base.length), sha256, until, time: 1000n } } },
  ]
}

class Target implements RebuildTarget {
  bytes = Buffer.alloc(0)

  begin(): void {
    this.bytes = Buffer.alloc(0)
  }

  write(offset: number, data: Uint8Array): void {
    const end = Math.max(this.bytes.length, offset + data.length)
    const longer = Buffer.alloc(end)
    longer.set(this.bytes)
    longer.set(data, offset)
    this.bytes = longer
  }

  end(bytes: number): void {
    if (bytes > this.bytes.length) this.write(this.bytes.length, Buffer.alloc(bytes - this.bytes.length))
    this.bytes = this.bytes.subarray(0, bytes)
  }

  /** What each page is filled with. */
  get pages(): number[] {
    return Array.from({ length: this.bytes.length / 512 }, (_, at) => this.bytes[at * 512] ?? -1)
  }
}

async function fill(served: Served, last: bigint): Promise<Master> {
  const master = new Master(served).send(helloOf(5n), ...baseFrames(1n, 3n))
  for (let sequence = 2n; sequence <= last; sequence++)
    master.send(recordFrame(recordOf(sequence, Number(sequence), 10 + Number(sequence))))
  await master.hear(item => item.$case === 'base' && item.value.whole)
  if (last > 1n) await master.hear(item => item.$case === 'stored' && item.value.sequence === last)
  return master
}

test('a database is put together from what several nodes have of it', async t => {
  const [one, other, third] = await Promise.all([serve(t), serve(t), serve(t)])
  await fill(one, 3n)
  await fill(other, 4n)
  const target = new Target()
  const addresses = [one, other, third].map(({ address }) => address)
  const found = await rebuild(one.network, checksums, [...addresses, '127.0.0.1:1'], target)
  t.like(found, { incarnation: 5n, time: 1004n, records: 3, baseBytes: base.length })
  t.is(found.remarks.length, 1)
  t.deepEqual(target.pages, [1, 12, 13, 14])

  // A base that needs records which are lost is used alone; a damaged one not at all.
  const poor = await serve(t)
  await fill(poor, 2n)
  const alone = await rebuild(one.network, checksums, [poor.address], target)
  t.like(alone, { time: 1000n, records: 0 })
  t.deepEqual(target.pages, [1, 2, 3])
  t.regex(alone.remarks.join(), /used as it is/)
  const baseFile = poor.disk.paths().find(name => name.includes('base-')) ?? ''
  poor.disk.rot(baseFile, data => Buffer.alloc(data.length, 9))
  await t.throwsAsync(rebuild(one.network, checksums, [poor.address], target), { message: /it is damaged/ })
  await rebuild(one.network, checksums, [poor.address, one.address], target)
  t.deepEqual(target.pages, [1, 12, 13, 0])
})

test('only the master of the node writes, and not one that is older than what is there', async t => {
  const served = await serve(t)
  const first = await fill(served, 4n)
  const closedWith = async (...frames: LogUp[]): Promise<string | undefined> =>
    (await new Master(served).send(...frames).closed)?.code
  t.is(await closedWith(helloOf(6n, Buffer.alloc(32))), 'EACCES')
  t.is(await closedWith(recordFrame(recordOf(5n, 1, 1))), 'EPROTO')
  t.is(await closedWith(helloOf(4n)), 'ESTALE')
  t.is((await first.closed)?.code, 'ECANCELED', 'whoever came last is the master')
  t.is(await closedWith(helloOf(5n), recordFrame(recordOf(9n, 1, 1))), 'EPROTO')
  const again = new Master(served).send(helloOf(5n))
  await again.hear(item => item.$case === 'welcome' && item.value.last === 4n && item.value.until === 3n)
  again.send({ item: { $case: 'drop', value: {} } })
  await again.hear(item => item.$case === 'stored' && item.value.sequence === 0n)
  t.deepEqual(served.disk.paths(), [])
})

const asBytes: Codec<Uint8Array> = { encode: bytes => bytes, decode: bytes => bytes }

test('hostile frames end their own link, and what is there stays', async t => {
  const served = await serve(t)
  ;(await fill(served, 4n)).close()
  const raw: StreamDef<Uint8Array, Uint8Array> = { path: logFollow.path, up: asBytes, down: asBytes }
  const hostile = new HostileBytes(11)
  const hello = Buffer.from(logFollow.up.encode(helloOf(5n)))
  const valid = [
    ...baseFrames(4n, 4n).slice(0, 2),
    recordFrame(recordOf(5n, 1, 1)),
    recordFrame(Buffer.alloc(100, 1)),
  ].map(frame => Buffer.from(logFollow.up.encode(frame)))
  const ended: Promise<void>[] = []
  for (let stream = 0; stream < 120; stream++) {
    const link = served.network.dial(served.address, raw)
    link.onFrame(() => undefined)
    ended.push(new Promise(resolve => link.onClose(() => resolve())))
    link.send(hostile.below(4) === 0 ? hostile.mutated(hello) : hello)
    for (let frame = 0; frame < 8; frame++)
      link.send(
        hostile.below(3) === 0 ? hostile.message([1, 2, 3, 4, 5, 15]) : hostile.mutated(hostile.pick(valid)),
      )
    setTimeout(() => link.close(), 300)
  }
  await Promise.all(ended)
  for (const name of ['', '../index.sqlite', 'base-1-1', `whole-${'0'.repeat(15)}5-${'0'.repeat(15)}1/..`])
    await t.throwsAsync(
      served.network.call(served.address, logRead, { name, offset: 0n, length: 10 }, { timeoutMs: 5000 }),
    )
  const target = new Target()
  const found = await rebuild(served.network, checksums, [served.address], target)
  t.true(found.time >= 1004n)
  t.is(target.pages[1], 12)
})

test('nodes that lie to who restores are found out, or refused', async t => {
  const honest = await serve(t)
  ;(await fill(honest, 4n)).close()
  const hostile = new HostileBytes(3)
  const truth = await honest.network.call(honest.address, logList, {}, { timeoutMs: 5000 })
  const network = new GrpcNetwork({ log: quietLog })
  t.teardown(() => network.close())
  const listener = await network.listen('127.0.0.1:0', serving => {
    serving.call({ ...logList, request: asBytes, response: asBytes }, async () => {
      const bytes = Buffer.from(logList.response.encode(truth satisfies ListLogReply))
      return hostile.below(3) === 0 ? bytes : hostile.mutated(bytes)
    })
    serving.call(logRead, async ({ length }) => ({
      data: hostile.bytes(hostile.below(2) === 0 ? length : 3),
    }))
  })
  for (let round = 0; round < 60; round++) {
    const target = new Target()
    try {
      const found = await rebuild(network, checksums, [listener.address, honest.address], target)
      t.is(found.time, 1004n)
      t.deepEqual(target.pages, [1, 12, 13, 14])
    } catch (error) {
      t.true(error instanceof Error && !(error instanceof TypeError), String(error))
    }
  }
})
