import { chownSync, statSync } from 'node:fs'
import path from 'node:path'
import { UsageError } from '../core/errors.ts'
import { makeFolder } from '../service/make-folder.ts'
import { type Credentials, IdentityFolder } from '../wire/tls/identity-folder.ts'
import type { Role } from '../wire/tls/roles.ts'
import { Tls } from '../wire/tls/tls.ts'
import { defaultFolder, identityBase as base } from './identity-folders.ts'
import { ownLikeFolder } from './own-like-folder.ts'

export interface OwnIdentity {
  readonly folder: IdentityFolder
  readonly tls: Tls
}

/**
 * Who this process is: as the folder says that was given, or the usual one of the role if it is there. Undefined: it
 * goes without TLS. UsageError for a folder that cannot be used, or is of another role.
 */
export function ownIdentity(given: string | undefined, role: Role): OwnIdentity | undefined {
  if (given === 'off') return undefined
  const folder = new IdentityFolder(given ?? defaultFolder(role))
  if (given === undefined && !folder.isThere) return undefined
  const tls = new Tls(folder.read())
  if (tls.identity.role !== role && given === undefined)
    throw new UsageError(`the identity in ${folder.dir} has the role ${tls.identity.role}, not ${role}`)
  return { folder, tls }
}

/** As ownIdentity, for a daemon: another role is of no use to it. */
export function daemonIdentity(given: string | undefined, role: Role): OwnIdentity | undefined {
  const own = ownIdentity(given, role)
  if (own !== undefined && own.tls.identity.role !== role)
    throw new UsageError(
      `the identity in ${own.folder.dir} has the role ${own.tls.identity.role}, not ${role}`,
    )
  return own
}

/** Roles whose daemons are not root, and have to open what root makes for them. */
const ofDaemons: readonly Role[] = ['master', 'chunkserver']

/** Makes the folder, which nobody else may look into, and writes the identity there. */
export function writeIdentity(folder: IdentityFolder, role: Role, credentials: Credentials): void {
  makeIdentityFolder(folder)
  folder.write(credentials)
  giveToDaemon(folder, role)
}

export function makeIdentityFolder({ dir }: IdentityFolder): void {
  makeFolder(path.dirname(dir))
  makeFolder(dir, 0o700)
}

/** What root made for a daemon goes to who owns the state folder. */
export function giveToDaemon({ dir }: IdentityFolder, role: Role): void {
  if (process.getuid?.() !== 0 || !ofDaemons.includes(role) || !dir.startsWith(`${base}/`)) return
  const { uid, gid } = statSync(path.dirname(base))
  for (const each of [base, dir]) chownSync(each, uid, gid)
  ownLikeFolder(dir)
}
