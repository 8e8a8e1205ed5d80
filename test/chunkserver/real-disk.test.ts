import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { PopularBlocks } from '#src/chunkserver/blocks/popular-blocks.ts'
import { AlignedSlots } from '#src/chunkserver/disk/aligned-slots.ts'
import { DirectWriter } from '#src/chunkserver/disk/direct-writer.ts'
import { lentBytesMax, sectorBytes } from '#src/chunkserver/disk/disk.ts'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { openFile } from '#src/chunkserver/disk/system-calls.ts'
import type { BlockId } from '#src/core/ids.ts'
import { KiB, MiB } from '#src/core/units.ts'
import { testBlock } from './support/test-client.ts'
import { temporaryFolder } from './support/test-node.ts'

const lengths = fc.array(
  fc.oneof(
    fc.constantFrom(1, 511, 4095, 4096, 4097, 64 * KiB, MiB, MiB + 1),
    fc.integer({ min: 0, max: 300_000 }),
  ),
  { minLength: 1, maxLength: 6 },
)

test('a file written and read past the page cache has the bytes that were appended', async t => {
  const folder = await temporaryFolder(t)
  const disk = new RealDisk(folder)
  let number = 0
  await fc.assert(
    fc.asyncProperty(lengths, async parts => {
      const path = `f${number++}`
      const whole = testBlock(
        parts.reduce((sum, length) => sum + length, 1),
        number,
      ).data
      const writer = await disk.create(path)
      for (let at = 0, i = 0; at < whole.length; i++) {
        const part = Buffer.from(whole.subarray(at, at + (parts[i] ?? whole.length)))
        await writer.append(part)
        at += part.length
        part.fill(0)
      }
      await writer.datasync()
      await writer.close()
      t.is(Buffer.compare(await readFile(join(folder, path)), whole), 0)
      for (const once of [true, false]) {
        const file = await disk.open(path, once)
        t.is(await file.size(), whole.length)
        for (let at = 0; at < whole.length; at += lentBytesMax) {
          const { bytes, release } = await file.read(at, lentBytesMax)
          t.is(Buffer.compare(bytes, whole.subarray(at, at + lentBytesMax)), 0)
          release()
        }
        await file.close()
      }
    }),
    { numRuns: 25 },
  )
})

test('what was read and is not taken keeps nobody else waiting', async t => {
  const folder = await temporaryFolder(t)
  const disk = new RealDisk(folder)
  const { data } = testBlock(MiB, 1)
  const writer = await disk.create('f')
  await writer.append(data)
  await writer.datasync()
  await writer.close()
  // More than there are slots.
  const file = await disk.open('f', true)
  const lent = await Promise.all(Array.from({ length: 40 }, () => file.read(0, MiB)))
  for (const { bytes } of lent) t.is(Buffer.compare(bytes, data), 0)
  for (const { release } of lent) release()
  await file.close()
})

test('many files are written at once with few slots', async t => {
  const folder = await temporaryFolder(t)
  const disk = new RealDisk(folder)
  const data = Array.from({ length: 40 }, (_, seed) => testBlock(300_001, seed).data)
  const writers = await Promise.all(data.map((_, i) => disk.create(`f${i}`)))
  // Each has begun before any ends.
  for (const [i, writer] of writers.entries())
    await writer.append(data[i]?.subarray(0, 100_001) ?? Buffer.of())
  await Promise.all(
    writers.map(async (writer, i) => {
      await writer.append(data[i]?.subarray(100_001) ?? Buffer.of())
      await writer.datasync()
      await writer.close()
    }),
  )
  for (const [i, bytes] of data.entries())
    t.is(Buffer.compare(await readFile(join(folder, `f${i}`)), bytes), 0)
})

test('where a file system refuses direct writes they go through the page cache', async t => {
  const path = join(await temporaryFolder(t), 'f')
  let reopened = 0
  // What is written there must be a number: anything else is EINVAL.
  const refusing = await openFile('/proc/self/oom_score_adj', 'r+')
  const writer = new DirectWriter(refusing, new AlignedSlots(2, lentBytesMax), () => {
    reopened++
    return openFile(path, 'wx')
  })
  const data = Buffer.alloc(2 * MiB + 2 * sectorBytes + 5, 'x')
  await writer.append(data.subarray(0, MiB))
  await writer.append(data.subarray(MiB))
  await writer.datasync()
  await writer.close()
  t.is(reopened, 1)
  t.is(Buffer.compare(await readFile(path), data), 0)
})

test('a direct write that fails is told by what comes after it', async t => {
  const slots = new AlignedSlots(2, lentBytesMax)
  const writer = new DirectWriter(await openFile('/dev/full', 'w'), slots, () => openFile('/dev/null', 'w'))
  const data = Buffer.alloc(3 * lentBytesMax)
  const failed = writer.append(data).then(() => writer.append(data))
  await t.throwsAsync(failed, { code: 'ENOSPC' })
  await t.throwsAsync(writer.datasync(), { code: 'ENOSPC' })
  await writer.close()
  // All slots are back.
  for (const { release } of await Promise.all([slots.take(), slots.take()])) release()
  t.pass()
})

test('a slot that is released goes to who waits longest', async t => {
  const slots = new AlignedSlots(1, sectorBytes)
  const first = await slots.take()
  const order: number[] = []
  const waiting = [1, 2].map(async number => {
    const slot = await slots.take()
    order.push(number)
    slot.release()
  })
  await Promise.resolve()
  t.deepEqual(order, [])
  first.release()
  await Promise.all(waiting)
  t.deepEqual(order, [1, 2])
  t.throws(() => first.release(), { message: /twice/ })
})

test('a block counts as popular when all of it was read and it is read again', t => {
  const popular = new PopularBlocks()
  const id = 'ab'.repeat(32) as BlockId
  t.false(popular.note(id, 0, 100))
  t.false(popular.note(id, 60, 100))
  t.false(popular.note(id, 60, 100))
  t.true(popular.note(id, 1, 100))
  for (let other = 0; other < 5000; other++) popular.note(other.toString(16) as BlockId, 100, 100)
  t.false(popular.note(id, 1, 100))
})
