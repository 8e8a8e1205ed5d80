import type { Env } from '../../core/env.ts'
import { Authority } from '../../master/identity/authority.ts'
import { RegistryFile } from '../../master/identity/registry-file.ts'
import { FolderLock } from '../../service/folder-lock.ts'
import { renewInTime } from '../../wire/tls/keep-identity.ts'
import type { OwnIdentity } from '../own-identity.ts'

export interface KeptAuthority {
  readonly authority: Authority
  readonly stop: () => Promise<void>
}

/** The authority of the master's cluster, for as long as the master runs: it renews the master's own certificate, too. */
export async function keepAuthority(env: Env, { folder, tls }: OwnIdentity): Promise<KeptAuthority> {
  const own = { key: folder.readAuthorityKey(), certificate: tls.credentials.authority }
  const lock = await FolderLock.take(folder.dir)
  try {
    const { clock, random } = env
    const authority = new Authority({ own, store: new RegistryFile(folder.registry), clock, random })
    tls.standings.onlyListed = true
    tls.standings.replace(authority.standings)
    authority.watch(standings => tls.standings.replace(standings))
    const stopping = new AbortController()
    const renew = (request: Uint8Array): Promise<string> => authority.renew(tls.identity.id, request)
    const renewing = renewInTime(env, tls, folder, renew, stopping.signal)
    const stop = async (): Promise<void> => {
      stopping.abort()
      await renewing
      lock.release()
    }
    return { authority, stop }
  } catch (error) {
    lock.release()
    throw error
  }
}
