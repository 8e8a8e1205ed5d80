import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Where something is mounted. */
export const mountPoints = (): string[] =>
  readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[1] ?? '')

export const isMounted = (folder: string): boolean => mountPoints().includes(folder)

/** Takes a mount from the tree, whatever state it is in. */
export function detach(folder: string): void {
  for (let tries = 0; tries < 10 && isMounted(folder); tries++) spawnSync('umount', ['--lazy', folder])
}
