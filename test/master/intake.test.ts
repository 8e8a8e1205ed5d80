import fc from 'fast-check'
import test from 'ava'
import type { EngineInput } from '#src/master/engine/io.ts'
import { itemsPerPart, partsOf } from '#src/master/rpc/frame-parts.ts'
import { Intake, stepInputsMax, waitingInputsMax } from '#src/master/rpc/intake.ts'
import { SessionUp } from '#src/wire/gen/cairn/v1/session.ts'

const frame = (connection: number, length = 100, first = 0): EngineInput => {
  const bytes = new Uint8Array(length)
  bytes[0] = first
  return { kind: 'frame', connection, bytes }
}
const closed = (connection: number): EngineInput => ({ kind: 'closed', connection })
const opened = (connection: number): EngineInput => ({ kind: 'opened', connection, of: 'session', peer: 'p' })

function world() {
  const paused = new Set<number>()
  const blocked = new Set<number>()
  const intake = new Intake(connection => ({
    blocked: blocked.has(connection),
    pause: () => paused.add(connection),
    resume: () => paused.delete(connection),
  }))
  return { intake, paused, blocked }
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

const openedBy = (connection: number, identity: string): EngineInput => ({
  ...{ kind: 'opened', connection, of: 'session', peer: `10.0.0.1:${connection}`, identity },
})
const connectionsOf = (inputs: readonly EngineInput[]): number[] =>
  inputs.flatMap(input => (input.kind === 'frame' ? [input.connection] : []))

test('an identity with fifty connections has one share, as has one with a single one', t => {
  const { intake } = world()
  for (let connection = 1; connection <= 50; connection++) intake.add(openedBy(connection, 'many'))
  intake.add(openedBy(99, 'one'))
  intake.take()
  for (let connection = 1; connection <= 50; connection++)
    for (let count = 0; count < 100; count++) intake.add(frame(connection, 2000))
  for (let count = 0; count < 100; count++) intake.add(frame(99, 2000))
  const first = connectionsOf(intake.take())
  const own = first.filter(connection => connection === 99).length
  t.true(Math.abs(first.length - 2 * own) <= 2, `${own} of ${first.length}`)
  t.true(new Set(first).size > 7, 'the others in turn among themselves')
})

test('without TLS turns go by address', t => {
  const { intake } = world()
  for (let connection = 1; connection <= 20; connection++)
    intake.add({ kind: 'opened', connection, of: 'session', peer: `10.0.0.1:${connection}` })
  intake.add({ kind: 'opened', connection: 99, of: 'session', peer: '10.0.0.2:5' })
  intake.take()
  for (let count = 0; count < 100; count++)
    for (let connection = 1; connection <= 20; connection++) intake.add(frame(connection, 2000))
  for (let count = 0; count < 100; count++) intake.add(frame(99, 2000))
  const first = connectionsOf(intake.take())
  t.true(first.filter(connection => connection === 99).length * 2 >= first.length - 2)
})

test('who does not read its answers gets no further ones, and is not taken for one that is waited for', t => {
  const { intake, blocked } = world()
  intake.add(frame(1, 100, 1))
  intake.add(frame(2, 100, 2))
  blocked.add(1)
  t.deepEqual(intake.waiting, [2])
  t.deepEqual(connectionsOf(intake.take()), [2])
  t.true(intake.isEmpty, 'there is nothing to do')
  t.deepEqual(intake.take(), [])
  blocked.delete(1)
  t.false(intake.isEmpty)
  t.deepEqual(connectionsOf(intake.take()), [1])
})

test('what the engine has not got to comes first the next time, in the order of its connection', t => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          connection: fc.integer({ min: 1, max: 6 }),
          length: fc.integer({ min: 1, max: 30_000 }),
        }),
        {
          minLength: 1,
          maxLength: 300,
        },
      ),
      fc.infiniteStream(fc.nat(10)),
      (frames, done) => {
        const { intake } = world()
        for (let connection = 1; connection <= 6; connection++)
          intake.add(openedBy(connection, connection % 2 === 0 ? 'even' : 'odd'))
        const wanted = new Map<number, EngineInput[]>()
        for (const { connection, length } of frames) {
          const input = frame(connection, length)
          wanted.set(connection, [...(wanted.get(connection) ?? []), input])
          intake.add(input)
        }
        const got = new Map<number, EngineInput[]>()
        let next: EngineInput | undefined
        for (let steps = 0; !intake.isEmpty; steps++) {
          t.true(steps < 2000)
          const taken = intake.take()
          const frames = taken.filter(({ kind }) => kind === 'frame')
          if (next !== undefined) t.true(frames.slice(0, 6).includes(next), 'nobody overtakes it for long')
          const count = Math.min(taken.length, 1 + (done.next().value as number))
          for (const input of taken.slice(0, count))
            if (input.kind === 'frame')
              got.set(input.connection, [...(got.get(input.connection) ?? []), input])
          intake.putBack(taken.length - count)
          next = taken[count]?.kind === 'frame' ? taken[count] : undefined
        }
        for (const [connection, inputs] of wanted) t.deepEqual(got.get(connection), inputs)
      },
    ),
    { numRuns: 60 },
  )
})

test('a frame of a mount is cut between its items, and what cannot be cut stays whole', t => {
  const call = (id: number) => ({ item: { $case: 'cancel' as const, value: { id: BigInt(id) } } })
  fc.assert(
    fc.property(fc.nat(200), fc.nat(1000), (count, acked) => {
      const items = Array.from({ length: count }, (_, id) => call(id))
      const whole = SessionUp.encode({ items, acked: BigInt(acked) }).finish()
      const parts = partsOf(whole).map(part => SessionUp.decode(part))
      t.deepEqual(
        parts.flatMap(part => part.items),
        SessionUp.decode(whole).items,
      )
      t.true(parts.every(part => part.items.length <= itemsPerPart))
      t.is(parts[0]?.acked, BigInt(acked))
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
      const parts = partsOf(bytes)
      t.is(
        parts.reduce((sum, part) => sum + part.length, 0),
        bytes.length,
      )
    }),
  )
})
