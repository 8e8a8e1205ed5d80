/**
 * What a lane's two threads say to each other. Values are plain: objects, arrays, Maps, Sets, bigints,
 * bytes. Cloning bytes would copy the whole memory that they are a view of, and turns Buffers into
 * Uint8Arrays; so bytes are copied here once, exactly, moved to the other thread, and are Buffers there.
 */
import { FsError, messageOf, UsageError } from '../core/errors.ts'
import { KiB } from '../core/units.ts'

export type ToWorker = { readonly run: number; readonly batch: unknown } | { readonly close: true }

/** The run that stands for opening the handler. */
export const openRun = 0

export type FromWorker =
  | { readonly run: number; readonly results: unknown }
  | { readonly run: number; readonly failure: Failure }

export interface Failure {
  /** Of an FsError. */
  readonly code: FsError['code'] | undefined
  readonly usage: boolean
  readonly message: string
  readonly stack: string | undefined
}

/**
 * Bytes up to this length share one piece of memory per message: moving a piece costs more than copying
 * a few kilobytes, and batches carry hundreds of ids and checksums. Whoever keeps one of them for long
 * copies it, or keeps the small bytes of the whole batch.
 */
const sharedBytesMax = 16 * KiB

/** A copy to post, with the memory to move along. */
export function packed(value: unknown): { value: unknown; move: ArrayBuffer[] } {
  const shared = new Uint8Array(sharedLength(value))
  const move: ArrayBuffer[] = shared.length > 0 ? [shared.buffer] : []
  let filled = 0
  const copy = mapBytes(value, bytes => {
    const isShared = bytes.length <= sharedBytesMax && shared.length > 0
    const own = isShared ? shared.subarray(filled, filled + bytes.length) : new Uint8Array(bytes.length)
    own.set(bytes)
    if (isShared) filled += bytes.length
    else move.push(own.buffer)
    return own
  })
  return { value: copy, move }
}

/** Bytes of all small byte strings in a value. */
function sharedLength(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  if (value instanceof Uint8Array) return value.length <= sharedBytesMax ? value.length : 0
  let length = 0
  if (Array.isArray(value) || value instanceof Set) for (const item of value) length += sharedLength(item)
  else if (value instanceof Map)
    for (const [key, item] of value) length += sharedLength(key) + sharedLength(item)
  else if (!ArrayBuffer.isView(value)) for (const item of Object.values(value)) length += sharedLength(item)
  return length
}

/** The value as it was posted, its bytes as Buffers. */
export function unpacked(value: unknown): unknown {
  return mapBytes(value, bytes => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
}

function mapBytes(value: unknown, change: (bytes: Uint8Array) => Uint8Array): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return change(value)
  if (Array.isArray(value)) return value.map(item => mapBytes(item, change))
  if (value instanceof Map)
    return new Map([...value].map(([key, item]) => [mapBytes(key, change), mapBytes(item, change)]))
  if (value instanceof Set) return new Set([...value].map(item => mapBytes(item, change)))
  if (ArrayBuffer.isView(value)) return value
  // Not by entries: made property by property, objects of one kind have one shape, and all that follows is faster, too.
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(value)) copy[key] = mapBytes((value as Record<string, unknown>)[key], change)
  return copy
}

/** An error as plain values: cloning would lose its class and errno. */
export function failureOf(thrown: unknown): Failure {
  return {
    code: thrown instanceof FsError ? thrown.code : undefined,
    usage: thrown instanceof UsageError,
    message: messageOf(thrown),
    stack: thrown instanceof Error ? thrown.stack : undefined,
  }
}

export function errorOf({ code, usage, message, stack }: Failure): Error {
  const error = usage
    ? new UsageError(message)
    : code === undefined
      ? new Error(message)
      : new FsError(code, message)
  if (stack !== undefined) error.stack = stack
  return error
}
