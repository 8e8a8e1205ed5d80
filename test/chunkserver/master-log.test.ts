import { createHash } from 'node:crypto'
import test from 'ava'
import { logFolder } from '#src/chunkserver/log/log-files.ts'
import { MasterLog } from '#src/chunkserver/log/master-log.ts'
import { FsError } from '#src/core/errors.ts'
import { encodeRecord } from '#src/wire/log-records.ts'
import { HostileBytes } from '../support/hostile-bytes.ts'
import { MemoryDisk } from './support/memory-disk.ts'
import { checksums, quietLog } from './support/test-node.ts'

const open = (disk: MemoryDisk): Promise<MasterLog> =>
  MasterLog.open({
    disk,
    checksums,
    space: { promise: () => undefined, settle: () => undefined },
    failed: error => FsError.from(error),
    log: quietLog,
  })

const recordOf = (sequence: bigint, incarnation = 1n, pages = 1): Uint8Array =>
  encodeRecord(
    checksums,
    { incarnation, sequence, time: sequence, databasePages: pages, pageBytes: 512 },
    Array.from({ length: pages }, (_, at) => ({ number: at + 1, data: Buffer.alloc(512, Number(sequence)) })),
  )

async function putBase(log: MasterLog, after: bigint, until: bigint, bytes = 5000): Promise<void> {
  const data = Buffer.alloc(bytes, Number(after))
  await log.beginBase(after)
  for (let at = 0; at < bytes; at += 2000) await log.appendBase(at, data.subarray(at, at + 2000))
  const sha256 = createHash('sha256').update(data).digest()
  await log.endBase({ bytes, until, time: after, sha256 })
}

const files = (disk: MemoryDisk): string[] =>
  disk
    .paths()
    .filter(name => name.startsWith(`${logFolder}/`))
    .map(name => name.slice(logFolder.length + 1).replaceAll(/0{8,}/g, '0'))

test('what was told to be stored is there after a power cut, and goes on', async t => {
  for (let seed = 1; seed <= 60; seed++) {
    const hostile = new HostileBytes(seed)
    const disk = new MemoryDisk({ before: async () => undefined, survives: () => hostile.below(2) === 0 })
    let log = await open(disk)
    let stored = (await log.join(1n)).last
    let based = false
    for (let round = 0; round < 12; round++) {
      const count = 1 + hostile.below(4)
      const records = Array.from({ length: count }, (_, at) => recordOf(stored + BigInt(at) + 1n))
      stored = await log.append(records)
      if (hostile.below(4) === 0) {
        await putBase(log, stored, stored)
        based = true
      }
      if (hostile.below(4) !== 0) continue
      // What is under way when it happens is not told.
      const lost = log.append([recordOf(stored + 1n)])
      disk.powerCut()
      await lost.catch(() => undefined)
      disk.powerCut()
      log = await open(disk)
      const { last, base } = await log.join(1n)
      t.true(last === stored || last === stored + 1n, `seed ${seed}: ${last} of ${stored}`)
      t.is(base !== undefined, based, `seed ${seed}`)
      stored = last
    }
  }
})

test('a whole base makes what is older go, when the records that it needs are here', async t => {
  const disk = new MemoryDisk()
  const log = await open(disk)
  await log.join(1n)
  await log.append([recordOf(1n)])
  await putBase(log, 1n, 2n)
  t.deepEqual(
    files(disk),
    ['base-0-01', 'log-0-01', 'whole-0-01'].map(name => name.replace('-0-', '-01-')),
  )
  await log.append([recordOf(2n)])
  t.deepEqual(files(disk), ['base-01-01', 'log-01-02', 'whole-01-01'])
  // A new start of the master: what the old one left is of use until there is something newer.
  await log.join(2n)
  await t.throwsAsync(log.join(1n), { message: /master start 2/ })
  await log.append([recordOf(1n, 2n)])
  t.is(log.bases.length, 1)
  await putBase(log, 1n, 1n)
  t.deepEqual(files(disk), ['base-02-01', 'log-02-01', 'whole-02-01'])
  // A gap is only possible with a base after it.
  await t.throwsAsync(log.append([recordOf(9n, 2n)]), { code: 'EPROTO' })
  await log.beginBase(20n)
  t.is(await log.append([recordOf(21n, 2n)]), 21n)
  // Its link breaks: what there was before is still there.
  await log.leave()
  t.deepEqual(await log.join(2n).then(({ last, base }) => [last, base?.after]), [21n, 1n])
  const again = await open(disk)
  t.deepEqual(await again.join(2n).then(({ last }) => last), 1n)
  await again.drop()
  t.deepEqual(files(disk), [])
})

test('what a failing disk would not remove goes when it can: until then it is not told to be gone', async t => {
  const disk = new MemoryDisk()
  const log = await open(disk)
  await log.join(1n)
  await log.append([recordOf(1n)])
  await putBase(log, 1n, 1n)
  const unlink = disk.unlink.bind(disk)
  disk.unlink = async () => {
    throw new FsError('EIO', 'the disk failed')
  }
  await t.throwsAsync(log.drop(), { code: 'EIO' })
  await t.throwsAsync(log.drop(), { code: 'EIO' })
  t.true(files(disk).length >= 2)
  disk.unlink = unlink
  await log.drop()
  t.deepEqual(files(disk), [])
})

test('a base that could not be said to be whole leaves nothing behind', async t => {
  for (const failing of ['create', 'syncFolder'] as const) {
    const disk = new MemoryDisk()
    const log = await open(disk)
    await log.join(1n)
    const real = disk[failing].bind(disk)
    // The base itself is created, and the folder synced once, before.
    let left = 1
    disk[failing] = (async (path: string) => {
      if (left-- === 0) throw new FsError('EIO', 'the disk failed')
      return real(path)
    }) as never
    await t.throwsAsync(putBase(log, 1n, 1n), { code: 'EIO' }, failing)
    disk[failing] = real as never
    t.deepEqual(files(disk), [], failing)
    await putBase(log, 1n, 1n)
    t.is(log.bases.length, 1)
  }
})

test('a base that is not what was sent, or that a crash has torn, is none', async t => {
  const disk = new MemoryDisk()
  const log = await open(disk)
  await log.join(1n)
  await log.beginBase(3n)
  await log.appendBase(0, Buffer.alloc(100, 1))
  await t.throwsAsync(log.appendBase(50, Buffer.alloc(100, 1)), { code: 'EPROTO' })
  await t.throwsAsync(log.endBase({ bytes: 100, until: 3n, time: 1n, sha256: Buffer.alloc(32) }), {
    code: 'EIO',
  })
  await putBase(log, 3n, 3n)
  t.is(log.bases.length, 1)
  disk.rot(disk.paths().find(name => name.includes('whole')) ?? '', data => data.subarray(0, 20))
  t.deepEqual((await open(disk)).bases, [])
  t.deepEqual(files(disk), [])
})

test('records that are not right are refused, and a torn end does not hide what follows', async t => {
  const disk = new MemoryDisk()
  const log = await open(disk)
  await log.join(1n)
  await log.append([recordOf(1n), recordOf(2n), recordOf(3n)])
  const bad = Buffer.from(recordOf(4n))
  bad[60] = (bad[60] ?? 0) ^ 1
  await t.throwsAsync(log.append([bad]), { code: 'EPROTO' })
  await t.throwsAsync(log.append([recordOf(4n, 2n)]), { code: 'EPROTO' })
  await t.throwsAsync(log.append([Buffer.concat([recordOf(4n), Buffer.alloc(3)])]), { code: 'EPROTO' })
  t.is(await log.append([recordOf(4n)]), 4n)
  const [first] = disk.paths().filter(name => name.includes('/log-'))
  disk.rot(first ?? '', data => Buffer.concat([data, recordOf(4n).subarray(0, 300)]))
  const again = await open(disk)
  t.is((await again.join(1n)).last, 4n, 'its end is in the next file')
  disk.rot(first ?? '', data => data.subarray(0, recordOf(1n).length + 30))
  t.is((await (await open(disk)).join(1n)).last, 1n)
})
