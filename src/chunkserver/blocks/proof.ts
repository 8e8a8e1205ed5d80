/**
 * A file in the folder that says whose it is. The index knows, too, but is open: that the folder was emptied, or
 * another disk was mounted over it, shows only in what the path leads to now.
 */
import { FsError, UsageError } from '../../core/errors.ts'
import type { Disk } from '../disk/disk.ts'
import { temporaryFolder } from './layout.ts'

export const storeIdFile = 'store-id'

const textOf = (store: Uint8Array): Buffer => Buffer.from(`${Buffer.from(store).toString('hex')}\n`)

/** What is wrong with the proof: nothing, that it is not there, or that it is another store's. */
export async function whatOfProof(disk: Disk, store: Uint8Array): Promise<'right' | 'missing' | 'other'> {
  try {
    const file = await disk.open(storeIdFile)
    try {
      const { bytes, release } = await file.read(0, 4096)
      const text = Buffer.from(bytes).toString('latin1')
      release()
      if (text === textOf(store).toString('latin1')) return 'right'
      // What is no proof at all was torn by a power cut when it was made.
      return /^[0-9a-f]{32}\n$/.test(text) ? 'other' : 'missing'
    } finally {
      await file.close()
    }
  } catch (error) {
    if (FsError.from(error).code === 'ENOENT') return 'missing'
    throw error
  }
}

/** Of a store that is being opened: stores of older versions have none. Throws UsageError for another store's. */
export async function proveFolder(disk: Disk, store: Uint8Array): Promise<void> {
  const found = await whatOfProof(disk, store)
  if (found === 'right') return
  if (found === 'other')
    throw new UsageError(
      'its files are those of another store than its index: it was put together from two, or its index was lost, and cairn fsck --repair with this folder makes it anew',
    )
  const temporary = `${temporaryFolder}/${storeIdFile}`
  const file = await disk.create(temporary)
  try {
    await file.append(textOf(store))
    await file.datasync()
  } finally {
    await file.close()
  }
  await disk.rename(temporary, storeIdFile)
  await disk.syncFolder('.')
}
