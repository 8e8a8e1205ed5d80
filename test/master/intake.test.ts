import fc from 'fast-check'
import test from 'ava'
import type { EngineInput } from '#src/master/engine/io.ts'
import { Intake, stepInputsMax, waitingInputsMax } from '#src/master/rpc/intake.ts'

const frame = (connection: number, length = 100, first = 0): EngineInput => {
  const bytes = new Uint8Array(length)
  bytes[0] = first
  return { kind: 'frame', connection, bytes }
}
const closed = (connection: number): EngineInput => ({ kind: 'closed', connection })
const opened = (connection: number): EngineInput => ({ kind: 'opened', connection, of: 'session', peer: 'p' })

function world() {
  const paused = new Set<number>()
  const intake = new Intake(connection => ({
    pause: () => paused.add(connection),
    resume: () => paused.delete(connection),
  }))
  return { intake, paused }
}

test('what is little goes in the order in which it came', t => {
  const { intake } = world()
  const inputs = [
    opened(1),
    frame(1),
    opened(2),
    frame(2),
    frame(1),
    { kind: 'tick' } as const,
    closed(1),
    frame(2),
  ]
  for (const input of inputs) intake.add(input)
  t.deepEqual(intake.take(), inputs)
  t.true(intake.isEmpty)
  t.deepEqual(intake.take(), [])
})

test('whose frames wait is told, so that nobody takes it for silent', t => {
  const { intake } = world()
  for (let count = 0; count < 500; count++) intake.add(frame(1, 5000))
  intake.add(frame(2))
  intake.take()
  t.deepEqual(intake.waiting, [1])
  intake.takeAll()
  t.deepEqual(intake.waiting, [])
})

test('who floods waits for what it sent itself; others, administration and facts do not', t => {
  const { intake, paused } = world()
  for (let flooder = 1; flooder <= 50; flooder++)
    for (let count = 0; count < 500; count++) intake.add(frame(flooder, 5000))
  intake.add(opened(99))
  for (let count = 0; count < 10; count++) intake.add(frame(99, 50))
  intake.add({ kind: 'admin', call: 1, method: 'status', bytes: new Uint8Array(0) })
  t.is(paused.size, 50, 'nobody is read on who has a mebibyte waiting')
  t.false(paused.has(99))
  const first = intake.take()
  t.deepEqual(
    first.slice(0, 2).map(({ kind }) => kind),
    ['opened', 'admin'],
  )
  t.true(first.length < stepInputsMax)
  let steps = 1
  let honest = first.filter(input => input.kind === 'frame' && input.connection === 99).length
  for (; honest === 0; steps++)
    honest = intake.take().filter(input => input.kind === 'frame' && input.connection === 99).length
  t.is(honest, 10, 'all that it had under way, in its first turn')
  t.true(steps <= 6, `after ${String(steps)} steps`)
  // It goes on in turn.
  intake.add(frame(99, 50))
  let waited = 0
  while (!intake.take().some(input => input.kind === 'frame' && input.connection === 99)) waited++
  t.true(waited <= 6)
})

test('a connection of which much waits is held up until half of it is done, and a giant frame is taken', t => {
  const { intake, paused } = world()
  for (let count = 0; count <= waitingInputsMax; count++) intake.add(frame(1))
  t.true(paused.has(1))
  let steps = 0
  for (; paused.has(1); steps++) intake.take()
  t.true(steps > 1)
  intake.takeAll()
  intake.add(frame(2, 20 << 20))
  t.true(paused.has(2))
  t.is(intake.take().length, 1)
  t.false(paused.has(2))
  for (let count = 0; count <= waitingInputsMax; count++) intake.add(frame(3))
  intake.takeAll()
  t.false(paused.has(3))
})

test('nothing is lost, doubled or out of the order of its connection, whatever comes', t => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          connection: fc.integer({ min: 1, max: 6 }),
          length: fc.integer({ min: 1, max: 9000 }),
          take: fc.boolean(),
        }),
        { maxLength: 600 },
      ),
      moves => {
        const { intake, paused } = world()
        const sent = new Map<number, EngineInput[]>()
        const got = new Map<number, EngineInput[]>()
        const note = (inputs: readonly EngineInput[]): void => {
          for (const input of inputs)
            if (input.kind === 'frame')
              got.set(input.connection, [...(got.get(input.connection) ?? []), input])
        }
        for (const { connection, length, take } of moves) {
          const input = frame(connection, length)
          sent.set(connection, [...(sent.get(connection) ?? []), input])
          intake.add(input)
          if (take && length % 7 === 0) note(intake.take())
        }
        while (!intake.isEmpty) note(intake.take())
        t.deepEqual([...got.keys()].sort(), [...sent.keys()].sort())
        for (const [connection, inputs] of sent)
          t.true(inputs.every((input, at) => got.get(connection)?.[at] === input))
        t.is(paused.size, 0)
      },
    ),
    { numRuns: 200 },
  )
})
