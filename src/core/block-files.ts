/**
 * Where a store keeps the file of a block, relative to its folder: part of the format on disk, and known to those
 * who read the files of a node on their machine by themselves.
 */
import type { BlockId } from './ids.ts'

export const blocksFolder = 'blocks'
export const blockFolderOf = (id: BlockId): string => `${blocksFolder}/${id.slice(0, 2)}`
export const blockPathOf = (id: BlockId): string => `${blockFolderOf(id)}/${id}`
