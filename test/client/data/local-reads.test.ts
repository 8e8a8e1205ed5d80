import test from 'ava'
import { ino } from '#src/core/ids.ts'
import { taken } from '#src/core/read-bytes.ts'
import { KiB, MiB } from '#src/core/units.ts'
import { type Harness, harness, pattern } from './harness.ts'

// Reads go backwards where nothing shall be read ahead.

/** A mount that reads the files of a node on its machine past it. */
const file1 = ino(7n)
const blockBytes = 256 * KiB
const bytes = pattern(4 * MiB, 1)

/** A stored file, and node 1 on this machine, which has a copy of every block and has told where its files are. */
async function stored(options: { cacheBytes?: number; told?: Buffer } = {}) {
  const { told, ...rest } = options
  const world = await harness({ blockBytes, localNode: 1, nodes: 3, ...rest })
  const { env, nodes, data } = world
  const [near] = nodes.nodes
  if (near === undefined) throw new Error('no node')
  if (told !== undefined) near.told = told
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  // Asked for over the wire, since nothing is known of the nodes yet; what the master tells of them, too.
  file.forgetExtents()
  await read(world, 0, 4 * KiB)
  await env.pass(500)
  near.gets = near.getBytes = 0
  return { ...world, near, file }
}

async function read({ env, data }: Harness, offset: number, size: number): Promise<Buffer> {
  return taken(await env.run(data.file(file1).read(offset, size)))
}

test('what a node on this machine has is read from its files, each block asked for once', async t => {
  const world = await stored({ cacheBytes: 1 * MiB })
  for (let round = 0; round < 2; round++)
    for (let at = 1 * MiB; at < bytes.length; at += 64 * KiB)
      t.true((await read(world, at, 64 * KiB)).equals(bytes.subarray(at, at + 64 * KiB)), `bytes at ${at}`)
  await world.env.pass(100)
  t.true(world.near.fileBytes >= 6 * MiB, `${world.near.fileBytes} bytes from files`)
  t.is(
    world.nodes.nodes.reduce((sum, node) => sum + node.getBytes, 0),
    0,
  )
  const blocks = (3 * MiB) / blockBytes
  t.true(world.near.gets <= blocks, `${world.near.gets} questions about ${blocks} blocks`)
})

test('a random read of a file takes one piece from it', async t => {
  const world = await stored()
  const at = 3 * MiB + 100 * KiB
  t.true((await read(world, at, 4096)).equals(bytes.subarray(at, at + 4096)))
  await world.env.pass(100)
  t.is(world.near.fileBytes, 64 * KiB)
})

test('a random read of an open file of a quick disk is answered at once', async t => {
  const world = await stored()
  const { env, near, file } = world
  // Two blocks of which a piece was read are open.
  await read(world, 3 * MiB + 3 * 64 * KiB, 4096)
  await read(world, 2 * MiB + 7 * 64 * KiB, 4096)
  near.quick = true
  near.fileBytes = near.gets = 0
  for (const at of [3 * MiB + 130 * KiB, 2 * MiB + 4 * 64 * KiB + 5000]) {
    const found = file.read(at, 4096)
    t.false(found instanceof Promise)
    t.true(taken(await found).equals(bytes.subarray(at, at + 4096)))
  }
  // More than one piece is read as ever.
  const at = 3 * MiB + 64 * KiB - 2000
  t.true((await read(world, at, 4096)).equals(bytes.subarray(at, at + 4096)))
  await env.pass(100)
  t.is(near.fileBytes, 4 * 64 * KiB)
  t.is(near.gets, 0)
})

test('what is read at once and is not right is not served', async t => {
  for (const spoil of [
    (block: Buffer) => (block[2 * 64 * KiB + 7] = (block[2 * 64 * KiB + 7] ?? 0) ^ 1),
    undefined,
  ]) {
    const world = await stored()
    const { env, near } = world
    await read(world, 3 * MiB, 4096)
    near.quick = true
    if (spoil === undefined) near.tooShort = true
    else for (const block of near.blocks.values()) spoil(block)
    const at = 3 * MiB + 2 * 64 * KiB
    t.true((await read(world, at, 4096)).equals(bytes.subarray(at, at + 4096)))
    await env.pass(100)
    t.is(world.master.damage.length > 0, spoil !== undefined)
  }
})

test('a damaged file is not served: another copy is, and the master hears of it', async t => {
  const world = await stored()
  for (const block of world.near.blocks.values()) block[70_000] = (block[70_000] ?? 0) ^ 1
  const from = 1 * MiB
  t.true((await read(world, from, 1 * MiB)).equals(bytes.subarray(from, from + 1 * MiB)))
  await world.env.pass(100)
  t.true(world.near.fileBytes > 0)
  t.true(world.master.damage.length > 0)
  t.true(world.master.damage.every(node => node === 1n))
})

for (const [what, spoil] of [
  ['cannot be opened', near => (near.unreadable = true)],
  [
    'is cut short',
    near => {
      for (const [id, block] of near.blocks) near.blocks.set(id, block.subarray(0, 130 * KiB))
    },
  ],
  ['is gone, with its node', near => (near.down = true)],
] satisfies [string, (near: Awaited<ReturnType<typeof stored>>['near']) => void][])
  test(`where a file ${what}, the bytes come from elsewhere`, async t => {
    const world = await stored()
    spoil(world.near)
    const from = 1 * MiB
    t.true((await read(world, from, 2 * MiB)).equals(bytes.subarray(from, from + 2 * MiB)))
  })

test('a folder with another proof is not the one that the node means', async t => {
  const world = await stored({ told: Buffer.from('other') })
  t.true((await read(world, 1 * MiB, 1 * MiB)).equals(bytes.subarray(1 * MiB, 2 * MiB)))
  t.is(world.near.fileBytes, 0)
})

test('what was read stays as it is until it is passed on, whatever is read meanwhile', async t => {
  const world = await stored({ cacheBytes: 1 * MiB })
  const { env, file, near } = world
  const lent = await Promise.all([0, 1, 2].map(n => env.run(file.read(1 * MiB + n * 128 * KiB, 128 * KiB))))
  for (let at = 2 * MiB; at < bytes.length; at += 256 * KiB) await read(world, at, 256 * KiB)
  for (const [n, found] of lent.entries()) {
    const from = 1 * MiB + n * 128 * KiB
    t.true(taken(found).equals(bytes.subarray(from, from + 128 * KiB)))
  }
  // Memory that was given back serves again: nothing had to come over the wire.
  for (let at = 1 * MiB; at < bytes.length; at += 64 * KiB) await read(world, at, 64 * KiB)
  t.is(near.getBytes, 0)
})
