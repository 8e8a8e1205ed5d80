import { writeFileSync } from 'node:fs'
import { command } from './sides/command.ts'

/** Pages, names and inodes that the kernel keeps, of every file system. */
export async function dropCaches(): Promise<void> {
  await command('sync', [])
  writeFileSync('/proc/sys/vm/drop_caches', '3')
}
