import { type HostileBytes, nested, varint } from '../support/hostile-bytes.ts'

const fields = Array.from({ length: 52 }, (_, index) => index + 1)
/** Longer ones find nothing that these do not, and take longer. */
export const inputBytesMax = 4096
const edges = [
  0n,
  1n,
  127n,
  128n,
  255n,
  65535n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
]

/** Another input, made of others of the same target: by bytes, by the form of messages, and by words of texts. */
export function mutated(hostile: HostileBytes, from: readonly Buffer[]): Buffer {
  let bytes = Buffer.from(from.length === 0 ? [] : hostile.pick(from))
  const rounds = 1 + hostile.below(4)
  for (let round = 0; round < rounds; round++) bytes = once(hostile, bytes, from)
  return bytes.subarray(0, inputBytesMax)
}

function once(hostile: HostileBytes, bytes: Buffer, from: readonly Buffer[]): Buffer<ArrayBuffer> {
  const at = hostile.below(bytes.length + 1)
  const insert = (part: Uint8Array): Buffer<ArrayBuffer> =>
    Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)])
  switch (hostile.below(11)) {
    case 0:
      return Buffer.from(hostile.mutated(bytes))
    case 1: {
      const flipped = Buffer.from(bytes)
      if (bytes.length > 0)
        flipped[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ (1 << hostile.below(8))
      return flipped
    }
    case 2:
      return insert(varint(hostile.pick(edges)))
    case 3:
      return insert(nested(hostile.pick(fields), hostile.message(fields)))
    case 4:
      return Buffer.concat([nested(hostile.pick(fields), bytes)])
    case 5: {
      const end = Math.min(bytes.length, at + hostile.below(20))
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
    }
    case 6: {
      const other = from.length === 0 ? Buffer.alloc(0) : hostile.pick(from)
      const cut = hostile.below(other.length + 1)
      return Buffer.concat([bytes.subarray(0, at), other.subarray(cut)])
    }
    case 7: {
      const end = Math.min(bytes.length, at + 1 + hostile.below(16))
      return insert(bytes.subarray(at, end))
    }
    case 8: {
      const word = Buffer.alloc(hostile.pick([1, 2, 4, 8]))
      const value = hostile.pick(edges)
      for (let byte = 0; byte < word.length; byte++) word[byte] = Number((value >> BigInt(8 * byte)) & 0xffn)
      if (hostile.below(2) === 0) word.reverse()
      const over = Buffer.from(bytes)
      word.copy(over, Math.min(at, Math.max(0, over.length - word.length)))
      return over
    }
    case 9:
      return insert(
        Buffer.from(
          hostile.pick([
            '"',
            '\\',
            '{',
            '[',
            ']',
            '=',
            '\n',
            '-1',
            '1e999',
            'null',
            '__proto__',
            '\u0000',
            '\ud800',
            '%',
            '..',
            '/',
          ]),
        ),
      )
    default:
      return Buffer.from(hostile.message(fields))
  }
}
