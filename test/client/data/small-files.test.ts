import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import { type Ino, ino } from '#src/core/ids.ts'
import { taken } from '#src/core/read-bytes.ts'
import { type Harness, type HarnessOptions, harness, pattern } from './harness.ts'

const count = 50
const files = Array.from({ length: count }, (_, index) => ({
  number: ino(BigInt(10 + index)),
  bytes: pattern(100 + index * 900, index),
}))

/** Files that were stored by another mount: this one knows their sizes. */
async function stored(options: HarnessOptions = {}): Promise<Harness> {
  const world = await harness({ nodes: 3, ...options })
  const { env, data, master, nodes } = world
  for (const { number, bytes } of files) {
    const file = data.file(number)
    await env.run(file.write(0, bytes))
    await env.run(file.flush())
    data.release(number)
  }
  // The streams for reading are there, and what the nodes speak is known.
  const first = ino(5n)
  for (let n = 0; n < 12; n++) {
    await env.run(data.file(first).write(n, pattern(100 + n, 77 + n)))
    await env.run(data.file(first).flush())
    data.release(first)
    await env.run(data.file(first).read(0, 200))
  }
  await env.pass(100)
  master.calls.length = 0
  for (const node of nodes.nodes) node.gets = node.smallGets = 0
  return world
}

const ahead = ({ data }: Harness): void => {
  data.prefetch(files.map(({ number, bytes }) => ({ ino: number, size: bytes.length })))
}

async function allRight({ env, data }: Harness): Promise<Ino[]> {
  const wrong: Ino[] = []
  for (const { number, bytes } of files) {
    const found = taken(await env.run(data.file(number).read(0, bytes.length + 10)))
    if (!found.equals(bytes)) wrong.push(number)
  }
  return wrong
}

const gets = ({ nodes }: Harness): number => nodes.nodes.reduce((sum, node) => sum + node.gets, 0)
const asked = ({ master }: Harness, call: string): number => master.calls.filter(one => one === call).length

test('files that are read ahead cost one question to the master and one to each node', async t => {
  const world = await stored()
  ahead(world)
  // Who comes while they are on their way waits for them.
  t.deepEqual(await allRight(world), [])
  t.is(gets(world), 0)
  t.true(world.nodes.nodes.every(node => node.smallGets <= 1))
  t.is(asked(world, 'getExtentsOf'), 1)
  t.is(asked(world, 'getExtents'), 0)
})

test('what the master leaves out, or a node has not, or sends damaged, is asked for alone', async t => {
  const world = await stored()
  const { master, nodes, env } = world
  const alone = files.slice(0, 7)
  for (const { number } of alone) master.left.add(number)
  for (const [index, node] of nodes.nodes.entries())
    for (const [at, [id, block]] of [...node.blocks].entries()) {
      if (at % 3 !== index) continue
      if (at % 2 === 0) node.blocks.delete(id)
      else block[0] = (block[0] ?? 0) ^ 1
    }
  ahead(world)
  t.deepEqual(await allRight(world), [])
  t.is(asked(world, 'getExtents'), alone.length)
  t.true(gets(world) > alone.length)
  await env.pass(100)
  t.true(master.damage.length > 0)
})

test('a node that dies or hangs with the question, and a master that fails, cost time alone', async t => {
  for (const spoil of ['dies', 'hangs', 'master'] as const) {
    const world = await stored()
    const [node] = world.nodes.nodes
    if (node === undefined) return t.fail()
    if (spoil === 'master') world.master.extentsFail = new FsError('ETIMEDOUT')
    ahead(world)
    await world.env.pass(1)
    if (spoil === 'dies') node.down = true
    if (spoil === 'hangs') node.frozen = true
    t.deepEqual(await allRight(world), [], spoil)
  }
})

test('with a node or a master of version 1 each is asked for alone', async t => {
  const world = await stored()
  world.master.facts = { ...world.master.facts, version: 1 }
  ahead(world)
  t.deepEqual(await allRight(world), [])
  t.is(asked(world, 'getExtentsOf'), 0)
  t.true(gets(world) >= count)
  const old = await harness({ nodes: 3 })
  for (const node of old.nodes.nodes) node.version = 1
  const { number, bytes } = files[3] ?? t.fail()
  await old.env.run(old.data.file(number).write(0, bytes))
  await old.env.run(old.data.file(number).flush())
  old.data.release(number)
  old.data.prefetch([{ ino: number, size: bytes.length }])
  t.true(taken(await old.env.run(old.data.file(number).read(0, bytes.length))).equals(bytes))
  t.true(old.nodes.nodes.every(node => node.smallGets === 0))
})

test('a file that another mount changed since is not shown as it was', async t => {
  const world = await stored()
  const { data, master, env } = world
  const { number } = files[9] ?? t.fail()
  ahead(world)
  // Its lease is recalled while the answer is on its way.
  data.file(number).forgetExtents()
  const fresh = pattern(300, 500)
  await env.run(data.file(number).write(0, fresh))
  await env.run(data.file(number).flush())
  const size = master.attrOf(number).size
  const found = taken(await env.run(data.file(number).read(0, size)))
  t.true(found.subarray(0, fresh.length).equals(fresh))
})
