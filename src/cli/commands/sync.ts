import { constants, promises as fs } from 'node:fs'
import type { Command } from 'commander'
import { messageOf, NotStoredError } from '../../core/errors.ts'
import { mountOf } from '../mounts.ts'
import { print, printJson } from '../output.ts'

/**
 * The kernel does not hand sync(2) and syncfs(2) to FUSE, but it does hand over fsync of a directory:
 * that of the mount's root writes back everything of the mount.
 */
export async function syncMount(root: string): Promise<void> {
  const directory = await fs.open(root, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

export function registerSync(program: Command): void {
  program
    .command('sync')
    .description('return when everything written on the mount is on stable storage of all copies')
    .argument('<path>', 'the mount, or anything on it')
    .option('--json', 'print the result as JSON')
    .action(async (target: string, options: { json?: boolean }) => {
      const mount = mountOf(target)
      try {
        await syncMount(mount.path)
      } catch (error) {
        throw new NotStoredError(`${mount.path} could not be written back: ${messageOf(error)}`)
      }
      if (options.json === true) printJson({ mount: mount.path, synced: true })
      else print(`${mount.path}: everything is on stable storage`)
    })
}
