import { BlockIdHasher, type Checksums } from '../../core/checksum.ts'
import type { Log } from '../../core/env.ts'
import { FsError, UsageError } from '../../core/errors.ts'
import { type BlockId, parseBlockId } from '../../core/ids.ts'
import { blockBytesMax, dataMessageBytes } from '../../core/limits.ts'
import type { Disk } from '../disk/disk.ts'
import type { BlockIndex } from './block-index.ts'
import type { DamageList } from './damage.ts'
import type { Opened, UnprovenFile } from './index-protocol.ts'
import {
  blockFolders,
  blocksFolder,
  folderCount,
  folderName,
  folderOf,
  pathOf,
  storeFolders,
  temporaryFolder,
} from './layout.ts'
import { isSmall } from './stored-bytes.ts'

/**
 * Generation of a block whose file was found without a row. The master grants higher ones, and sees the
 * block in the inventory as an instance that it does not know.
 */
export const adoptedGeneration = 1n

/** All of a file that could be a block, as it was read. */
export interface FoundFile extends Omit<UnprovenFile, 'id'> {
  readonly checksums: Uint8Array
}

export interface Recovery {
  readonly disk: Disk
  readonly index: BlockIndex
  readonly checksums: Checksums
  readonly opened: Opened
  /** The index was lost, and an operator has it made anew from the files. */
  readonly rebuild: boolean
  readonly damages: DamageList
  /** Takes the files that are kept although nobody here can tell whether they are right. */
  readonly unproven: Map<BlockId, UnprovenFile>
  readonly log: Log
}

/** Makes folder and index agree, whatever a crash left. */
export async function recoverStore(recovery: Recovery): Promise<void> {
  const { opened, unproven, log } = recovery
  for (const file of opened.unproven) unproven.set(file.id, file)
  await (opened.fresh ? makeFolders(recovery) : checkFolders(recovery))
  await emptyTemporaries(recovery)
  await unlinkRemoved(recovery)
  if (!opened.clean || recovery.rebuild)
    for (let number = 0; number < folderCount; number++) await compareFolder(recovery, number)
  const files = unproven.size
  if (files > 0) log.warn('files of blocks without a row wait for the master to prove them', { files })
}

async function makeFolders({ disk, rebuild }: Recovery): Promise<void> {
  await disk.makeFolder(temporaryFolder)
  await disk.makeFolder(blocksFolder)
  for (const folder of blockFolders) {
    await disk.makeFolder(folder)
    if (!rebuild && (await disk.list(folder)).length > 0)
      throw new UsageError(
        `there are blocks in ${folder}, but no index: its file was lost. cairn fsck --repair with this folder makes it anew`,
      )
  }
  await disk.syncFolder(blocksFolder)
  await disk.syncFolder('.')
}

/** An index without its files is most likely a disk that is not mounted: going on would report all of it as lost. */
async function checkFolders({ disk, opened }: Recovery): Promise<void> {
  const { files } = opened.totals
  for (let number = 0; files > 0 && number < folderCount; number++) {
    const names = await listOrNothing(disk, `${blocksFolder}/${folderName(number)}`)
    if (names.length > 0) break
    if (number === folderCount - 1)
      throw new UsageError(`the index has ${files} blocks in files, but the folder has none: was it emptied?`)
  }
  let made = false
  for (const folder of storeFolders) made = (await disk.makeFolder(folder)) || made
  if (!made) return
  // A power cut in the first start, or somebody, took some: a block is as durable as the name of its folder.
  await disk.syncFolder(blocksFolder)
  await disk.syncFolder('.')
}

async function listOrNothing(disk: Disk, folder: string): Promise<string[]> {
  try {
    return await disk.list(folder)
  } catch (error) {
    if (FsError.from(error).code === 'ENOENT') return []
    throw error
  }
}

async function emptyTemporaries({ disk, log }: Recovery): Promise<void> {
  const names = await disk.list(temporaryFolder)
  for (const name of names) await disk.unlink(`${temporaryFolder}/${name}`)
  if (names.length > 0) log.info('unfinished blocks were removed', { count: names.length })
}

async function unlinkRemoved({ disk, index, opened }: Recovery): Promise<void> {
  if (opened.unlinked.length === 0) return
  for (const id of opened.unlinked)
    await disk.unlink(pathOf(id)).catch((error: unknown) => {
      if (FsError.from(error).code !== 'ENOENT') throw error
    })
  for (const folder of new Set(opened.unlinked.map(folderOf))) await disk.syncFolder(folder)
  await Promise.all(opened.unlinked.map(id => index.ask('forgetUnlinked', { id })))
}

async function compareFolder(recovery: Recovery, number: number): Promise<void> {
  const { disk, index, log } = recovery
  const folder = `${blocksFolder}/${folderName(number)}`
  const known = new Set(await index.ask('files', { folder: number }))
  for (const name of await disk.list(folder)) {
    const id = parseBlockId(name)
    if (id === undefined || folderOf(id) !== folder)
      log.warn('stray file in the store', { file: `${folder}/${name}` })
    else if (!known.delete(id) && !recovery.unproven.has(id)) await adoptOrKeep(recovery, id)
  }
  for (const id of known) await reportMissing(recovery, id)
}

/**
 * A put that was never answered, or a block whose row was lost with an older index. What is right is
 * kept: only the master knows that it is not needed. What matches only with a dedup domain, which nobody here knows
 * once the row is gone, or has rotted, cannot be told apart: it stays, and is not read until the master, which is asked, has
 * proved it (BlockStore.adopt). It is no unfinished put, since files get their names when all of them was verified; a put of
 * the same id replaces it.
 */
async function adoptOrKeep(recovery: Recovery, id: BlockId): Promise<void> {
  const { disk, index, unproven, log } = recovery
  const found = await readFound(recovery, id)
  if (found === undefined) {
    log.warn('unknown file is no whole block and was removed', { block: id })
    await disk.unlink(pathOf(id))
    return
  }
  // Its name may not be on stable storage yet.
  await disk.syncFolder(folderOf(id))
  const { length, sha256, checksums } = found
  if (sha256 !== id) {
    // All of it was read: a store with many of them could else not be opened within the time that units have.
    await index.ask('noteUnproven', { id, length, sha256 })
    unproven.set(id, { id, length, sha256 })
    return
  }
  await index.ask('put', { id, generation: adoptedGeneration, length, checksums, data: undefined })
  log.info('block without a row was adopted', { block: id })
}

/** Reads the file of a block, which is on stable storage then. Undefined: no block has such a size. */
export async function readFound(
  { disk, checksums }: Pick<Recovery, 'disk' | 'checksums'>,
  id: BlockId,
): Promise<FoundFile | undefined> {
  const file = await disk.open(pathOf(id), true)
  try {
    const length = await file.size()
    if (isSmall(length) || length > blockBytesMax) return undefined
    const hash = new BlockIdHasher()
    const pieces = checksums.hasher(id)
    for (let at = 0; at < length; at += dataMessageBytes) {
      const { bytes, release } = await file.read(at, Math.min(dataMessageBytes, length - at))
      hash.update(bytes)
      pieces.update(bytes)
      release()
    }
    // It may have been renamed by a process that died before it synced: see BlockStore.
    await file.datasync()
    return { length, sha256: hash.digest(), checksums: new Uint8Array(pieces.digest()) }
  } finally {
    await file.close()
  }
}

async function reportMissing({ index, damages, log }: Recovery, id: BlockId): Promise<void> {
  const row = await index.ask('lookup', { id })
  if (row === undefined) return
  log.warn('block is damaged', { block: id, what: 'its file is missing' })
  damages.add({ id, generation: row.generation, what: 'its file is missing' })
}
