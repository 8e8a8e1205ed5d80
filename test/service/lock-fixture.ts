import { FolderLock } from '#src/service/folder-lock.ts'

/** Holds the folder until it is killed. */
const [, , folder = ''] = process.argv
await FolderLock.take(folder)
process.stdout.write('held\n')
setInterval(() => undefined, 1000)
