import { z } from 'zod'
import type { Env } from '../../core/env.ts'
import { messageOf } from '../../core/errors.ts'
import { hour, minute, nsPerMs, second } from '../../core/units.ts'
import { makeKey, makeRequest } from './certificates.ts'
import type { Credentials, IdentityFolder } from './identity-folder.ts'
import type { Standing } from './standing.ts'
import type { Tls } from './tls.ts'

/** Clocks jump and machines sleep: no wait is longer. */
const waitMsMax = 1 * hour
const retryMs = 1 * minute
const waitMsMin = 1 * second

const standingsSchema = z.array(z.strictObject({ id: z.string(), until: z.number(), revoked: z.boolean() }))

/** What the folder remembers of others, for a start while the master is away. */
export function recallStandings(folder: IdentityFolder, tls: Tls, { log }: Pick<Env, 'log'>): void {
  const text = folder.readStandings()
  if (text === undefined) return
  try {
    tls.standings.replace(standingsSchema.parse(JSON.parse(text)))
  } catch (error) {
    log.warn('What the master said of revoked identities is lost until it says it again', {
      why: messageOf(error),
    })
  }
}

/** Takes to heart what the master says of others. */
export function noteStandings(
  folder: IdentityFolder,
  tls: Tls,
  { log }: Pick<Env, 'log'>,
  standings: readonly Standing[],
): void {
  tls.standings.replace(standings)
  try {
    folder.writeStandings(`${JSON.stringify(standings)}\n`)
  } catch (error) {
    log.warn('Revoked identities are forgotten when this process ends', { why: messageOf(error) })
  }
}

/**
 * Renews an identity before it ends, for as long as the process runs: with a new key each time. `renew` gives a
 * certificate for a request. Other processes may share the folder: what one of them renewed is taken over.
 */
export async function renewInTime(
  { clock, timers, log }: Env,
  tls: Tls,
  folder: IdentityFolder,
  renew: (request: Uint8Array) => Promise<string>,
  signal: AbortSignal,
): Promise<void> {
  const now = (): number => Number(clock.wall() / nsPerMs)
  while (!signal.aborted) {
    const wait = Math.min(waitMsMax, Math.max(waitMsMin, tls.renewAt - now()))
    try {
      await timers.sleep(wait, signal)
    } catch {
      return
    }
    if (now() < tls.renewAt) continue
    try {
      const shared = folder.read()
      if (shared.certificate !== tls.credentials.certificate) tls.replace(shared)
      if (now() < tls.renewAt) continue
      const key = makeKey()
      const certificate = await renew(await makeRequest(key))
      const credentials: Credentials = { authority: tls.credentials.authority, key, certificate }
      tls.replace(credentials)
      folder.write(credentials)
      log.info('The certificate was renewed', {
        name: tls.identity.name,
        until: new Date(tls.identity.until).toISOString(),
      })
    } catch (error) {
      const left = tls.identity.until - now()
      const level = left < retryMs * 60 ? 'error' : 'warn'
      log[level]('The certificate could not be renewed', {
        why: messageOf(error),
        until: new Date(tls.identity.until).toISOString(),
      })
      await timers.sleep(Math.min(retryMs, Math.max(waitMsMin, left / 10)), signal).catch(() => undefined)
    }
  }
}
