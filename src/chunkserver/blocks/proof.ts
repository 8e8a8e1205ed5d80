/**
 * Files in the folder that say whose it is. The index knows, too, but is open: that the folder was emptied, or
 * another disk was mounted over it, shows only in what the path leads to now.
 */
import { FsError, UsageError } from '../../core/errors.ts'
import type { Disk } from '../disk/disk.ts'
import { temporaryFolder } from './layout.ts'

export const storeIdFile = 'store-id'
/** Beside it: of which cluster it is. */
export const clusterIdFile = 'cluster-id'

const textOf = (id: Uint8Array): Buffer => Buffer.from(`${Buffer.from(id).toString('hex')}\n`)

/** What is wrong with the proof: nothing, that it is not there, or that it is another store's. */
export async function whatOfProof(disk: Disk, store: Uint8Array): Promise<'right' | 'missing' | 'other'> {
  const text = await textIn(disk, storeIdFile)
  if (text === undefined) return 'missing'
  if (text === textOf(store).toString('latin1')) return 'right'
  // What is no proof at all was torn by a power cut when it was made.
  return /^[0-9a-f]{32}\n$/.test(text) ? 'other' : 'missing'
}

/** Throws UsageError for another store's; answers whether the proof is there. Nothing is changed. */
export async function refuseOther(disk: Disk, store: Uint8Array): Promise<boolean> {
  const found = await whatOfProof(disk, store)
  if (found === 'other')
    throw new UsageError(
      'its files are those of another store than its index: it was put together from two, or its index was lost, and cairn fsck --repair with this folder makes it anew',
    )
  return found === 'right'
}

/** Of a store that is being opened: stores of older versions have none. Throws UsageError for another store's. */
export async function proveFolder(disk: Disk, store: Uint8Array): Promise<void> {
  if (!(await refuseOther(disk, store))) await place(disk, storeIdFile, textOf(store))
}

/** The cluster that the folder belongs to; undefined before one has taken it. */
export async function clusterOf(disk: Disk): Promise<Uint8Array | undefined> {
  const text = await textIn(disk, clusterIdFile)
  // What is none was torn by a power cut when it was made.
  return text !== undefined && /^(?:[0-9a-f]{2}){1,64}\n$/.test(text)
    ? Buffer.from(text.trim(), 'hex')
    : undefined
}

export async function noteCluster(disk: Disk, cluster: Uint8Array): Promise<void> {
  const noted = textOf(cluster)
  if ((await textIn(disk, clusterIdFile)) !== noted.toString('latin1'))
    await place(disk, clusterIdFile, noted)
}

/** Undefined: there is none. */
async function textIn(disk: Disk, name: string): Promise<string | undefined> {
  try {
    const file = await disk.open(name)
    try {
      const { bytes, release } = await file.read(0, 4096)
      const text = Buffer.from(bytes).toString('latin1')
      release()
      return text
    } finally {
      await file.close()
    }
  } catch (error) {
    if (FsError.from(error).code === 'ENOENT') return undefined
    throw error
  }
}

async function place(disk: Disk, name: string, text: Buffer): Promise<void> {
  const temporary = `${temporaryFolder}/${name}`
  const file = await disk.create(temporary)
  try {
    await file.append(text)
    await file.datasync()
  } finally {
    await file.close()
  }
  await disk.rename(temporary, name)
  await disk.syncFolder('.')
}
