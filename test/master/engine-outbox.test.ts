import test from 'ava'
import { MiB } from '#src/core/units.ts'
import { Outbox } from '#src/master/engine/outbox.ts'
import { SessionDown } from '#src/wire/gen/cairn/v1/session.ts'

const framesOf = (outbox: Outbox): Uint8Array[] =>
  outbox.take().flatMap(output => (output.kind === 'frame' ? [output.bytes] : []))

const refused = (message: string) =>
  ({ $case: 'refused', value: { error: { errno: 5, message }, sessionDead: false } }) as const

test('short answers of one step are one frame', t => {
  const outbox = new Outbox()
  for (let at = 0; at < 100; at++) outbox.session(7, refused(String(at)))
  const [frame, ...more] = framesOf(outbox)
  t.deepEqual(more, [])
  t.is(SessionDown.decode(frame ?? new Uint8Array()).items.length, 100)
})

test('long ones are as many as it takes, in order, none of them beyond what a message may be', t => {
  const outbox = new Outbox()
  const messages = Array.from({ length: 300 }, (_, at) => `${at} ${'x'.repeat(100_000)}`)
  for (const message of messages) outbox.session(7, refused(message))
  const frames = framesOf(outbox)
  t.true(frames.every(frame => frame.length < 1.1 * MiB))
  const items = frames.flatMap(frame => SessionDown.decode(frame).items)
  t.deepEqual(
    items.map(({ item }) => (item?.$case === 'refused' ? item.value.error?.message : undefined)),
    messages,
  )
  t.deepEqual(framesOf(outbox), [])
})
