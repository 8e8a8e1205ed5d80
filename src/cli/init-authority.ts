import { existsSync } from 'node:fs'
import { silentLog } from '../core/env.ts'
import { UsageError } from '../core/errors.ts'
import { nsPerMs } from '../core/units.ts'
import { realEnv } from '../env/real-env.ts'
import { Authority } from '../master/identity/authority.ts'
import { emptyRegistry, RegistryFile } from '../master/identity/registry-file.ts'
import { FolderLock } from '../service/folder-lock.ts'
import { keyOfRequest, makeAuthority, makeKey, makeRequest } from '../wire/tls/certificates.ts'
import { IdentityFolder } from '../wire/tls/identity-folder.ts'
import type { Role } from '../wire/tls/roles.ts'
import { giveToDaemon, makeIdentityFolder, writeIdentity } from './own-identity.ts'

const { clock, random } = realEnv(silentLog)

/**
 * Makes an authority with the identities of a master and of an admin. The master's is written last of what makes an
 * authority: what was begun and not finished is begun again.
 */
export async function initAuthority(folders: { readonly master: string; readonly admin: string }) {
  const master = new IdentityFolder(folders.master)
  const admin = new IdentityFolder(folders.admin)
  if (admin.isThere)
    throw new UsageError(
      `there is an identity in ${admin.dir} already: remove it, or choose another with --admin-identity`,
    )
  makeIdentityFolder(master)
  const lock = await FolderLock.take(master.dir)
  try {
    const fresh = !master.isThere
    const file = new RegistryFile(master.registry)
    if (fresh) {
      if (existsSync(master.registry) && file.read().identities.some(({ role }) => role !== 'master'))
        throw new UsageError(
          `${master.dir} has a registry of identities and no identity.pem: put it back from a copy`,
        )
      const { key, certificate } = await makeAuthority(
        count => random.bytes(count),
        Number(clock.wall() / nsPerMs),
      )
      master.writeAuthorityKey(key)
      file.write(emptyRegistry())
      await issue(authorityOf(file, { key, certificate }), master, 'master', certificate)
    }
    const certificate = master.read().authority
    const own = { key: master.readAuthorityKey(), certificate }
    await issue(authorityOf(file, own), admin, 'admin', certificate)
    giveToDaemon(master, 'master')
    return { master: master.dir, admin: admin.dir, fresh }
  } finally {
    lock.release()
  }
}

const authorityOf = (
  store: RegistryFile,
  own: { readonly key: string; readonly certificate: string },
): Authority => new Authority({ own, store, clock, random })

async function issue(authority: Authority, folder: IdentityFolder, role: Role, ca: string): Promise<void> {
  const key = makeKey()
  const publicKey = await keyOfRequest(await makeRequest(key))
  const certificate = await authority.enrol(role, role, publicKey)
  writeIdentity(folder, role, { authority: ca, key, certificate })
}
