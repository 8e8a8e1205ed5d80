import { type ChildProcess, spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { dropCaches } from '../caches.ts'

export interface Amount {
  readonly blocks: number
  readonly bytesEach: number
  /** Copies at a time. */
  readonly parallel: number
}

/**
 * Seconds that a plain program takes for as many copies: two processes, that read files of one folder and write them
 * with fdatasync into another, through TCP connections on the loopback device. It checks no byte.
 */
export async function plainCopy(scratch: string, amount: Amount): Promise<number> {
  const from = path.join(scratch, 'plain-from')
  const to = path.join(scratch, 'plain-to')
  const children: ChildProcess[] = []
  try {
    for (const folder of [from, to]) mkdirSync(folder)
    const files = Array.from({ length: amount.blocks }, (_, number) => path.join(from, String(number)))
    const bytes = Buffer.allocUnsafe(amount.bytesEach)
    for (const file of files) writeFileSync(file, randomFillSync(bytes), { flush: true })
    await dropCaches()
    // Not to be bound by the four threads that Node has by default.
    const env = { ...process.env, UV_THREADPOOL_SIZE: '16' }
    const program = (name: string) => new URL(`./${name}.js`, import.meta.url).pathname
    const sink = spawn(process.execPath, [program('plain-sink'), to], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(sink)
    const port = await new Promise<string>((resolve, reject) => {
      sink.stdout.once('data', (said: Buffer) => resolve(said.toString().trim()))
      sink.once('exit', () => reject(new Error('the sink of plain copies has ended')))
    })
    const source = spawn(process.execPath, [program('plain-source'), port, String(amount.parallel)], {
      env,
      stdio: ['pipe', 'inherit', 'inherit'],
    })
    children.push(source)
    const began = performance.now()
    source.stdin.end(`${files.join('\n')}\n`)
    await new Promise<void>((resolve, reject) =>
      source.once('exit', code => {
        if (code === 0) resolve()
        else reject(new Error(`the source of plain copies ended with ${String(code)}`))
      }),
    )
    return (performance.now() - began) / 1000
  } finally {
    for (const child of children) child.kill('SIGKILL')
    for (const folder of [from, to]) rmSync(folder, { recursive: true, force: true })
  }
}
