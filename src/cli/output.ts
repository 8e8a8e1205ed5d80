import Table from 'cli-table3'
import colors from './colors.ts'
import { z } from 'zod'
import type { LogStatus, DamagedRange } from '../wire/gen/cairn/v1/admin.ts'
import { columns, widthOf, wrapped } from './terminal.ts'

/** One JSON document. Integers beyond 2^53 are strings, bytes are hex. */
export const jsonText = (value: unknown): string => `${JSON.stringify(value, plain, 2)}\n`

function plain(_key: string, item: unknown): unknown {
  if (item instanceof Uint8Array) return Buffer.from(item).toString('hex')
  if (typeof item !== 'bigint') return item
  const isExact = item <= BigInt(Number.MAX_SAFE_INTEGER) && item >= -BigInt(Number.MAX_SAFE_INTEGER)
  return isExact ? Number(item) : item.toString()
}

export function printJson(value: unknown): void {
  process.stdout.write(jsonText(value))
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** A table on a terminal, one entry below the other where it is too narrow, tab-separated columns in a pipe. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const width = columns()
  if (width === undefined) {
    print(head.join('\t'))
    for (const row of rows) print(row.join('\t'))
    return
  }
  if (fitting(head, rows, width) < head.length) printRecords(head, rows)
  else printGrid(head, rows)
}

/** As printTable, but with as many columns as fit, the first ones first. */
export function printNarrowTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const count = fitting(head, rows, columns() ?? Number.POSITIVE_INFINITY)
  printTable(
    head.slice(0, count),
    rows.map(row => row.slice(0, count)),
  )
}

/** How many of the columns fit. */
function fitting(head: readonly string[], rows: readonly (readonly string[])[], width: number): number {
  const widths = head.map((title, at) => Math.max(...[title, ...rows.map(row => row[at] ?? '')].map(widthOf)))
  let taken = -gap.length
  const count = widths.findIndex(each => (taken += each + gap.length) > width)
  return count === -1 ? head.length : Math.max(1, count)
}

const gap = '  '

function printGrid(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const plain = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }
  const sides = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', left: '', right: '', middle: gap }
  const bottom = { bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '' }
  const table = new Table({
    head: head.map(title => colors.bold(title)),
    chars: { ...plain, ...sides, ...bottom },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  })
  for (const row of rows) table.push([...row])
  print(table.toString())
}

function printRecords(head: readonly string[], rows: readonly (readonly string[])[]): void {
  if (rows.length === 0) print(wrapped(colors.bold(head.join(gap)), columns()))
  for (const [at, row] of rows.entries()) {
    if (at > 0) print('')
    print(colors.bold(`${head[0] ?? ''} ${row[0] ?? ''}`))
    const rest = head.slice(1).map((title, index) => [title, row[index + 1] ?? ''] as const)
    printPairs(
      rest.filter(([, value]) => value !== ''),
      gap,
    )
  }
}

/** Names and values below each other, values wrapped beside their names. */
export function printPairs(pairs: readonly (readonly [string, string])[], indent = ''): void {
  const names = Math.max(0, ...pairs.map(([name]) => name.length))
  const beside = `${indent}${' '.repeat(names)}${gap}`
  for (const [name, value] of pairs)
    print(wrapped(`${indent}${name.padEnd(names)}${gap}${value}`, columns(), beside))
}

/** Prose, wrapped on a terminal. */
export function say(text: string, indent = ''): void {
  print(wrapped(text, columns(), indent))
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const

export function bytes(count: bigint | number): string {
  let value = Number(count)
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit] ?? ''}`
}

/** A number of bytes as people write it: 1048576, 64K, 10GiB, 1.5T. Powers of 1024. */
export const byteCount = z
  .string()
  .regex(/^\d+(\.\d+)?\s*([KMGTPE](i?B)?|B)?$/i, 'must be a number of bytes such as 1048576, 64K or 10GiB')
  .transform(text => {
    const [, number = '0', unit = ''] = /^([\d.]+)\s*([KMGTPE])?/i.exec(text) ?? []
    const power = unit === '' ? 0 : 'KMGTPE'.indexOf(unit.toUpperCase()) + 1
    return Math.floor(Number(number) * 1024 ** power)
  })

export function healthColour(health: string): string {
  if (health === 'ok') return colors.green(health)
  return health === 'degraded' ? colors.yellow(health) : colors.red(health)
}

/** A time in nanoseconds since 1970, as people and scripts read it. */
export const timeOf = (ns: bigint): string => new Date(Number(ns / 1_000_000n)).toISOString()

/** 1 file, 2 files. */
export const counted = (count: number | bigint, one: string): string =>
  `${String(count)} ${one}${Number(count) === 1 ? '' : 's'}`

export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  if (seconds < 120) return `${String(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 120) return `${String(minutes)} min`
  const hours = Math.floor(minutes / 60)
  return hours < 48 ? `${String(hours)} h` : `${String(Math.floor(hours / 24))} days`
}

/** How far the log on the chunkservers is behind, for people. */
export const lagOf = ({ covered, lagMs }: LogStatus): string =>
  covered === 0n ? 'not complete yet' : `${(Number(lagMs) / 1000).toFixed(1)} s behind`

/** A part of a file, for people. */
export const rangeText = (range: DamagedRange): string => {
  const path = range.path.length > 0 ? Buffer.from(range.path).toString() : `inode ${range.ino.toString()}`
  return `${path}, bytes ${range.offset.toString()} to ${(range.offset + range.length - 1n).toString()}`
}
