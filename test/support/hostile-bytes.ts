/** Bytes that look like protobuf and are not what was meant: seeded, for tests of what arrives on sockets. */
export class HostileBytes {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  below(bound: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
    return Math.floor((this.#state / 2 ** 32) * bound)
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T
  }

  /** A message with fields of these numbers, any kind of value in each. */
  message(numbers: readonly number[], depth = 3): Buffer {
    const count = this.below(6)
    return Buffer.concat(Array.from({ length: count }, () => this.field(this.pick(numbers), depth)))
  }

  field(number: number, depth: number): Buffer {
    switch (this.below(8)) {
      case 0:
        return Buffer.concat([varint(BigInt(number * 8 + 5)), this.bytes(4)])
      case 1:
        return Buffer.concat([varint(BigInt(number * 8 + 1)), this.bytes(8)])
      case 2:
      case 3:
      case 4:
        return Buffer.concat([varint(BigInt(number * 8)), varint(this.number())])
      case 5:
      case 6:
        return nested(number, depth > 0 ? this.message(small, depth - 1) : this.bytes(this.below(40)))
      default:
        return nested(number, this.bytes(this.pick([0, 1, 8, 16, 32, 255, 256, 5000])))
    }
  }

  /** A valid message, turned, cut, doubled or with something in the middle. */
  mutated(valid: Uint8Array): Buffer {
    const bytes = Buffer.from(valid)
    const at = this.below(Math.max(1, bytes.length))
    switch (this.below(5)) {
      case 0:
        if (bytes.length > 0) bytes[at] = this.below(256)
        return bytes
      case 1:
        return bytes.subarray(0, at)
      case 2:
        return Buffer.concat([bytes, bytes])
      case 3:
        return Buffer.concat([bytes.subarray(0, at), this.bytes(this.below(20)), bytes.subarray(at)])
      default:
        return Buffer.concat([bytes.subarray(0, at), varint(this.number()), bytes.subarray(at)])
    }
  }

  number(): bigint {
    return this.pick(edges) + BigInt(this.below(3))
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)))
  }
}

const small = Array.from({ length: 14 }, (_, index) => index + 1)
const edges = [
  0n,
  0n,
  1n,
  2n,
  255n,
  2n ** 31n - 1n,
  2n ** 32n - 2n,
  2n ** 52n,
  2n ** 53n,
  2n ** 63n - 2n,
  2n ** 64n - 3n,
]

/** A length-delimited field. */
export const nested = (number: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([varint(BigInt(number * 8 + 2)), varint(BigInt(bytes.length)), bytes])

export function varint(value: bigint): Buffer {
  const bytes: number[] = []
  let left = BigInt.asUintN(64, value)
  while (left > 127n) {
    bytes.push(Number(left & 127n) | 128)
    left >>= 7n
  }
  bytes.push(Number(left))
  return Buffer.from(bytes)
}
