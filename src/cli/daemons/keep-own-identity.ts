import type { Env } from '../../core/env.ts'
import type { Network } from '../../core/network.ts'
import { second } from '../../core/units.ts'
import { identityRenew } from '../../wire/services.ts'
import { noteStandings, recallStandings, renewInTime } from '../../wire/tls/keep-identity.ts'
import { watchStandings } from '../../wire/tls/watch-standings.ts'
import type { OwnIdentity } from '../own-identity.ts'

const renewTimeoutMs = 30 * second

/**
 * Keeps a chunkserver or a mount good with the master, until what it returns is called: its certificate is renewed in
 * time, and it hears of who is revoked.
 */
export function keepOwnIdentity(
  env: Env,
  network: Network,
  identity: OwnIdentity | undefined,
  master: string,
): () => Promise<void> {
  if (identity === undefined) return () => Promise.resolve()
  const { folder, tls } = identity
  recallStandings(folder, tls, env)
  const stopping = new AbortController()
  const { signal } = stopping
  const renew = async (request: Uint8Array): Promise<string> => {
    const reply = await network.call(
      master,
      identityRenew,
      { request },
      { timeoutMs: renewTimeoutMs, signal },
    )
    return reply.certificate
  }
  const running = Promise.all([
    renewInTime(env, tls, folder, renew, signal),
    watchStandings(env, network, master, standings => noteStandings(folder, tls, env, standings), signal),
  ])
  return async () => {
    stopping.abort()
    await running
  }
}
