import { readFileSync } from 'node:fs'

/** Bit of SIGKILL in a set of signals as /proc shows it. The kernel adds it for whatever ends a process without a core. */
const killBit = 1n << 8n

/**
 * Supplementary groups of a process or thread of this machine; none for one that is gone or that this
 * process's namespace does not show. Does not wait for the process, which may wait for us.
 */
export function groupsOfProcess(pid: number): readonly number[] {
  const groups = /^Groups:(.*)$/m.exec(statusOf(pid))?.[1] ?? ''
  return groups
    .split(/\s+/)
    .filter(group => group !== '')
    .map(Number)
}

/** Whether a process or thread is being killed. False if it cannot be known. */
export function isBeingKilled(pid: number): boolean {
  let status: string
  try {
    status = statusOf(pid)
  } catch {
    // Too many open files, or a /proc that hides others: it is asked again.
    return false
  }
  const sets = status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm)
  return [...sets].some(([, set = '0']) => (BigInt(`0x${set}`) & killBit) !== 0n)
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'latin1')
  } catch (thrown) {
    const gone = ['ENOENT', 'ESRCH', 'EACCES'].includes((thrown as NodeJS.ErrnoException).code ?? '')
    if (gone) return ''
    throw thrown
  }
}
