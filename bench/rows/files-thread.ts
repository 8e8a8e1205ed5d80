import { workerData } from 'node:worker_threads'
import { makeFiles } from './make-files.ts'

/** One of several threads that make files at once. */
export interface FilesWork {
  readonly dir: string
  readonly count: number
  /** How many are ready, and whether they may begin. */
  readonly gate: Int32Array
}

const { dir, count, gate } = workerData as FilesWork
Atomics.add(gate, 0, 1)
Atomics.notify(gate, 0)
Atomics.wait(gate, 1, 0)
makeFiles(dir, count, false)
