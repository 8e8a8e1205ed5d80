import { chownSync, lstatSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'

/**
 * Gives the files that lie in a daemon's folder, and of folders in it those that are named, to the folder's owner. Root repairs
 * and restores, and the daemon, which is not root, could not open what root has made there.
 */
export function ownLikeFolder(folder: string, folders: readonly string[] = []): void {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = statSync(folder)
  for (const name of [...readdirSync(folder), ...folders]) {
    const file = path.join(folder, name)
    const there = lstatSync(file, { throwIfNoEntry: false })
    if (there === undefined) continue
    // What has another name elsewhere is not the folder's alone.
    const own = there.isDirectory() ? folders.includes(name) : there.isFile() && there.nlink === 1
    if (own && (there.uid !== uid || there.gid !== gid)) chownSync(file, uid, gid)
  }
}
