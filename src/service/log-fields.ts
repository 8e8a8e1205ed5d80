import { FsError, UsageError } from '../core/errors.ts'

/** Bytes shown of a byte field. */
const bytesShown = 32
const depthMax = 6

/** A field as JSON can carry it: bigints as digits, bytes as hex, errors with what they say. */
export function plain(value: unknown, depth = 0): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'symbol' || typeof value === 'function') return String(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth >= depthMax) return '…'
  if (value instanceof Error) return plainError(value, depth)
  if (value instanceof Uint8Array) return hex(value)
  if (value instanceof Date) return value.toISOString()
  if (value instanceof Map) return [...value].map(entry => plain(entry, depth + 1))
  if (value instanceof Set || Array.isArray(value)) return Array.from(value, item => plain(item, depth + 1))
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, depth + 1)]))
}

/** An answer is told by its errno and text; anything else is a bug, for which the stack counts. */
function plainError(error: Error, depth: number): unknown {
  const cause = error.cause === undefined ? {} : { cause: plain(error.cause, depth + 1) }
  if (error instanceof FsError) return { code: error.code, message: error.message, ...cause }
  if (error instanceof UsageError) return { message: error.message, ...cause }
  const code = 'code' in error ? { code: String(error.code) } : {}
  return { ...code, message: error.message, stack: error.stack, ...cause }
}

function hex(bytes: Uint8Array): string {
  const shown = Buffer.from(bytes.subarray(0, bytesShown)).toString('hex')
  return bytes.length <= bytesShown ? shown : `${shown}… (${bytes.length} bytes)`
}
