/**
 * What a lane's two threads say to each other. Values are plain: objects, arrays, Maps, Sets, bigints,
 * bytes. Cloning bytes would copy the whole memory that they are a view of, and turns Buffers into
 * Uint8Arrays; so bytes are copied here once, exactly, moved to the other thread, and are Buffers there.
 */
import { FsError, messageOf, UsageError } from '../core/errors.ts'

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

/** A copy to post, with the memory to move along. */
export function packed(value: unknown): { value: unknown; move: ArrayBuffer[] } {
  const move: ArrayBuffer[] = []
  const copy = mapBytes(value, bytes => {
    const own = new Uint8Array(bytes.length)
    own.set(bytes)
    move.push(own.buffer)
    return own
  })
  return { value: copy, move }
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
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, mapBytes(item, change)]))
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
