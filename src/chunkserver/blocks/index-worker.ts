/**
 * The thread of a store's index in a daemon: `{ folder, role }` as its data. One is the writer, whose
 * syncs hold up nobody but puts and deletions; the other reads beside it.
 */
import { workerData } from 'node:worker_threads'
import { createChecksums } from '../../core/checksum.ts'
import { serveLane } from '../../env/serve-lane.ts'
import { IndexEngine } from './index-engine.ts'
import type { IndexReply, IndexRequest } from './index-protocol.ts'
import { openIndexReader, openIndexWriter } from './open-index.ts'

export interface IndexWorkerData {
  readonly folder: string
  readonly role: 'writer' | 'reader'
}

serveLane<IndexRequest, IndexReply>(async () => {
  const { folder, role } = workerData as IndexWorkerData
  const open = role === 'writer' ? openIndexWriter : openIndexReader
  const engine = new IndexEngine(() => open(folder), await createChecksums())
  return { run: batch => engine.apply(batch), close: () => engine.abandon() }
})
