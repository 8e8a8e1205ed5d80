import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import os from 'node:os'

/**
 * Identity of this machine, the same for all nodes and mounts on it: copies of a block go to different
 * ones, and a reader prefers its own. Not the machine id itself, which is not to leave the machine (see
 * machine-id(5)).
 */
export function hostIdentity(): string {
  let id = ''
  try {
    id = readFileSync('/etc/machine-id', 'utf8').trim()
  } catch {
    // A container may have none; its name must do.
  }
  const hash = createHash('sha256').update(`cairn host ${id} ${os.hostname()}`).digest('hex')
  return `${os.hostname()}-${hash.slice(0, 12)}`
}
