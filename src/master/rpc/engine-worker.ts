/** The thread of the master's engine and database in a daemon: EngineData as its data. */
import { closeSync, existsSync, openSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { workerData } from 'node:worker_threads'
import { createChecksums } from '../../core/checksum.ts'
import { MiB } from '../../core/units.ts'
import { collectFreed } from '../../env/collect-freed.ts'
import { readAt } from '../../env/read-at.ts'
import { serveLane } from '../../env/serve-lane.ts'
import type { EngineInput, EngineOutput } from '../engine/io.ts'
import type { ReadWal } from '../log/wal-reader.ts'
import { type EngineData, openEngine } from './open-engine.ts'

serveLane<readonly EngineInput[], readonly EngineOutput[]>(async () =>
  openEngine(workerData as EngineData, await createChecksums(), {
    stopwatch: () => performance.now(),
    openWal,
    leftWal: file => (existsSync(file) ? openWal(file) : undefined),
  }),
)

collectFreed(8 * MiB)

let fd: number | undefined

/**
 * It is there as soon as the database was used, and stays one file as long as that is open. A database that is opened
 * again, after its disk was full, has another one: that of before is closed.
 */
function openWal(file: string): ReadWal {
  if (fd !== undefined) closeSync(fd)
  fd = undefined
  return (offset, length) => {
    fd ??= openSync(file, 'r')
    return readAt(fd, offset, length)
  }
}
