import test from 'ava'
import fc from 'fast-check'
import { nodeId } from '#src/core/ids.ts'
import { chooseNodes, type NodeView } from '#src/master/placement/choose-nodes.ts'
import { writableBytes } from '#src/master/placement/writable-bytes.ts'

const node = (id: number, host: string, zone: string, freeBytes = 1e9): NodeView => ({
  id: nodeId(BigInt(id)),
  host,
  zone,
  freeBytes,
})
const wish = { length: 1e6, copies: 3, present: [], exclude: new Set<never>(), host: undefined }
const ids = (nodes: readonly NodeView[]): number[] => nodes.map(({ id }) => Number(id)).sort()

test('copies go to different zones, then hosts, and share a host only when there is no other', t => {
  const below = (bound: number): number => bound - 1
  const zoned = [node(1, 'a', 'x'), node(2, 'b', 'x'), node(3, 'c', 'y'), node(4, 'd', 'z')]
  const chosen = chooseNodes(zoned, wish, below)
  t.is(new Set(chosen.map(({ zone }) => zone)).size, 3)
  const oneZone = [node(1, 'a', 'x'), node(2, 'a', 'x'), node(3, 'b', 'x'), node(4, 'c', 'x')]
  t.is(new Set(chooseNodes(oneZone, wish, below).map(({ host }) => host)).size, 3)
  const oneHost = [node(1, 'a', 'x'), node(2, 'a', 'x'), node(3, 'a', 'x')]
  t.deepEqual(ids(chooseNodes(oneHost, wish, below)), [1, 2, 3])
})

test('the own host comes first, the full, excluded and present ones not at all', t => {
  const nodes = [node(1, 'a', 'x'), node(2, 'b', 'y'), node(3, 'c', 'z'), node(4, 'd', 'z', 10)]
  t.is(chooseNodes(nodes, { ...wish, host: 'c' }, () => 0)[0]?.id, nodeId(3n))
  t.deepEqual(ids(chooseNodes(nodes, { ...wish, exclude: new Set([nodeId(2n)]) }, () => 0)), [1, 3])
  t.deepEqual(ids(chooseNodes(nodes, { ...wish, present: [node(1, 'a', 'x')] }, () => 0)), [2, 3])
})

test('writable space is the most that can be placed, one unit after the other', t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 4 }),
      (free, copies) => {
        const left = [...free]
        let placed = 0
        for (;;) {
          // Always into the emptiest: optimal for units.
          const order = left.map((_, index) => index).sort((a, b) => (left[b] ?? 0) - (left[a] ?? 0))
          const targets = order.slice(0, copies)
          if (targets.length < copies || targets.some(index => (left[index] ?? 0) < 1)) break
          for (const index of targets) left[index] = (left[index] ?? 0) - 1
          placed++
        }
        t.is(writableBytes(free, copies), placed)
      },
    ),
  )
})
