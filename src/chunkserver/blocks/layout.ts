import { blocksFolder } from '../../core/block-files.ts'

export { blockFolderOf as folderOf, blockPathOf as pathOf, blocksFolder } from '../../core/block-files.ts'

/** The folders of a store's files, relative to its data folder. Part of the format on disk. */
/** What is not finished. Emptied at each opening. */
export const temporaryFolder = 'tmp'
export const folderCount = 256

export const folderName = (number: number): string => number.toString(16).padStart(2, '0')
/** Of the files of blocks. */
export const blockFolders: readonly string[] = Array.from(
  { length: folderCount },
  (_, number) => `${blocksFolder}/${folderName(number)}`,
)
/** All that a store makes. */
export const storeFolders: readonly string[] = [temporaryFolder, blocksFolder, ...blockFolders]
/** Tells those who read the folder, too, that it is the one of this start of its node. */
export const proofPathOf = (incarnation: bigint): string => `${temporaryFolder}/proof-${incarnation}`
