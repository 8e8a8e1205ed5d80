import path from 'node:path'
import type { Role } from '../wire/tls/roles.ts'

/** Below it, a folder for each role. Not in /etc, since daemons renew their certificates by themselves. */
export const identityBase = '/var/lib/cairn/identity'

export const defaultFolder = (role: Role): string => path.join(identityBase, role)
