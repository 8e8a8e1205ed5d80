import test from 'ava'
import fc from 'fast-check'
import { nameFromBytes, nameFromText, nameToBytes, nameToText } from '#src/core/name.ts'

test('any bytes survive as a name, one character a byte', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
      const name = nameFromBytes(bytes)
      t.is(name.length, bytes.length)
      t.deepEqual(Uint8Array.from(nameToBytes(name)), bytes)
    }),
  )
})

test('a name made of a part of a larger buffer has only that part', t => {
  const request = Uint8Array.from([1, 2, 0x61, 0xff, 3])
  t.is(nameFromBytes(request.subarray(2, 4)), nameFromBytes(Uint8Array.from([0x61, 0xff])))
})

test('text goes through UTF-8, and bytes that are not UTF-8 are shown replaced', t => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), text => {
      t.is(nameToText(nameFromText(text)), text)
    }),
  )
  t.is(nameFromText('é').length, 2)
  t.is(nameToText(nameFromBytes(Uint8Array.from([0x61, 0xff]))), 'a\ufffd')
})
