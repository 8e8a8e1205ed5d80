import { reachesOthers } from '../../core/address.ts'
import type { Log } from '../../core/env.ts'
import { UsageError } from '../../core/errors.ts'

/** What a daemon is to serve, HOST:PORT or off. */
export interface Served {
  readonly listen?: string
  readonly metrics: string
  readonly console?: string
  readonly insecure: 'on' | 'off'
}

/**
 * Without TLS a daemon serves this machine only, unless it is told that it may be insecure, which the log says at each
 * start. With an identity other machines are served by TLS, pages for browsers and Prometheus too. Returns whether the
 * wire itself is open to other machines. UsageError in one line for what is not allowed.
 */
export function checkReach(
  served: Served,
  identity: { readonly canServe: boolean } | undefined,
  log: Log,
): boolean {
  const { listen = 'off', metrics, console = 'off', insecure } = served
  const wire = identity === undefined && reachesOthers(listen)
  const allowed = insecure === 'on'
  if (wire && !allowed)
    throw new UsageError(
      `will not serve ${listen} without TLS, where other machines reach it: make identities with cairn cluster init and cairn node join, or allow it with --insecure or insecure = "on" (docs/security.md)`,
    )
  for (const [what, address] of [['metrics', metrics] as const, ['the console', console] as const]) {
    if (!reachesOthers(address)) continue
    if (identity?.canServe === true) continue
    if (identity !== undefined)
      throw new UsageError(
        `will not serve ${what} on ${address}: the certificate of this identity is of an older version and good for no server; remove its folder and join again, or serve it on loopback`,
      )
    if (!allowed)
      throw new UsageError(
        `will not serve ${what} on ${address} without TLS, where other machines reach it: it would ask nobody who he is; make identities with cairn cluster init and cairn node join, serve it on loopback, or allow it with --insecure or insecure = "on" (docs/security.md)`,
      )
    log.warn('INSECURE: other machines reach what has no TLS and asks for no password', { what, address })
  }
  if (wire)
    log.warn('INSECURE: serving without TLS, whoever reaches it reads and changes everything', {
      address: listen,
    })
  return wire
}
