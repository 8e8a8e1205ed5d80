import { UsageError } from '#src/core/errors.ts'
import { stderrLog } from '#src/service/log.ts'
import { runDaemon } from '#src/service/run-daemon.ts'

/** A daemon that does what its argument says. */
const [, , what] = process.argv

await runDaemon(async signal => {
  if (what === 'usage') throw new UsageError('no such folder')
  if (what === 'bug') throw new TypeError('a bug')
  if (what === 'timer-bug') setTimeout(() => void Promise.reject(new Error('lost')), 1)
  process.stdout.write('up\n')
  const alive = setInterval(() => undefined, 1000)
  await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
  if (what === 'stuck') await new Promise(() => undefined)
  clearInterval(alive)
}, stderrLog('debug'))
