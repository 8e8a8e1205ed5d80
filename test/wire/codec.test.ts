import test from 'ava'
import { MiB } from '#src/core/units.ts'
import { messageCodec, numbersMax } from '#src/wire/codec.ts'
import { SetXattr, Plan, SessionUp } from '#src/wire/gen/cairn/v1/session.ts'

const refusal = { code: 'EPROTO', message: /more than 1048576 numbers/ }

test('a message of nothing but empty items is refused before it fills the memory', t => {
  const codec = messageCodec(SessionUp, 'SessionUp')
  const items = (count: number): Uint8Array => Buffer.alloc(2 * count, Buffer.from([0x0a, 0]))
  t.is(codec.decode(items(numbersMax / 2)).items.length, numbersMax / 2)
  t.throws(() => codec.decode(items(numbersMax / 2 + 1)), refusal)
  t.throws(() => codec.decode(Buffer.alloc(20 * MiB, 0x0a)), refusal)
})

test('so is one of packed numbers', t => {
  const codec = messageCodec(Plan, 'Plan')
  const packed = (count: number): Uint8Array =>
    Buffer.concat([codec.encode(Plan.create({ exclude: [] })), lengthDelimited(3, Buffer.alloc(count, 1))])
  t.is(codec.decode(packed(1000)).exclude.length, 1000)
  t.throws(() => codec.decode(packed(2 * numbersMax)), refusal)
})

test('bytes are not counted', t => {
  const codec = messageCodec(SetXattr, 'SetXattr')
  const value = Buffer.alloc(4 * MiB, 0xff)
  t.true(value.equals(codec.decode(codec.encode(SetXattr.create({ value }))).value))
})

function lengthDelimited(field: number, bytes: Uint8Array): Buffer {
  const head = [(field << 3) | 2]
  let length = bytes.length
  for (; length > 0x7f; length >>>= 7) head.push((length & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([...head, length]), bytes])
}
