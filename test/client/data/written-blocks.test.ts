import fc from 'fast-check'
import test from 'ava'
import { BlockCache } from '#src/client/cache/block-cache.ts'
import { WrittenBlocks } from '#src/client/cache/written-blocks.ts'
import { blockIdOf } from '#src/core/checksum.ts'
import { ino } from '#src/core/ids.ts'
import { pieceBytes } from '#src/core/limits.ts'
import { taken } from '#src/core/read-bytes.ts'
import { harness, pattern } from './harness.ts'

test('what is kept is what was written, the oldest go first, and what is looked at stays', t => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({ length: fc.integer({ min: 0, max: 90 }), look: fc.boolean(), letGo: fc.boolean() }),
      ),
      steps => {
        const kept = new WrittenBlocks(256, 100)
        const all: { id: ReturnType<typeof blockIdOf>; bytes: Buffer }[] = []
        const held: { piece: { bytes: Uint8Array; release(): void }; bytes: Buffer }[] = []
        for (const [seed, { length, look, letGo }] of steps.entries()) {
          const bytes = pattern(length, seed)
          const id = blockIdOf(bytes)
          kept.keep(id, bytes)
          all.push({ id, bytes })
          const piece = kept.get(id)
          if (length === 0 || length > 64) t.is(piece, undefined)
          if (letGo) held.pop()?.piece.release()
          if (look && piece !== undefined) {
            piece.hold()
            held.push({ piece, bytes })
          }
          let total = 0
          for (const one of all) {
            const found = kept.get(one.id)
            if (found === undefined) continue
            t.deepEqual(Buffer.from(found.bytes), one.bytes)
            total += found.cost
          }
          t.true(total <= 256)
          for (const { piece: each, bytes: expected } of held) t.deepEqual(Buffer.from(each.bytes), expected)
        }
      },
    ),
  )
  const kept = new WrittenBlocks(256, 100)
  const ids = [0, 1, 2, 3, 4].map(seed => {
    const bytes = pattern(60, seed)
    kept.keep(blockIdOf(bytes), bytes)
    return blockIdOf(bytes)
  })
  t.deepEqual(
    ids.map(id => kept.get(id) !== undefined),
    [false, true, true, true, true],
  )
})

test('of very small blocks no more are kept than what is known of them may take', t => {
  const kept = new WrittenBlocks(1 << 20, 10)
  const ids = Array.from({ length: 25 }, (_, seed) => {
    const bytes = pattern(60, seed)
    kept.keep(blockIdOf(bytes), bytes)
    return blockIdOf(bytes)
  })
  t.deepEqual(
    ids.map(id => kept.get(id) !== undefined),
    ids.map((_, at) => at >= 15),
  )
})

test('a block of more than one piece is not kept', t => {
  const cache = new BlockCache(1 << 20, 1 << 20)
  for (const length of [pieceBytes, pieceBytes + 1]) {
    const bytes = pattern(length, 1)
    cache.keep(blockIdOf(bytes), bytes)
    t.is(cache.get(blockIdOf(bytes)) !== undefined, length === pieceBytes)
  }
})

test('who wrote a small file reads it without asking anybody', async t => {
  const { env, data, nodes } = await harness({ nodes: 3, writtenBytes: 1 << 20 })
  const one = ino(7n)
  const bytes = pattern(5000, 3)
  await env.run(data.file(one).write(0, bytes))
  await env.run(data.file(one).flush())
  data.file(one).dropClean()
  for (const node of nodes.nodes) node.gets = node.smallGets = 0
  const read = await env.run(data.file(one).read(0, 6000))
  t.deepEqual(taken(read), bytes)
  t.deepEqual(
    nodes.nodes.map(({ gets, smallGets }) => gets + smallGets),
    [0, 0, 0],
  )
})
