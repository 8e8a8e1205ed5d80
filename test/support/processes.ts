import { readdirSync, readFileSync } from 'node:fs'

/** Every process that descends from `pid`, itself included, with its command line. */
export function descendants(pid: number): { readonly pid: number; readonly command: string }[] {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const stat = read(`/proc/${entry}/stat`)
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    if (Number.isInteger(parent)) parents.set(Number(entry), parent)
  }
  const found = new Set([pid])
  for (let grew = true; grew; ) {
    grew = false
    for (const [child, parent] of parents)
      if (found.has(parent) && !found.has(child)) {
        found.add(child)
        grew = true
      }
  }
  return [...found].map(each => ({
    pid: each,
    command: read(`/proc/${String(each)}/cmdline`).replaceAll('\0', ' '),
  }))
}

/** A process may end while it is looked at. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** Kills without asking; a process that has ended meanwhile is as dead. */
export function kill9(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

export function residentBytes(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(read(`/proc/${String(pid)}/status`))
  return Number(line?.[1] ?? 0) * 1024
}
