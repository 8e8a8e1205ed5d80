import { FsError } from '#src/core/errors.ts'
import { runProcess } from '#src/env/run-process.ts'
import { serveProcess } from '#src/env/serve-process.ts'

/** A process that does what its job says. */
export interface Job {
  readonly what: 'double' | 'fail' | 'die' | 'wait' | 'start-another'
  readonly number?: bigint
  readonly bytes?: Uint8Array
}

serveProcess(async job => {
  const { what, number = 0n, bytes = new Uint8Array(0) } = job as Job
  switch (what) {
    case 'double':
      return { number: number * 2n, pid: process.pid, isBuffer: Buffer.isBuffer(bytes), bytes }
    case 'fail':
      throw new FsError('ENOSPC', 'no room for it')
    case 'die':
      return process.exit(3)
    case 'wait':
      process.stdout.write(`${String(process.pid)}\n`)
      setInterval(() => undefined, 1000)
      return new Promise(() => undefined)
    case 'start-another':
      return runProcess(new URL(import.meta.url), { what: 'wait' })
  }
})
