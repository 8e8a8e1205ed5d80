import test from 'ava'
import fc from 'fast-check'
import { FsError } from '#src/core/errors.ts'
import { fileBytesMax } from '#src/core/limits.ts'
import { nameToBytes } from '#src/core/name.ts'
import { LeaseKind } from '#src/wire/gen/cairn/v1/session.ts'
import * as validate from '#src/wire/validate.ts'

const anyU64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')

/** The errno with which `work` refuses, or undefined. */
function refusal(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    return error instanceof FsError ? error.code : String(error)
  }
}

test('a 64-bit number is either exact or refused', t => {
  fc.assert(
    fc.property(anyU64, value => {
      const code = refusal(() => t.is(BigInt(validate.u64(value, 'size')), value))
      t.is(code, value <= BigInt(Number.MAX_SAFE_INTEGER) ? undefined : 'EINVAL')
    }),
  )
  t.is(
    refusal(() => validate.u64(11n, 'x', 10)),
    'EINVAL',
  )
  t.is(validate.u64(10n, 'x', 10), 10)
})

test('ids are positive and fit into SQLite', t => {
  fc.assert(
    fc.property(anyU64, value => {
      const good = value > 0n && value < 2n ** 63n
      t.is(
        refusal(() => validate.toIno(value)),
        good ? undefined : 'EINVAL',
      )
      const orNone = refusal(() => validate.toNodeIdOrNone(value))
      t.is(orNone, good || value === 0n ? undefined : 'EINVAL')
    }),
  )
  t.is(validate.toSessionIdOrNone(0n), undefined)
  for (const value of [0n, -1n, 2n ** 63n]) {
    t.is(
      refusal(() => validate.toIno(value)),
      'EINVAL',
    )
    t.is(
      refusal(() => validate.toGeneration(value)),
      'EINVAL',
    )
  }
  t.is(
    refusal(() => validate.u63(2n ** 63n - 1n, 'cookie')),
    undefined,
  )
  t.is(
    refusal(() => validate.u63(2n ** 63n, 'cookie')),
    'EINVAL',
  )
})

test('names are what ext4 takes as names', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), value => {
      const text = Buffer.from(value).toString('latin1')
      const bad = /[\0/]/.test(text) || ['', '.', '..'].includes(text)
      const expected = value.length > 255 ? 'ENAMETOOLONG' : bad ? 'EINVAL' : undefined
      t.is(
        refusal(() => validate.toName(value)),
        expected,
      )
      if (expected === undefined) t.deepEqual(Uint8Array.from(nameToBytes(validate.toName(value))), value)
    }),
  )
  for (const text of ['.', '..', '', 'a/b', 'a\0b'])
    t.is(
      refusal(() => validate.toName(bytes(text))),
      'EINVAL',
    )
  for (const text of ['...', '.a', ' ', '\xff'])
    t.is(
      refusal(() => validate.toName(bytes(text))),
      undefined,
    )
  t.is(validate.toName(bytes('x'.repeat(255))).length, 255)
  t.is(
    refusal(() => validate.toName(bytes('x'.repeat(256)))),
    'ENAMETOOLONG',
  )
})

test('targets and names of attributes keep to their bounds', t => {
  t.is(validate.toSymlinkTarget(bytes('/'.repeat(4095))).length, 4095)
  t.is(
    refusal(() => validate.toSymlinkTarget(bytes('/'.repeat(4096)))),
    'ENAMETOOLONG',
  )
  t.is(
    refusal(() => validate.toSymlinkTarget(bytes(''))),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.toSymlinkTarget(bytes('a\0'))),
    'EINVAL',
  )
  t.is(validate.toXattrName(bytes('u'.repeat(255))).length, 255)
  t.is(
    refusal(() => validate.toXattrName(bytes('u'.repeat(256)))),
    'ERANGE',
  )
  t.is(
    refusal(() => validate.toXattrName(bytes(''))),
    'EINVAL',
  )
})

test('ranges end within files and blocks', t => {
  const max = BigInt(fileBytesMax)
  fc.assert(
    fc.property(anyU64, anyU64, (offset, length) => {
      t.is(
        refusal(() => validate.fileRange(offset, length)),
        offset + length <= max ? undefined : 'EFBIG',
      )
    }),
  )
  t.deepEqual(validate.fileRange(max - 1n, 1n), { offset: fileBytesMax - 1, length: 1 })
  t.is(
    refusal(() => validate.fileRange(max, 1n)),
    'EFBIG',
  )
  t.is(validate.fileOffset(max), fileBytesMax)
  t.is(
    refusal(() => validate.fileOffset(max + 1n)),
    'EFBIG',
  )
  t.deepEqual(validate.blockRange(90, 10, 100), { offset: 90, length: 10 })
  t.is(
    refusal(() => validate.blockRange(90, 11, 100)),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.blockRange(0, 0, 100)),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.blockRange(2 ** 32 - 1, 2 ** 32 - 1)),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.toBlockLength(0)),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.toBlockLength(101, 'length', 100)),
    'EINVAL',
  )
})

test('forms: ids of blocks, required parts, oneofs, enums, lists, text', t => {
  t.is(String(validate.toBlockId(new Uint8Array(32).fill(0xab))), 'ab'.repeat(32))
  for (const length of [0, 31, 33])
    t.is(
      refusal(() => validate.toBlockId(new Uint8Array(length))),
      'EPROTO',
    )
  t.is(
    refusal(() => validate.required(undefined, 'attr')),
    'EPROTO',
  )
  t.is(validate.required(0, 'attr'), 0)
  t.is(
    refusal(() => validate.oneofPresent(undefined, 'op')),
    'EPROTO',
  )
  t.is(validate.enumValue(LeaseKind.LEASE_KIND_WRITE, LeaseKind, 'kind'), LeaseKind.LEASE_KIND_WRITE)
  t.is(
    refusal(() => validate.enumValue<number>(7, LeaseKind, 'kind')),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.listOf([1, 2], 1, 'ids')),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.text('x'.repeat(1025), 'host')),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.text('a\0', 'host')),
    'EINVAL',
  )
  t.is(
    refusal(() => validate.bytesOf(new Uint8Array(3), 4, 'mac')),
    'EPROTO',
  )
  t.is(
    refusal(() => validate.bytesUpTo(new Uint8Array(3), 2, 'value')),
    'EINVAL',
  )
})

test('the error names the field and what it held', t => {
  t.throws(() => validate.toIno(0n, 'rename.new_parent'), { message: 'rename.new_parent: 0 is no id' })
  t.throws(() => validate.u32(9, 'copies', 8, 1), { message: 'copies: 9, from 1 to 8 expected' })
})
