/** Random writes, truncations, punches, flushes and reads of a file against an array of bytes. */
import test from 'ava'
import { ino } from '#src/core/ids.ts'
import { taken } from '#src/core/read-bytes.ts'
import { KiB } from '#src/core/units.ts'
import { type Harness, harness, pattern } from './harness.ts'

const file1 = ino(7n)
const fileMax = 24 * KiB

interface World extends Harness {
  model: Buffer
  readonly seed: number
}

const below = (world: World, bound: number): number => Math.floor(world.random() * bound)

function setModel(world: World, size: number): void {
  const grown = Buffer.alloc(size)
  world.model.copy(grown)
  world.model = grown
}

async function write(world: World): Promise<void> {
  const { env, data, model } = world
  const { length } = model
  const offset = world.random() < 0.5 ? length : below(world, fileMax)
  const size = 1 + below(world, world.random() < 0.2 ? 9 * KiB : 1500)
  if (offset + size > fileMax) return
  const bytes = pattern(size, below(world, 1_000_000))
  await env.run(Promise.resolve(data.file(file1).write(offset, bytes)))
  setModel(world, Math.max(length, offset + size))
  bytes.copy(world.model, offset)
}

/** As the metadata side does it. */
async function truncate(world: World): Promise<void> {
  const { env, data, master } = world
  const size = below(world, fileMax)
  const file = data.file(file1)
  await env.run(file.cutTo(size))
  await env.run(master.truncate(file1, size))
  file.cutEnded()
  file.forgetExtents()
  setModel(world, size)
}

async function punch(world: World): Promise<void> {
  const { env, data, master, model } = world
  const file = data.file(file1)
  try {
    await env.run(file.flush())
  } catch {
    return
  }
  const from = below(world, fileMax)
  const to = from + below(world, 5000)
  await env.run(master.punch(file1, from, to))
  file.forgetExtents()
  model.fill(0, Math.min(from, model.length), Math.min(to, model.length))
}

async function read(world: World): Promise<string | undefined> {
  const { env, data, model } = world
  const offset = below(world, fileMax)
  const size = 1 + below(world, fileMax)
  const got = taken(await env.run(data.file(file1).read(offset, size)))
  const expected = model.subarray(offset, offset + size)
  if (got.equals(expected)) return undefined
  const at = got.findIndex((byte, index) => byte !== expected[index])
  return `read ${size} at ${offset}: ${got.length} of ${expected.length} bytes, first difference at ${offset + at}`
}

/** Where the first zero run of a hole may be reported is the extents' matter; data must never be skipped. */
async function seek(world: World): Promise<string | undefined> {
  const { env, data, model } = world
  const offset = below(world, fileMax)
  const seeking = data.file(file1).seek(offset, 'data')
  const found = await env.run(seeking.catch(() => model.length))
  if (model.subarray(offset, Math.max(offset, found)).some(byte => byte !== 0))
    return `SEEK_DATA from ${offset} skipped data before ${found}`
  const holeAt = await env.run(
    data
      .file(file1)
      .seek(offset, 'hole')
      .catch(() => -1),
  )
  if (holeAt === -1) return offset < model.length ? 'SEEK_HOLE fails within the file' : undefined
  if (holeAt < offset || holeAt > model.length)
    return `SEEK_HOLE from ${offset} finds ${holeAt} of ${model.length}`
  if (holeAt < model.length && model[holeAt] !== 0) return `SEEK_HOLE from ${offset} finds data at ${holeAt}`
  return undefined
}

async function run(seed: number, faulty: boolean): Promise<string | undefined> {
  const made = await harness({
    seed,
    blockBytes: 4 * KiB,
    writeBytes: 20 * KiB,
    cacheBytes: 8 * KiB,
    readAheadBytes: 8 * KiB,
    giveUpMs: 2000,
    putStallMs: 3000,
    getStallMs: 3000,
  })
  const world: World = Object.assign(made, { model: Buffer.alloc(0), seed })
  const { env, data, master, nodes, random } = world
  const pending: Promise<unknown>[] = []
  if (faulty) {
    Object.assign(nodes.faults, {
      refusePut: 0.1,
      closeLink: 0.02,
      corruptGet: 0.05,
      missGet: 0.05,
      hang: 0.01,
    })
    Object.assign(master.faults, { planFails: 0.1, commitFails: 0.1, again: 0.1 })
  }
  nodes.faults.maxDelayMs = random() * 50
  master.faults.maxDelayMs = random() * 50
  const file = data.file(file1)
  for (let step = 0; step < 60; step++) {
    const dice = random()
    let wrong: string | undefined
    if (dice < 0.4)
      try {
        await write(world)
      } catch {
        // Memory is full of what cannot be stored now: the write was refused as a whole.
      }
    else if (dice < 0.5) pending.push(file.flush().catch(() => undefined))
    else if (dice < 0.6) await truncate(world)
    else if (dice < 0.63) await punch(world)
    else if (dice < 0.68) file.flushSoon()
    else if (dice < 0.75) await env.pass(random() * 200)
    else if (dice < 0.77) await env.pass(6000)
    else if (dice < 0.82) wrong = await seek(world)
    else wrong = await read(world).catch((thrown: unknown) => (faulty ? undefined : String(thrown)))
    if (wrong !== undefined) return `step ${step}: ${wrong}`
    const { size } = file.overlay(master.committed(file1))
    if (size !== world.model.length) return `step ${step}: size ${size}, ${world.model.length} expected`
  }
  Object.assign(nodes.faults, { refusePut: 0, closeLink: 0, corruptGet: 0, missGet: 0, hang: 0 })
  Object.assign(master.faults, { planFails: 0, commitFails: 0, again: 0 })
  await env.run(Promise.all(pending))
  await env.pass(20_000)
  await env.run(file.flush())
  if (!master.contentOf(file1).equals(world.model)) return 'the cluster has other bytes than were written'
  if (data.dirtyBytes !== 0 || file.dirtyBytes !== 0) return `${data.dirtyBytes} bytes stay dirty`
  const last = await read(world)
  await env.run(data.close())
  return last
}

const seeds = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i)

test('a file is what was written to it, whatever happens in between', async t => {
  for (const seed of seeds(1, 60)) t.is(await run(seed, false), undefined, `seed ${seed}`)
})

test('a file is what was written to it, though nodes and master fail', async t => {
  for (const seed of seeds(1000, 60)) t.is(await run(seed, true), undefined, `seed ${seed}`)
})
