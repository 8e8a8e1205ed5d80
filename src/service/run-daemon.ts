import { constants } from 'node:os'
import type { Log } from '../core/env.ts'
import { NotStoredError, UsageError } from '../core/errors.ts'

/** EX_SOFTWARE of sysexits.h: a bug. */
const exitBug = 70
const exitUsage = 2
/** Bad news, as for all of the CLI. */
const exitNotStored = 1
const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/**
 * Runs a daemon, and ends the process with it.
 *
 * A first SIGTERM, SIGINT or SIGHUP aborts `signal`, on which `main` stops in order and returns: exit code
 * 0. A second one ends the process at once, which must be safe at any moment. What an operator must mend is
 * a UsageError: one line and exit code 2; a NotStoredError is one line and exit code 1. Anything else that is thrown, anywhere, leaves the state of the
 * process unknown: it is logged and ends the process with exit code 70.
 */
export async function runDaemon(main: (signal: AbortSignal) => Promise<void>, log: Log): Promise<never> {
  const stop = new AbortController()
  for (const name of stopSignals) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(128 + constants.signals[name])
      log.info('Stopping', { signal: name })
      stop.abort()
    })
  }
  const fail = (thrown: unknown): never => process.exit(reportFatal(thrown, log))
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)
  try {
    await main(stop.signal)
  } catch (thrown) {
    return fail(thrown)
  }
  log.info('Stopped')
  return process.exit(0)
}

/** Tells why the process ends, and the exit code for it. */
export function reportFatal(thrown: unknown, log: Log): number {
  if (thrown instanceof NotStoredError) {
    process.stderr.write(`cairn: ${thrown.message}\n`)
    return exitNotStored
  }
  if (thrown instanceof UsageError) {
    process.stderr.write(`cairn: ${thrown.message}\n`)
    return exitUsage
  }
  log.error('Ended by an error that nothing handles', { error: thrown })
  return exitBug
}
