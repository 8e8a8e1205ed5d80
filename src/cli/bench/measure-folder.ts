/** Measures a folder as programs see it: figures by name. Leaves nothing behind. */
import { randomBytes, randomInt } from 'node:crypto'
import { constants, promises as fs, rmSync } from 'node:fs'
import path from 'node:path'
import { KiB, MiB, second } from '../../core/units.ts'
import { Progress } from '../progress.ts'
import type { Figure } from './verdict.ts'

export interface BenchOptions {
  readonly bytes: number
  readonly files: number
  /** No part takes longer. */
  readonly partMs: number
  /** Past the kernel's cache: where that needs no alignment. */
  readonly direct: boolean
}

export type Figures = Readonly<Record<Figure, number>>

const pieceBytes = 1 * MiB
const smallBytes = 4 * KiB
const syncs = 50
const randomReads = 300

export async function measureFolder(folder: string, options: BenchOptions): Promise<Figures> {
  const dir = await fs.mkdtemp(path.join(folder, '.cairn-bench-'))
  const clean = (): void => rmSync(dir, { recursive: true, force: true })
  const interrupted = (): void => {
    clean()
    process.exit(130)
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted)
  try {
    const large = path.join(dir, 'large')
    const { write, bytes } = await writeLarge(large, options)
    const { read, randomRead } = await readLarge(large, bytes, options)
    const fsync = await syncSmall(path.join(dir, 'log'), options)
    return { write, read, randomRead, fsync, ...(await smallFiles(dir, options)) }
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, interrupted)
    clean()
  }
}

const mibPerSecond = (bytes: number, ms: number): number => bytes / MiB / (ms / second)

async function writeLarge(
  file: string,
  { bytes: wanted, partMs }: BenchOptions,
): Promise<{ readonly write: number; readonly bytes: number }> {
  const data = randomBytes(pieceBytes)
  const progress = new Progress('Writing', wanted)
  const began = performance.now()
  const handle = await fs.open(file, 'wx')
  let bytes = 0
  try {
    while (bytes < wanted && (bytes === 0 || performance.now() - began < partMs)) {
      // No two blocks are the same: equal ones would not be sent.
      data.writeUInt32LE(bytes / pieceBytes, 0)
      await handle.writeFile(data)
      bytes += pieceBytes
      progress.show(bytes)
    }
    await handle.sync()
  } finally {
    await handle.close()
    progress.end()
  }
  return { write: mibPerSecond(bytes, performance.now() - began), bytes }
}

async function readLarge(
  file: string,
  bytes: number,
  { partMs, direct }: BenchOptions,
): Promise<{ readonly read: number; readonly randomRead: number }> {
  const progress = new Progress('Reading', bytes)
  const handle = await fs.open(file, constants.O_RDONLY | (direct ? constants.O_DIRECT : 0))
  try {
    const buffer = Buffer.alloc(pieceBytes)
    const began = performance.now()
    let done = 0
    while (done < bytes && (done === 0 || performance.now() - began < partMs)) {
      done += (await handle.read(buffer, 0, pieceBytes, done)).bytesRead
      progress.show(done)
    }
    const read = mibPerSecond(done, performance.now() - began)
    progress.end()
    const times = await timed(randomReads, partMs, async () => {
      const at = randomInt(Math.max(1, Math.floor(bytes / smallBytes))) * smallBytes
      await handle.read(buffer, 0, smallBytes, at)
    })
    return { read, randomRead: median(times) }
  } finally {
    await handle.close()
    progress.end()
  }
}

async function syncSmall(file: string, { partMs }: BenchOptions): Promise<number> {
  const handle = await fs.open(file, 'wx')
  try {
    return median(
      await timed(syncs, partMs, async () => {
        await handle.writeFile(randomBytes(smallBytes))
        await handle.datasync()
      }),
    )
  } finally {
    await handle.close()
  }
}

async function smallFiles(
  dir: string,
  { files, partMs }: BenchOptions,
): Promise<Pick<Figures, 'create' | 'stat' | 'remove'>> {
  const names: string[] = []
  const perSecond = async (most: number, work: (at: number) => Promise<void>): Promise<number> => {
    const times = await timed(most, partMs, work)
    return times.length / (times.reduce((sum, each) => sum + each, 0) / second)
  }
  const create = await perSecond(files, async at => {
    const name = path.join(dir, `small-${String(at)}`)
    await fs.writeFile(name, randomBytes(smallBytes))
    names.push(name)
  })
  const stat = await perSecond(names.length, async at => {
    await fs.lstat(names[at] ?? dir)
  })
  const remove = await perSecond(names.length, async at => fs.unlink(names[at] ?? dir))
  return { create, stat, remove }
}

/** Milliseconds of each of at most so many, one after the other. */
async function timed(most: number, partMs: number, work: (at: number) => Promise<void>): Promise<number[]> {
  const times: number[] = []
  const until = performance.now() + partMs
  while (times.length < most && (times.length === 0 || performance.now() < until)) {
    const began = performance.now()
    await work(times.length)
    times.push(performance.now() - began)
  }
  return times
}

function median(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}
