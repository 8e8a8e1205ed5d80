import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BlockIndex } from '#src/chunkserver/blocks/block-index.ts'
import { BlockStore } from '#src/chunkserver/blocks/block-store.ts'
import { IndexEngine } from '#src/chunkserver/blocks/index-engine.ts'
import type { IndexReply, IndexRequest } from '#src/chunkserver/blocks/index-protocol.ts'
import { openIndexWriter } from '#src/chunkserver/blocks/open-index.ts'
import { RealDisk } from '#src/chunkserver/disk/real-disk.ts'
import { blockIdOf, type Checksums } from '#src/core/checksum.ts'
import { silentLog } from '#src/core/env.ts'
import { messageOf } from '#src/core/errors.ts'
import { type BlockId, blockIdFromBytes } from '#src/core/ids.ts'
import type { Lane } from '#src/core/network.ts'
import { realEnv } from '#src/env/real-env.ts'
import { fsck } from '#src/master/fsck/fsck.ts'
import { lostCommits } from '#src/master/log/wal-damage.ts'
import { openDatabase } from '#src/master/store/open-database.ts'
import { Store } from '#src/master/store/store.ts'

/** What a file may be: one of these; undefined is that there is none. */
export type Allowed = ReadonlyMap<string, readonly (string | undefined)[]>

/** The data folders of a cluster, opened as its daemons open them after a power cut. */
export class CutCluster {
  readonly #checksums: Checksums
  readonly #master: Store
  readonly #nodes = new Map<bigint, BlockStore>()

  private constructor(checksums: Checksums, master: Store) {
    this.#checksums = checksums
    this.#master = master
  }

  /** What is wrong with it, a line each. */
  static async check(folder: string, allowed: Allowed, checksums: Checksums): Promise<string[]> {
    const opened: CutCluster[] = []
    try {
      const database = join(folder, 'master/master.db')
      const wal = existsSync(`${database}-wal`) ? readFileSync(`${database}-wal`) : new Uint8Array(0)
      // A torn end is no damage.
      const lost = lostCommits((offset, length) => wal.subarray(offset, offset + length))
      if (lost > 0) return [`${String(lost)} commits are taken for lost`]
      const master = Store.open(openDatabase(database))
      const cluster = new CutCluster(checksums, master)
      opened.push(cluster)
      for (let number = 1; existsSync(join(folder, `node-${String(number)}`)); number++)
        await cluster.#openNode(join(folder, `node-${String(number)}`))
      return [
        ...fsck(master, true).problems,
        ...(await cluster.#checkCopies()),
        ...(await cluster.#checkFiles(allowed)),
      ]
    } catch (error) {
      return [`it cannot be opened: ${messageOf(error)}`]
    } finally {
      for (const cluster of opened) await cluster.#close()
    }
  }

  async #openNode(folder: string): Promise<void> {
    const engine = new IndexEngine(() => openIndexWriter(folder), this.#checksums)
    const lane: Lane<IndexRequest, IndexReply> = {
      run: async batch => engine.apply(batch),
      close: async () => engine.abandon(),
    }
    const store = await BlockStore.open({
      env: realEnv(silentLog),
      disk: new RealDisk(folder),
      index: new BlockIndex(lane),
      checksums: this.#checksums,
    })
    this.#nodes.set(store.identity.node, store)
  }

  async #close(): Promise<void> {
    for (const store of this.#nodes.values()) await store.close()
    this.#master.close()
  }

  /** A copy that the master counts was on stable storage before it heard of it, and is deleted after it forgot it. */
  async #checkCopies(): Promise<string[]> {
    const rows = this.#master.db
      .prepare<[], { id: Buffer; node: bigint; generation: bigint }>(
        'SELECT b.id, r.node, r.generation FROM blocks b JOIN replicas r ON r.block = b.key WHERE b.state = 0',
      )
      .safeIntegers()
      .all()
    const problems: string[] = []
    for (const { id, node, generation } of rows) {
      const block = blockIdFromBytes(id)
      const store = this.#nodes.get(node)
      const row = await store?.index.ask('lookup', { id: block })
      if (store === undefined || row === undefined || row.generation < generation)
        problems.push(`node ${node} has lost its copy of block ${block}`)
      else if ((await this.#contentOn(store, block)) === undefined)
        problems.push(`node ${node} has wrong bytes of block ${block}`)
    }
    return problems
  }

  async #checkFiles(allowed: Allowed): Promise<string[]> {
    const problems: string[] = []
    for (const [name, states] of allowed) {
      const found = await this.#contentOf(name)
      const is = found === undefined ? undefined : blockIdOf(found)
      if (!states.includes(is))
        problems.push(`${name} is ${is ?? 'not there'}, and may be ${states.map(String).join(' or ')}`)
    }
    return problems
  }

  /** Of a file in the root. */
  async #contentOf(name: string): Promise<Buffer | undefined> {
    const { db } = this.#master
    const ino = db
      .prepare<[Buffer], bigint>('SELECT ino FROM dirents WHERE parent = 1 AND name = ?')
      .pluck()
      .safeIntegers()
      .get(Buffer.from(name))
    if (ino === undefined) return undefined
    const size = Number(db.prepare('SELECT size FROM inodes WHERE ino = ?').pluck().get(ino))
    const content = Buffer.alloc(size)
    const extents = db
      .prepare<[bigint], { offset: number; length: number; from: number; id: Buffer }>(
        `SELECT e.offset, e.length, e.block_offset AS "from", b.id
         FROM extents e JOIN blocks b ON b.key = e.block WHERE e.ino = ?`,
      )
      .all(ino)
    for (const { offset, length, from, id } of extents) {
      const block = await this.#content(blockIdFromBytes(id))
      block?.copy(content, offset, from, from + length)
    }
    return content
  }

  /** As a reader gets it: from any node that has it right. */
  async #content(id: BlockId): Promise<Buffer | undefined> {
    for (const store of this.#nodes.values()) {
      const found = await this.#contentOn(store, id)
      if (found !== undefined) return found
    }
    return undefined
  }

  async #contentOn(store: BlockStore, id: BlockId): Promise<Buffer | undefined> {
    try {
      const reader = await store.read(id)
      try {
        const content = Buffer.alloc(reader.row.length)
        for (let at = 0; at < content.length; at += 1024 * 1024) {
          const { bytes, release } = await reader.read(at, Math.min(1024 * 1024, content.length - at))
          content.set(bytes, at)
          release()
        }
        return blockIdOf(content) === id ? content : undefined
      } finally {
        await reader.close()
      }
    } catch {
      return undefined
    }
  }
}
