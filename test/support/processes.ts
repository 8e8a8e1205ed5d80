import { readdirSync, readFileSync } from 'node:fs'

/**
 * Every process that descends from `pid`, itself included, with its command line. Looks at no other process:
 * one that hangs in the kernel would hang whoever reads its state.
 */
export function descendants(pid: number): { readonly pid: number; readonly command: string }[] {
  const found = [pid]
  for (const each of found) found.push(...childrenOf(each))
  return found.map(each => ({
    pid: each,
    command: read(`/proc/${String(each)}/cmdline`).replaceAll('\0', ' '),
  }))
}

/** The children of all threads, since the kernel lists them by the thread that forked. */
function childrenOf(pid: number): number[] {
  let threads: string[]
  try {
    threads = readdirSync(`/proc/${String(pid)}/task`)
  } catch {
    return []
  }
  return threads.flatMap(thread =>
    (read(`/proc/${String(pid)}/task/${thread}/children`).match(/\d+/g) ?? []).map(Number),
  )
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

/** The most that it had resident since it started. */
export function peakResidentBytes(pid: number): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(read(`/proc/${String(pid)}/status`))
  if (line === null) throw new Error(`process ${String(pid)} is not there`)
  return Number(line[1]) * 1024
}
