/**
 * Names of the files in which a node keeps the master's log, and what says that a base is whole. Part of the format
 * on disk. Numbers in names have 16 hexadecimal digits, so that names sort as what they name.
 *
 *   base-INCARNATION-AFTER    a copy of the database, of a moment after record AFTER
 *   whole-INCARNATION-AFTER   written when that base is on stable storage, with what it is
 *   log-INCARNATION-FIRST     records one after the other (wire/log-records.ts), the first of which is FIRST
 */
import type { Checksums } from '../../core/checksum.ts'

export const logFolder = 'master-log'

export type LogFileKind = 'base' | 'whole' | 'log'

export interface LogFileName {
  readonly kind: LogFileKind
  readonly incarnation: bigint
  /** AFTER or FIRST. */
  readonly number: bigint
}

const pattern = /^(base|whole|log)-([0-9a-f]{16})-([0-9a-f]{16})$/

const hex = (value: bigint): string => value.toString(16).padStart(16, '0')

export const nameOf = ({ kind, incarnation, number }: LogFileName): string =>
  `${kind}-${hex(incarnation)}-${hex(number)}`

export const pathOfLog = (name: string): string => `${logFolder}/${name}`

/** Undefined for what is no name of ours. */
export function parseName(name: string): LogFileName | undefined {
  const [, kind, incarnation, number] = pattern.exec(name) ?? []
  if (kind === undefined) return undefined
  return {
    kind: kind as LogFileKind,
    incarnation: BigInt(`0x${incarnation ?? ''}`),
    number: BigInt(`0x${number ?? ''}`),
  }
}

/** What a whole base is. */
export interface BaseFacts {
  readonly bytes: number
  /** It is of use with the records up to here, or alone. */
  readonly until: bigint
  /** Cluster time, ns. */
  readonly time: bigint
  readonly sha256: Uint8Array
}

const magic = 0x43_4c_62_31
const factsBytes = 4 + 4 + 8 + 8 + 8 + 32 + 8

export function encodeFacts(checksums: Checksums, { bytes, until, time, sha256 }: BaseFacts): Buffer {
  const out = Buffer.alloc(factsBytes)
  out.writeUInt32BE(magic, 0)
  out.writeBigUInt64BE(BigInt(bytes), 8)
  out.writeBigUInt64BE(until, 16)
  out.writeBigInt64BE(time, 24)
  out.set(sha256, 32)
  out.writeBigUInt64BE(checksums.xxh64(out.subarray(0, factsBytes - 8)), factsBytes - 8)
  return out
}

/** Undefined for what a crash has torn. */
export function decodeFacts(checksums: Checksums, bytes: Uint8Array): BaseFacts | undefined {
  if (bytes.length !== factsBytes) return undefined
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const sum = view.readBigUInt64BE(factsBytes - 8)
  if (view.readUInt32BE(0) !== magic || checksums.xxh64(view.subarray(0, factsBytes - 8)) !== sum)
    return undefined
  return {
    bytes: Number(view.readBigUInt64BE(8)),
    until: view.readBigUInt64BE(16),
    time: view.readBigInt64BE(24),
    sha256: new Uint8Array(view.subarray(32, 64)),
  }
}
