import test, { type ExecutionContext } from 'ava'
import Sqlite, { type Database } from 'better-sqlite3'
import { BlockIndex } from '#src/chunkserver/blocks/block-index.ts'
import { BlockStore } from '#src/chunkserver/blocks/block-store.ts'
import { openMemoryIndex } from '#src/chunkserver/blocks/open-index.ts'
import { blockIdOf } from '#src/core/checksum.ts'
import { FsError, UsageError } from '#src/core/errors.ts'
import type { BlockId } from '#src/core/ids.ts'
import { KiB } from '#src/core/units.ts'
import { realEnv } from '#src/env/real-env.ts'
import { instanceBytes } from '#src/master/nodes/inventory-digest.ts'
import { type DiskWeather, MemoryDisk } from './support/memory-disk.ts'
import { type TestBlock, testBlock } from './support/test-client.ts'
import { checksums, directLane, quietLog } from './support/test-node.ts'

/** A machine whose power can be cut before any operation of its disk. Its index loses no commit. */
class Machine implements DiskWeather {
  readonly disk = new MemoryDisk(this)
  readonly #survivors: 'none' | 'all' | 'some'
  #database: Database = openMemoryIndex()
  #operations = 0
  #cutAt = Infinity
  #asked = 0
  #cut: () => void = () => undefined

  constructor(survivors: 'none' | 'all' | 'some') {
    this.#survivors = survivors
  }

  async before(): Promise<void> {
    if (++this.#operations < this.#cutAt) return
    this.#cut()
    await new Promise(() => undefined)
  }

  survives(): boolean {
    return this.#survivors === 'all' || (this.#survivors === 'some' && this.#asked++ % 2 === 0)
  }

  /** Runs until done (true) or until the power fails before the nth operation from now (false). */
  async run(cutAfter: number, work: () => Promise<void>): Promise<boolean> {
    this.#cutAt = this.#operations + cutAfter
    const cut = new Promise<boolean>(resolve => {
      this.#cut = () => resolve(false)
    })
    const done = await Promise.race([work().then(() => true), cut])
    this.#cutAt = Infinity
    if (!done) {
      // The engine of the dead process holds the old handle, if anything.
      this.#database = new Sqlite(this.#database.serialize())
      this.disk.powerCut()
    }
    return done
  }

  /** The index goes back to what it was before anything was stored. */
  loseRows(): void {
    this.#database = new Sqlite(this.#database.serialize())
    this.#database.exec(
      'DELETE FROM block; DELETE FROM change; DELETE FROM bucket; UPDATE store SET blocks = 0, files = 0, bytes = 0',
    )
  }

  open(): Promise<BlockStore> {
    const index = new BlockIndex(directLane(() => this.#database))
    return BlockStore.open({ env: realEnv(quietLog), disk: this.disk, index, checksums })
  }
}

/** What was answered to a user of the store. */
class Answered {
  readonly present = new Map<BlockId, TestBlock>()
  readonly absent = new Map<BlockId, TestBlock>()

  async put(store: BlockStore, block: TestBlock, generation: bigint): Promise<void> {
    this.absent.delete(block.id)
    if (block.length > 64 * KiB) {
      const file = store.receive()
      await file.append(block.data.subarray(0, 70 * KiB))
      await file.append(block.data.subarray(70 * KiB))
      await store.putFile(block, generation, file)
    } else await store.putRow(block, generation, block.data)
    this.present.set(block.id, block)
  }

  async remove(store: BlockStore, block: TestBlock, generation: bigint): Promise<void> {
    this.present.delete(block.id)
    await store.remove(block.id, generation)
    this.absent.set(block.id, block)
  }
}

const [first, second, third] = [testBlock(200 * KiB, 1), testBlock(3 * KiB, 2), testBlock(100 * KiB, 3)]

async function life(store: BlockStore, answered: Answered): Promise<void> {
  await answered.put(store, first, 10n)
  await Promise.all([answered.put(store, second, 11n), answered.put(store, third, 12n)])
  await answered.put(store, first, 13n)
  await answered.remove(store, second, 11n)
  await answered.remove(store, first, 13n)
  await answered.put(store, first, 14n)
  await store.maintain()
  await answered.remove(store, third, 12n)
  await store.maintain()
}

async function has(store: BlockStore, block: TestBlock): Promise<boolean> {
  try {
    const reader = await store.read(block.id)
    const { bytes } = await reader.read(0, block.length)
    await reader.close()
    return Buffer.compare(bytes, block.data) === 0
  } catch (error) {
    if (error instanceof FsError && error.code === 'ENOENT') return false
    throw error
  }
}

/** What must hold after every opening. */
async function check(
  t: ExecutionContext,
  machine: Machine,
  store: BlockStore,
  answered: Answered,
): Promise<void> {
  for (const block of answered.present.values()) t.true(await has(store, block), 'what was answered is there')
  for (const block of answered.absent.values()) t.false(await has(store, block), 'what was removed stays so')
  t.deepEqual([...store.damages], [])
  const { blocks } = await store.index.ask('bucket', { prefixBits: 0, bucket: 0 })
  for (const { id } of blocks) {
    const reader = await store.read(id)
    t.true(await store.verify(reader), 'every row has the right bytes')
    await reader.close()
  }
  const { digests } = await store.index.ask('digest', { prefixBits: 0 })
  const hashes = blocks.map(({ id, generation, length }) =>
    checksums.xxh64(instanceBytes(Buffer.from(id, 'hex'), generation, length)),
  )
  t.deepEqual(digests, [hashes.reduce((all, hash) => all ^ hash, 0n)])
  const large = blocks
    .filter(({ length }) => length > 64 * KiB)
    .map(({ id }) => `blocks/${id.slice(0, 2)}/${id}`)
  t.deepEqual(machine.disk.paths(), [...large.sort(), 'store-id'], 'no file is left without a row')
  t.is(store.totals.blocks, blocks.length)
  t.is(store.totals.files, large.length)
}

for (const survivors of ['none', 'all', 'some'] as const)
  test(`nothing that was answered is lost when the power fails at any moment and ${survivors} of the rest survives`, async t => {
    for (let cutAfter = 1; ; cutAfter++) {
      const machine = new Machine(survivors)
      const answered = new Answered()
      const before = await machine.open()
      const done = await machine.run(cutAfter, () => life(before, answered))
      const store = await machine.open()
      await check(t, machine, store, answered)
      // And it goes on working.
      await answered.put(store, second, 20n)
      await answered.put(store, first, 21n)
      await check(t, machine, store, answered)
      if (done) break
    }
  })

test('the power may fail again while the store recovers', async t => {
  for (let cutAfter = 1; ; cutAfter++) {
    const machine = new Machine('some')
    const answered = new Answered()
    const before = await machine.open()
    // A file is renamed but has no row yet, another one's row is gone, but not its file.
    await machine.run(29, () => life(before, answered))
    const done = await machine.run(cutAfter * 20, async () => {
      await machine.open()
    })
    await check(t, machine, await machine.open(), answered)
    if (done) break
  }
})

test('the power may fail while the folder is made', async t => {
  for (let cutAfter = 1; ; cutAfter += 50) {
    const machine = new Machine('some')
    const done = await machine.run(cutAfter, async () => {
      await machine.open()
    })
    const answered = new Answered()
    const store = await machine.open()
    await answered.put(store, first, 10n)
    await check(t, machine, store, answered)
    if (done) break
  }
})

test('a changed byte and a lost file are found, and stored anew by the next put', async t => {
  const machine = new Machine('none')
  const store = await machine.open()
  const answered = new Answered()
  await answered.put(store, first, 10n)
  const path = `blocks/${first.id.slice(0, 2)}/${first.id}`
  machine.disk.rot(path, data => {
    data[100_000] = (data[100_000] ?? 0) ^ 1
    return data
  })
  const reader = await store.read(first.id)
  t.false(await store.verify(reader))
  await answered.put(store, first, 11n)
  t.true(await has(store, first))
  await machine.disk.unlink(path)
  await t.throwsAsync(store.read(first.id), { code: 'EIO' })
  t.is([...store.damages][0]?.generation, 11n)
  await answered.put(store, first, 12n)
  t.true(await has(store, first))
  t.deepEqual([...store.damages], [])
})

test('a file shorter than its block is EIO, not a crash', async t => {
  const machine = new Machine('none')
  const store = await machine.open()
  await new Answered().put(store, first, 10n)
  machine.disk.rot(`blocks/${first.id.slice(0, 2)}/${first.id}`, data => data.subarray(0, 1000))
  const reader = await store.read(first.id)
  await t.throwsAsync(reader.read(0, first.length), { code: 'EIO' })
})

test('the highest generation wins and only it can be deleted', async t => {
  const machine = new Machine('none')
  const store = await machine.open()
  for (const block of [first, second]) {
    const put = async (generation: bigint): Promise<bigint> => {
      if (block === second) return store.putRow(block, generation, block.data)
      const file = store.receive()
      await file.append(block.data)
      return store.putFile(block, generation, file)
    }
    t.is(await put(10n), 10n)
    t.is(await put(8n), 10n)
    t.is(await put(12n), 12n)
    t.deepEqual(await Promise.all([put(13n), put(11n), put(14n)]), [13n, 13n, 14n])
    await store.remove(block.id, 12n)
    t.true(await has(store, block))
    await store.remove(block.id, 14n)
    t.false(await has(store, block))
    await store.remove(block.id, 14n)
  }
})

test('an emptied folder is refused instead of reporting all of it as lost', async t => {
  const machine = new Machine('none')
  const store = await machine.open()
  await new Answered().put(store, first, 10n)
  for (const path of machine.disk.paths()) await machine.disk.unlink(path)
  await t.throwsAsync(machine.open(), { instanceOf: UsageError, message: /1 blocks in files.*none/ })
})

test('block files without an index are refused instead of forgotten', async t => {
  const machine = new Machine('none')
  await new Answered().put(await machine.open(), first, 10n)
  const other = new BlockIndex(directLane(openMemoryIndex))
  const opening = BlockStore.open({ env: realEnv(quietLog), disk: machine.disk, index: other, checksums })
  await t.throwsAsync(opening, { instanceOf: UsageError, message: /no index/ })
})

test('an index of a newer format is refused', async t => {
  const database = openMemoryIndex()
  const disk = new MemoryDisk()
  const open = (): Promise<BlockStore> =>
    BlockStore.open({
      env: realEnv(quietLog),
      disk,
      index: new BlockIndex(directLane(() => database)),
      checksums,
    })
  await open()
  database.pragma('user_version = 2')
  await t.throwsAsync(open(), { instanceOf: UsageError, message: /format 2, this program knows up to 1/ })
})

test('files whose rows were lost are adopted by their id, or kept where only a dedup domain could prove them', async t => {
  const machine = new Machine('none')
  const plain = testBlock(200 * KiB, 1)
  const id = blockIdOf(plain.data, Buffer.alloc(16, 7))
  const own = { ...plain, id, checksums: checksums.make(id, plain.data) }
  const store = await machine.open()
  const answered = new Answered()
  await answered.put(store, plain, 10n)
  await answered.put(store, own, 11n)
  // What no block can be goes, as what is unfinished does.
  const stub = await machine.disk.create(`blocks/ff/${'f'.repeat(64)}`)
  await stub.append(Buffer.alloc(10))
  await stub.close()
  machine.loseRows()

  const later = await machine.open()
  const files = [plain, own].map(({ id }) => `blocks/${id.slice(0, 2)}/${id}`)
  t.deepEqual(machine.disk.paths(), [...files.sort(), 'store-id'])
  t.deepEqual([...later.unproven.keys()], [own.id])
  t.true(await has(later, plain))
  t.false(await has(later, own), 'what is not proven is not read')
  t.is(later.totals.blocks, 1, 'nor told of')
  await later.maintain()
  const path = `blocks/${own.id.slice(0, 2)}/${own.id}`
  await machine.disk.unlink(path)
  const changed = await machine.disk.create(path)
  await changed.append(Buffer.from(own.data).fill(1, 5, 6))
  await changed.datasync()
  await changed.close()
  const again = await machine.open()
  t.deepEqual(machine.disk.paths(), [...files, 'store-id'], 'and stays, however often the node starts')
  t.is(again.unproven.get(own.id)?.sha256, plain.id, 'nor is all of it read again for that')
  await answered.put(again, own, 12n)
  t.true(await has(again, own))
  t.deepEqual([...again.unproven], [])
  await check(t, machine, await machine.open(), answered)
  await again.remove(own.id, 12n)
  t.deepEqual(machine.disk.paths(), [files.find(path => path.endsWith(plain.id)), 'store-id'])
})

test('a file that only a dedup domain proves is a block by the word of the master, if it still is what it was', async t => {
  const machine = new Machine('none')
  const answered = new Answered()
  const store = await machine.open()
  const inDomain = (seed: number): TestBlock => {
    const plain = testBlock(200 * KiB, seed)
    const id = blockIdOf(plain.data, Buffer.alloc(16, 7))
    return { ...plain, id, checksums: checksums.make(id, plain.data) }
  }
  const [own, other] = [inDomain(1), inDomain(2)]
  await answered.put(store, own, 10n)
  await answered.put(store, other, 11n)
  machine.loseRows()
  const later = await machine.open()
  t.deepEqual([...later.unproven.keys()].sort(), [own.id, other.id].sort())
  t.false(await later.adopt(testBlock(200 * KiB, 3).id), 'what is not there is not stored')
  t.true(await later.adopt(own.id))
  t.true(await has(later, own))
  t.is(later.totals.blocks, 1)
  t.is((await later.index.ask('lookup', { id: own.id }))?.generation, 1n)
  t.false(await later.adopt(own.id), 'once')
  // A bit of the other one flips after it was asked about.
  const path = `blocks/${other.id.slice(0, 2)}/${other.id}`
  await machine.disk.unlink(path)
  const rotten = await machine.disk.create(path)
  await rotten.append(Buffer.from(other.data).fill(1, 5, 6))
  await rotten.datasync()
  await rotten.close()
  t.false(await later.adopt(other.id))
  t.false(await has(later, other))
  t.deepEqual([...later.unproven.keys()], [other.id])
})
