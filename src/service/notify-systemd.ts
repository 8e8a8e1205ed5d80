import { spawn } from 'node:child_process'
import type { Log } from '../core/env.ts'

/**
 * Tells systemd that the daemon is ready, when it was started by a unit of Type=notify. Node cannot send
 * to a datagram socket, so systemd-notify does; the unit therefore needs NotifyAccess=all. Never fails:
 * without an answer systemd says itself what it waited for.
 */
export function notifySystemd(state: 'ready' | 'stopping', log: Log): Promise<void> {
  // Not --stopping, which is newer than Debian 12.
  return tellSystemd([state === 'ready' ? 'READY=1' : 'STOPPING=1', `--pid=${process.pid}`], log)
}

/** With arguments of systemd-notify(1). */
export function tellSystemd(args: readonly string[], log: Log): Promise<void> {
  if (process.env['NOTIFY_SOCKET'] === undefined) return Promise.resolve()
  const [state] = args
  return new Promise(resolve => {
    const child = spawn('systemd-notify', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    child.on('error', error => {
      log.warn('Cannot notify systemd', { state, error })
      resolve()
    })
    child.on('close', code => {
      if (code !== 0) log.warn('Cannot notify systemd', { state, code, said: said.trim() })
      resolve()
    })
  })
}
