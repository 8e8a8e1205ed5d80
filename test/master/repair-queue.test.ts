import test from 'ava'
import type { BlockKey } from '#src/core/ids.ts'
import { RepairQueue } from '#src/master/repair/repair-queue.ts'

const key = (n: number): BlockKey => BigInt(n) as BlockKey

test('where there are too many, the least urgent go, and are found again when there is room', t => {
  const queue = new RepairQueue(4)
  const put = (n: number, cls: Parameters<RepairQueue['put']>[1]['class']): void =>
    queue.put(key(n), { class: cls, length: 10, lacking: undefined })
  put(1, 'misplaced')
  put(2, 'short')
  put(3, undefined)
  put(4, 'short')
  t.false(queue.takeMissed())
  put(5, 'last')
  t.deepEqual(
    [1, 2, 3, 4, 5].map(n => queue.has(key(n))),
    [true, true, false, true, true],
  )
  put(6, 'lost')
  put(7, 'lost')
  put(8, 'lost')
  t.deepEqual(
    [1, 2, 4, 5, 6, 7, 8].map(n => queue.has(key(n))),
    [false, false, false, true, true, true, true],
  )
  put(9, 'short')
  t.false(queue.has(key(9)))
  t.false(queue.takeMissed())
  for (const n of [6, 7]) queue.delete(key(n))
  t.true(queue.takeMissed())
  t.false(queue.takeMissed())
  t.deepEqual(queue.sizeOf('lost'), { blocks: 1, bytes: 10 })
})
