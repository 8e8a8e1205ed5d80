import test from 'ava'
import { createChecksums } from '#src/core/checksum.ts'
import { FsError } from '#src/core/errors.ts'
import type { Codec, StreamDef } from '#src/core/network.ts'
import { SimDisk, DiskPlatter } from '#src/sim/world/sim-disk.ts'
import { SimLane } from '#src/sim/world/sim-lane.ts'
import { Prng } from '#src/sim/world/prng.ts'
import { World } from '#src/sim/world/world.ts'

const text: Codec<string> = {
  encode: line => Buffer.from(line),
  decode: bytes => Buffer.from(bytes).toString(),
}
const lines: StreamDef<string, string> = { path: '/test/Lines', up: text, down: text }

async function worldOf(seed: number): Promise<World> {
  return new World(seed, await createChecksums(), () => undefined)
}

test('frames keep their order through cuts, pauses and slow ways, or the link ends', async t => {
  for (let seed = 1; seed <= 20; seed++) {
    const world = await worldOf(seed)
    const prng = new Prng(seed)
    Object.assign(world.network.weather, { slow: 0.1, cut: seed % 2 === 0 ? 0.01 : 0 })
    const [a, b] = [world.start('a', { aheadNs: 0n }), world.start('b', { aheadNs: 0n })]
    const got: string[] = []
    const ends: string[] = []
    await world.network.of(b).listen('b:1', serving =>
      serving.stream(lines, link => {
        link.onFrame(line => {
          got.push(line)
          if (prng.chance(0.2)) {
            link.pause()
            b.schedule(prng.between(0, 50), () => link.resume())
          }
        })
        link.onClose(() => ends.push('b'))
      }),
    )
    const link = world.network.of(a).dial('b:1', lines)
    link.onFrame(() => undefined)
    link.onClose(() => ends.push('a'))
    for (let n = 0; n < 100; n++) a.schedule(n * 5, () => link.send(String(n)))
    a.schedule(100, () => world.network.setCut('a', 'b', true))
    a.schedule(100 + prng.between(0, 2000), () => world.network.setCut('a', 'b', false))
    await world.timeline.run(60_000, () => false)
    t.deepEqual(
      got,
      Array.from({ length: got.length }, (_, n) => String(n)),
    )
    if (ends.length === 0) t.is(got.length, 100)
    t.is(world.failure, undefined)
  }
})

test('a cut that lasts ends even a silent link at both ends', async t => {
  const world = await worldOf(1)
  const [a, b] = [world.start('a', { aheadNs: 0n }), world.start('b', { aheadNs: 0n })]
  const ends: string[] = []
  await world.network.of(b).listen('b:1', serving =>
    serving.stream(lines, link => {
      link.onFrame(() => undefined)
      link.onClose(error => ends.push(`b ${error?.code ?? ''}`))
    }),
  )
  const link = world.network.of(a).dial('b:1', lines)
  link.onFrame(() => undefined)
  link.onClose(error => ends.push(`a ${error?.code ?? ''}`))
  a.schedule(1000, () => world.network.setCut('b', 'a', true))
  await world.timeline.run(30_000, () => false)
  t.deepEqual(ends.sort(), ['a ECONNRESET', 'b ECONNRESET'])
})

test('what a handler throws by mistake fails the run', async t => {
  const world = await worldOf(1)
  const [a, b] = [world.start('a', { aheadNs: 0n }), world.start('b', { aheadNs: 0n })]
  await world.network.of(b).listen('b:1', serving =>
    serving.stream(lines, link => {
      link.onFrame(line => {
        throw line === 'answer' ? new FsError('EPROTO') : new TypeError('a bug')
      })
      link.onClose(() => undefined)
    }),
  )
  const send = (line: string) => {
    const link = world.network.of(a).dial('b:1', lines)
    link.onFrame(() => undefined)
    link.onClose(() => undefined)
    link.send(line)
  }
  send('answer')
  await world.timeline.run(1000, () => false)
  t.is(world.failure, undefined)
  send('mistake')
  await world.timeline.run(2000, () => false)
  t.is(world.failure?.invariant, 'no component fails')
})

test('a power cut keeps what was synced, and of the rest anything', async t => {
  const outcomes = new Set<string>()
  for (let seed = 1; seed <= 60; seed++) {
    const world = await worldOf(seed)
    const env = world.start('node', { aheadNs: 0n })
    const platter = new DiskPlatter(new Prng(seed), 1_000_000)
    const disk = new SimDisk(env, platter)
    const work = async () => {
      await disk.makeFolder('f')
      const kept = await disk.create('f/kept')
      await kept.append(Buffer.from('synced'))
      await kept.datasync()
      await disk.syncFolder('f')
      await kept.append(Buffer.from('not'))
      const fresh = await disk.create('f/fresh')
      await fresh.append(Buffer.from('new'))
    }
    world.background(work())
    await world.timeline.run(10_000, () => false)
    platter.cutPower()
    const after = new SimDisk(world.start('node', { aheadNs: 0n }), platter)
    let found = ''
    const look = async () => {
      for (const name of (await after.list('f')).sort()) {
        const file = await after.open(`f/${name}`)
        found += `${name}=${Buffer.from((await file.read(0, 100)).bytes).toString()} `
      }
    }
    world.background(look())
    await world.timeline.run(20_000, () => false)
    t.is(world.failure, undefined)
    t.regex(found, /kept=synced(n|no|not|\0+|n\0+|no\0)? $/)
    outcomes.add(found)
  }
  t.true(outcomes.size > 3)
})

test('a batch whose machine stops has happened wholly or not at all, and nobody hears of it', async t => {
  const counts = new Set<number>()
  for (const committed of [true, false]) {
    const world = await worldOf(1)
    const env = world.start('master', { aheadNs: 0n })
    let applied = 0
    let answered = 0
    const lane = new SimLane<number, number>(
      env,
      () => 10,
      batch => {
        applied += batch.length
        return [...batch]
      },
    )
    const run = async () => {
      await lane.run([1, 2])
      answered += 1
      await lane.run([3, 4])
      answered += 1
    }
    world.background(run())
    world.timeline.after(15, () => {
      env.crash()
      lane.stop(committed)
    })
    await world.timeline.run(100, () => false)
    t.is(answered, 1)
    counts.add(applied)
  }
  t.deepEqual([...counts].sort(), [2, 4])
})
