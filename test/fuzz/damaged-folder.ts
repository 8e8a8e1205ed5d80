/** A chunkserver's folder with something of it changed: nothing wrong is ever taken for right, and no damage is more than a refusal. */
import { randomUUID } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { BlockIndex } from '#src/chunkserver/blocks/block-index.ts'
import { BlockStore } from '#src/chunkserver/blocks/block-store.ts'
import { IndexEngine } from '#src/chunkserver/blocks/index-engine.ts'
import type { IndexRequest } from '#src/chunkserver/blocks/index-protocol.ts'
import { openIndexWriter } from '#src/chunkserver/blocks/open-index.ts'
import { whatOfProof } from '#src/chunkserver/blocks/proof.ts'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { blockPathOf } from '#src/core/block-files.ts'
import { blockIdOf, type Checksums } from '#src/core/checksum.ts'
import { silentLog } from '#src/core/env.ts'
import { FsError, UsageError } from '#src/core/errors.ts'
import { realEnv } from '#src/env/real-env.ts'
import type { Target } from './targets.ts'

const fileBytes = 100 * 1024
const indexFile = 'index.sqlite'

/** Kind, where (3 bytes), whether the file ends after it, and what is written there. */
function changed(whole: Buffer, input: Buffer): Buffer {
  const at = ((input[1] ?? 0) * 65536 + (input[2] ?? 0) * 256 + (input[3] ?? 0)) % (whole.length + 1)
  const patch = input.subarray(5)
  const rest = whole.subarray(Math.min(whole.length, at + patch.length))
  return Buffer.concat([whole.subarray(0, at), patch, ...((input[4] ?? 0) % 2 === 1 ? [] : [rest])])
}

export async function damagedFolder(checksums: Checksums): Promise<Target> {
  const folder = path.join(os.tmpdir(), `cairn-fuzz-${randomUUID()}`)
  const [used, other] = ['used', 'other'].map(name => path.join(folder, name)) as [string, string]
  for (const each of [used, other]) mkdirSync(each, { recursive: true })
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const env = realEnv(silentLog)
  const engine = new IndexEngine(() => openIndexWriter(used), checksums)
  const index = new BlockIndex({
    run: async batch => engine.apply(batch),
    close: async () => engine.abandon(),
  })
  const store = await BlockStore.open({ env, disk: new RealDisk(used), index, checksums })
  const data = Buffer.alloc(fileBytes, 'what is in the block ')
  const id = blockIdOf(data)
  const small = Buffer.from('a small one')
  const claim = { id, length: data.length, checksums: checksums.make(id, data) }
  const file = store.receive()
  await file.append(data)
  await store.putFile(claim, 1n, file)
  const smallId = blockIdOf(small)
  const smallClaim = { id: smallId, length: small.length, checksums: checksums.make(smallId, small) }
  await store.putRow(smallClaim, 1n, small)
  const idBytes = readFileSync(path.join(used, 'store-id'))
  engine.abandon()
  const indexBytes = readFileSync(path.join(used, indexFile))

  const blockFile = async (input: Buffer): Promise<void> => {
    // The index is closed for the copy: this one reads it anew.
    const reading = new IndexEngine(() => openIndexWriter(used), checksums)
    const lane = {
      run: async (batch: readonly IndexRequest[]) => reading.apply(batch),
      close: async () => reading.abandon(),
    }
    const reader = await BlockStore.open({
      env,
      disk: new RealDisk(used),
      index: new BlockIndex(lane),
      checksums,
    })
    const bytes = changed(data, input)
    writeFileSync(path.join(used, blockPathOf(id)), bytes)
    try {
      const opened = await reader.read(id)
      try {
        if ((await reader.verify(opened)) && !bytes.subarray(0, data.length).equals(data))
          throw new TypeError('a damaged block is taken for right')
      } finally {
        await opened.close()
      }
    } catch (thrown) {
      if (!(thrown instanceof FsError)) throw thrown
    } finally {
      writeFileSync(path.join(used, blockPathOf(id)), data)
      reading.abandon()
    }
  }

  const proofFile = async (input: Buffer): Promise<void> => {
    const bytes = changed(idBytes, input)
    writeFileSync(path.join(other, 'store-id'), bytes)
    const found = await whatOfProof(
      new RealDisk(other),
      Buffer.from(idBytes.toString('latin1').trim(), 'hex'),
    )
    if (found === 'right' && !bytes.equals(idBytes)) throw new TypeError('another proof is taken for right')
  }

  const database = (input: Buffer): void => {
    for (const suffix of ['-wal', '-shm']) rmSync(path.join(other, indexFile + suffix), { force: true })
    copyFileSync(path.join(used, indexFile), path.join(other, indexFile))
    writeFileSync(path.join(other, indexFile), changed(indexBytes, input))
    const damaged = new IndexEngine(() => openIndexWriter(other), checksums)
    try {
      const requests: IndexRequest[] = [
        { op: 'open', in: { store: Buffer.alloc(16, 1) } },
        { op: 'get', in: { id } },
        { op: 'get', in: { id: smallId } },
        { op: 'next', in: { after: undefined } },
        { op: 'digest', in: { prefixBits: 4 } },
        { op: 'changes', in: { after: 0n, limit: 10 } },
      ]
      for (const request of requests) {
        const [reply] = damaged.apply([request])
        if (reply === undefined) throw new TypeError('no answer')
        if (!reply.ok) return
      }
    } catch (thrown) {
      if (!(thrown instanceof UsageError) && !(thrown instanceof FsError)) throw thrown
    } finally {
      damaged.abandon()
    }
  }

  return {
    seeds: [0, 1, 2, 3, 5].flatMap(kind => [
      Buffer.from([kind, 0, 0, 0, 0, 1]),
      Buffer.from([kind, 0, 1, 0, 1]),
      Buffer.from([kind, 0, 16, 3, 0, ...Buffer.alloc(64, 255)]),
      Buffer.from([kind, 0, 0, 18, 0, 9, 9]),
      Buffer.from([kind, 0, 32, 0, 0, ...Buffer.alloc(16)]),
    ]),
    run: input => {
      const kind = (input[0] ?? 0) % 3
      if (kind === 0) return blockFile(input)
      if (kind === 1) return proofFile(input)
      database(input)
      return undefined
    },
  }
}
