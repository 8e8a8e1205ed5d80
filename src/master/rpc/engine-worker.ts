/** The thread of the master's engine and database in a daemon: EngineData as its data. */
import { performance } from 'node:perf_hooks'
import { workerData } from 'node:worker_threads'
import { createChecksums } from '../../core/checksum.ts'
import { serveLane } from '../../env/serve-lane.ts'
import type { EngineInput, EngineOutput } from '../engine/io.ts'
import { type EngineData, openEngine } from './open-engine.ts'

serveLane<readonly EngineInput[], readonly EngineOutput[]>(async () =>
  openEngine(workerData as EngineData, await createChecksums(), () => performance.now()),
)
