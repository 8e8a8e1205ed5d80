import type { Env } from '../../core/env.ts'
import type { Network } from '../../core/network.ts'
import { second } from '../../core/units.ts'
import { identityWatch } from '../services.ts'
import type { Standing } from './standing.ts'

const againMs = 1 * second

/** Has the master tell who is good, now and whenever that changes, until the signal. */
export async function watchStandings(
  { timers }: Env,
  network: Network,
  master: string,
  told: (standings: readonly Standing[]) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const link = network.dial(master, identityWatch)
    const close = (): void => link.close()
    signal.addEventListener('abort', close, { once: true })
    link.onFrame(({ standings }) => told(standings.map(each => ({ ...each, until: Number(each.until) }))))
    await new Promise<void>(resolve => link.onClose(() => resolve()))
    signal.removeEventListener('abort', close)
    await timers.sleep(againMs, signal).catch(() => undefined)
  }
}
