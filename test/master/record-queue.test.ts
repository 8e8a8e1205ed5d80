import fc from 'fast-check'
import test from 'ava'
import { RecordQueue } from '#src/master/log/record-queue.ts'

type Step =
  | { readonly do: 'add'; readonly length: number; readonly hole: boolean }
  | { readonly do: 'drop'; readonly to: number }

const steps = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('add' as const),
      length: fc.integer({ min: 1, max: 40 }),
      hole: fc.boolean(),
    }),
    fc.record({ do: fc.constant('drop' as const), to: fc.integer({ min: 0, max: 60 }) }),
  ),
)

test('it has what was added and not dropped, the latest where all is too much', t => {
  fc.assert(
    fc.property(steps, (list: readonly Step[]) => {
      const queue = new RecordQueue(200)
      let last = 0
      let kept: { readonly sequence: number; readonly bytes: Uint8Array }[] = []
      for (const step of list) {
        if (step.do === 'add') {
          last += step.hole ? 2 : 1
          const bytes = new Uint8Array(step.length).fill(last)
          queue.add(BigInt(last), bytes)
          kept.push({ sequence: last, bytes })
          while (kept.reduce((sum, { bytes: { length } }) => sum + length, 0) > 200) kept.shift()
        } else {
          queue.dropTo(BigInt(step.to))
          kept = kept.filter(({ sequence }) => sequence > step.to)
        }
        t.is(
          queue.bytes,
          kept.reduce((sum, { bytes }) => sum + bytes.length, 0),
        )
        for (let sequence = 0; sequence <= last; sequence++)
          t.deepEqual(queue.get(BigInt(sequence)), kept.find(record => record.sequence === sequence)?.bytes)
        for (const { sequence } of kept)
          t.is(
            queue.bytesAfter(BigInt(sequence)),
            kept.reduce((sum, record) => sum + (record.sequence > sequence ? record.bytes.length : 0), 0),
          )
      }
    }),
  )
})

test('of what a record came as a part of, only the record is kept', t => {
  const queue = new RecordQueue(1000)
  const whole = new Uint8Array(10_000).fill(7)
  queue.add(1n, whole.subarray(100, 150))
  t.deepEqual(queue.get(1n), new Uint8Array(50).fill(7))
  t.is(queue.get(1n)?.buffer.byteLength, 50)
})
