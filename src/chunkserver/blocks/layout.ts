import type { BlockId } from '../../core/ids.ts'

/** The folders of a store's files, relative to its data folder. Part of the format on disk. */
export const blocksFolder = 'blocks'
/** What is not finished. Emptied at each opening. */
export const temporaryFolder = 'tmp'
export const folderCount = 256

export const folderName = (number: number): string => number.toString(16).padStart(2, '0')
export const folderOf = (id: BlockId): string => `${blocksFolder}/${id.slice(0, 2)}`
export const pathOf = (id: BlockId): string => `${folderOf(id)}/${id}`
