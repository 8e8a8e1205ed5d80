import { readdirSync, readFileSync } from 'node:fs'

/** Processor time of a process so far, by thread, and how often they waited for something. */
export interface Usage {
  readonly userMs: number
  readonly systemMs: number
  readonly waits: number
  readonly threads: ReadonlyMap<string, number>
}

/** Of USER_HZ, which is 100 on Linux for whoever asks from outside of the kernel. */
const tickMs = 10

export function usageOf(pid: number): Usage {
  let userMs = 0
  let systemMs = 0
  let waits = 0
  const threads = new Map<string, number>()
  for (const tid of readdirSync(`/proc/${String(pid)}/task`)) {
    const folder = `/proc/${String(pid)}/task/${tid}`
    let stat: string
    let status: string
    try {
      stat = readFileSync(`${folder}/stat`, 'utf8')
      status = readFileSync(`${folder}/status`, 'utf8')
    } catch {
      // It ended while it was looked at.
      continue
    }
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const user = Number(fields[11]) * tickMs
    const system = Number(fields[12]) * tickMs
    userMs += user
    systemMs += system
    threads.set(tid, user + system)
    waits += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0)
  }
  return { userMs, systemMs, waits, threads }
}

/** Flushes of all disks so far (what syncs wait for), and the time that they took. */
export function diskFlushes(): { readonly count: number; readonly ms: number } {
  let count = 0
  let ms = 0
  for (const line of readFileSync('/proc/diskstats', 'utf8').trim().split('\n')) {
    const fields = line.trim().split(/\s+/)
    // Partitions and what is stacked on disks would be counted twice: they have no flushes of their own.
    count += Number(fields[18] ?? 0)
    ms += Number(fields[19] ?? 0)
  }
  return { count, ms }
}
