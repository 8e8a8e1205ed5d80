import { readFileSync } from 'node:fs'

/**
 * Supplementary groups of a process or thread of this machine; none for one that is gone or that this
 * process's namespace does not show. Does not wait for the process, which may wait for us.
 */
export function groupsOfProcess(pid: number): readonly number[] {
  try {
    const groups = /^Groups:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? ''
    return groups
      .split(/\s+/)
      .filter(group => group !== '')
      .map(Number)
  } catch (thrown) {
    const gone = ['ENOENT', 'ESRCH', 'EACCES'].includes((thrown as NodeJS.ErrnoException).code ?? '')
    if (gone) return []
    throw thrown
  }
}
