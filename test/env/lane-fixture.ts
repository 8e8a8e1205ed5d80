import { workerData } from 'node:worker_threads'
import { FsError, UsageError } from '#src/core/errors.ts'
import { serveLane } from '#src/env/serve-lane.ts'

/** A thread that does to each item what the item says. */
export interface Item {
  readonly what: 'double' | 'fail' | 'bug' | 'die' | 'throw-later' | 'sum' | 'order'
  readonly number?: bigint
  readonly bytes?: Uint8Array
}

export interface Outcome {
  readonly number?: bigint
  readonly isBuffer?: boolean
  readonly memory?: number
  readonly bytes?: Uint8Array
  readonly order?: readonly number[]
}

const { mode } = workerData as { mode: string }
if (mode === 'broken module') throw new Error('cannot load')

const order: number[] = []

serveLane<Item, Outcome>(() => {
  if (mode === 'cannot open') throw new UsageError('The folder is in use')
  return {
    async run(batch) {
      order.push(batch.length)
      const results: Outcome[] = []
      for (const item of batch) results.push(await one(item))
      return results
    },
    close() {
      if (mode === 'cannot close') throw new Error('cannot close')
    },
  }
})

async function one({ what, number = 0n, bytes = new Uint8Array(0) }: Item): Promise<Outcome> {
  switch (what) {
    case 'double':
      return { number: number * 2n }
    case 'fail':
      throw new FsError('ENOSPC', 'no room for it')
    case 'bug':
      throw new TypeError('a bug')
    case 'die':
      return process.exit(3)
    case 'throw-later':
      setImmediate(() => {
        throw new Error('out of the blue')
      })
      return new Promise(() => undefined)
    case 'sum':
      return {
        isBuffer: Buffer.isBuffer(bytes),
        memory: bytes.buffer.byteLength,
        bytes: bytes.map(byte => byte + 1),
      }
    case 'order':
      await new Promise(resolve => setTimeout(resolve, 5))
      return { order: [...order] }
  }
}
