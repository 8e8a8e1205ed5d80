/**
 * Makes the index of a chunkserver's folder anew from its files, after it was lost or damaged. What was in the index alone is
 * lost here: blocks of up to 64 KiB, and which node this was. So it becomes a new node, whose files the master takes as copies
 * once it has them proved; the old index is kept beside it.
 *
 *   old index aside → name of the store gone → fresh index → a row for each file that is right
 *
 * Killed at any moment before the fresh index is there it is begun again; after that a start of the chunkserver goes on.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { blockFolders, blocksFolder } from '../chunkserver/blocks/layout.ts'
import { clusterOfIndex, indexDamage } from '../chunkserver/blocks/open-index.ts'
import { clusterIdFile, storeIdFile } from '../chunkserver/blocks/proof.ts'
import type { Env } from '../core/env.ts'
import { openBlockStore } from './daemons/open-block-store.ts'
import { syncFolder } from './sync-folder.ts'

export interface NodeRepair {
  /** Why the index cannot be used; undefined: it can, and nothing was done. */
  readonly why: string | undefined
  /** Files of blocks. */
  readonly files: number
  /** Undefined where nothing was changed. */
  readonly done:
    | {
        /** Blocks that are right by their names. */
        readonly adopted: number
        /** Those that only the master can tell about. */
        readonly unproven: number
        /** The old index, if there was one. */
        readonly aside: string | undefined
      }
    | undefined
}

/** Whether it is one of a chunkserver. */
export const isNodeFolder = (folder: string): boolean => existsSync(path.join(folder, blocksFolder))

/** The caller holds the folder. */
export async function repairNodeFolder(env: Env, folder: string, keep: boolean): Promise<NodeRepair> {
  const proof = path.join(folder, storeIdFile)
  const why = existsSync(path.join(folder, 'index.sqlite'))
    ? indexDamage(folder, proofIn(proof))
    : 'its file was lost'
  const files = countFiles(folder)
  if (why === undefined || !keep) return { why, files, done: undefined }
  const stamp = new Date(Number(env.clock.wall() / 1_000_000n)).toISOString().replaceAll(/[-:.]/g, '')
  const aside = `index.before-repair-${stamp}.sqlite`
  keepCluster(folder)
  const there = ['', '-wal', '-shm'].filter(end => existsSync(path.join(folder, `index.sqlite${end}`)))
  for (const end of there)
    renameSync(path.join(folder, `index.sqlite${end}`), path.join(folder, `${aside}${end}`))
  // Its own would be taken for another store's.
  rmSync(proof, { force: true })
  syncFolder(folder)
  const failed = (error: Error): void => {
    throw error
  }
  const { store } = await openBlockStore(env, folder, failed, { rebuild: true })
  const [adopted, unproven] = [store.totals.blocks, store.unproven.size]
  await store.close()
  return { why, files, done: { adopted, unproven, aside: there.length > 0 ? aside : undefined } }
}

/** What the folder says whose it is; undefined where it does not, or where that was torn by a power cut. */
function proofIn(file: string): string | undefined {
  const text = existsSync(file) ? readFileSync(file, 'latin1').trim() : ''
  return /^[0-9a-f]{32}$/.test(text) ? text : undefined
}

/** Stores of older versions have it in their index alone. */
function keepCluster(folder: string): void {
  const file = path.join(folder, clusterIdFile)
  const cluster = existsSync(file) ? undefined : clusterOfIndex(folder)
  if (cluster === undefined) return
  writeFileSync(file, `${cluster.toString('hex')}\n`, { flush: true })
  syncFolder(folder)
}

function countFiles(folder: string): number {
  return blockFolders
    .map(name => path.join(folder, name))
    .filter(names => existsSync(names) && statSync(names).isDirectory())
    .reduce((count, names) => count + readdirSync(names).length, 0)
}
