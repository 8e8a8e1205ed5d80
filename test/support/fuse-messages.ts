import { inHeaderBytes, opcode, type OpcodeName } from '#src/fuse/codec/abi.ts'

export interface Caller {
  readonly uid: number
  readonly gid: number
  readonly pid: number
}

export interface MessageParts {
  readonly unique?: number
  readonly node?: bigint
  readonly body?: Buffer
  readonly length?: number
  /** In units of 8 bytes. */
  readonly extensions?: number
}

/** A message as the kernel writes it. */
export function message(operation: OpcodeName | number, parts: MessageParts = {}): Buffer {
  const { unique = 2, node = 1n, body = Buffer.alloc(0), extensions = 0 } = parts
  const { length = inHeaderBytes + body.length } = parts
  const bytes = Buffer.alloc(inHeaderBytes + body.length)
  bytes.writeUInt32LE(length, 0)
  bytes.writeUInt32LE(typeof operation === 'number' ? operation : opcode[operation], 4)
  bytes.writeBigUInt64LE(BigInt(unique), 8)
  bytes.writeBigUInt64LE(node, 16)
  bytes.writeUInt32LE(1001, 24)
  bytes.writeUInt32LE(1002, 28)
  bytes.writeUInt32LE(1003, 32)
  bytes.writeUInt16LE(extensions, 36)
  body.copy(bytes, inHeaderBytes)
  return bytes
}

/** Fields in order: numbers as u32, bigints as u64, strings NUL-terminated, buffers as they are. */
export function body(...fields: readonly (number | bigint | string | Buffer)[]): Buffer {
  return Buffer.concat(
    fields.map(field => {
      if (typeof field === 'number') return Buffer.from(Uint32Array.of(field).buffer)
      if (typeof field === 'bigint') return Buffer.from(BigUint64Array.of(field).buffer)
      return typeof field === 'string' ? Buffer.from(`${field}\0`, 'latin1') : field
    }),
  )
}

export interface ParsedReply {
  readonly unique: number
  /** Positive, or 0. */
  readonly errno: number
  readonly data: Buffer
}

export function parseReply(bytes: Buffer): ParsedReply {
  if (bytes.readUInt32LE(0) !== bytes.length)
    throw new Error(`a reply of ${bytes.length} bytes says ${bytes.readUInt32LE(0)}`)
  return {
    errno: 0 - bytes.readInt32LE(4),
    unique: Number(bytes.readBigUInt64LE(8)),
    data: bytes.subarray(16),
  }
}
