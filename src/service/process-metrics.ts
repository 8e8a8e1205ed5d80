import { performance } from 'node:perf_hooks'
import type { Metrics } from './metrics.ts'
import { version } from './version.ts'

/** How often it is looked how late a timer fires. */
const lookMs = 500

/** What every process shows of itself. Ends with `stop`. */
export function measureProcess(metrics: Metrics): { readonly stop: () => void } {
  let dueAt = performance.now() + lookMs
  let latestMs = 0
  let worstMs = 0
  const timer = setInterval(() => {
    const now = performance.now()
    latestMs = Math.max(0, now - dueAt)
    worstMs = Math.max(worstMs, latestMs)
    dueAt = now + lookMs
  }, lookMs)
  timer.unref()
  const cpu = (): number => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  }
  metrics.gauges({ name: 'cairn_build_info', help: 'Versions, as labels; always 1.' }, () => [
    { labels: { version, node: process.versions.node }, value: 1 },
  ])
  metrics.gauge({ name: 'cairn_process_uptime_seconds', help: 'Since the process began.' }, () =>
    process.uptime(),
  )
  metrics.counter({ name: 'cairn_process_cpu_seconds_total', help: 'Processor time of all threads.' }, cpu)
  metrics.gauge({ name: 'cairn_process_resident_memory_bytes', help: 'Resident memory.' }, () =>
    process.memoryUsage.rss(),
  )
  metrics.gauge(
    { name: 'cairn_process_heap_used_bytes', help: "The main thread's JavaScript objects." },
    () => process.memoryUsage().heapUsed,
  )
  metrics.counter(
    {
      name: 'cairn_event_loop_active_seconds_total',
      help: 'Time in which the main thread was at work; its rate is how busy it is.',
    },
    () => performance.eventLoopUtilization().active / 1000,
  )
  metrics.gauge(
    {
      name: 'cairn_event_loop_delay_seconds',
      help: 'How late the main thread came to what was due: the longest since the metrics were last read.',
    },
    () => {
      const seconds = Math.max(worstMs, performance.now() - dueAt) / 1000
      worstMs = latestMs
      return Math.max(0, seconds)
    },
  )
  return { stop: () => clearInterval(timer) }
}
