import { FsError } from '../../core/errors.ts'
import { identityForm } from '../../core/ids.ts'
import { isRole, type Role } from './roles.ts'

/** Who a certificate says its owner is. */
export interface PeerIdentity {
  readonly role: Role
  readonly name: string
  /** Stays through renewals, as no serial number of a certificate does: 32 hexadecimal digits. */
  readonly id: string
  /** Until when the certificate is valid, ms since 1970. */
  readonly until: number
}

/** The server name of every daemon: identities count, not where somebody happens to be reached. */
export const serverName = 'cairn'

/** The name in the certificate of each role. Nobody who looks for a master or a node takes a mount for one. */
export const serverNameOf = (role: Role): string => (role === 'mount' ? `mount.${serverName}` : serverName)

export const identityNameForm = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/

/** The parts of node's PeerCertificate that count. A field that is there twice is an array. */
export interface CertificateFields {
  readonly subject?: { readonly [field: string]: unknown }
  readonly valid_to?: string
}

/** Who a verified certificate is of; undefined for one that the cluster's authority would not have made. */
export function knownIdentity({ subject, valid_to: validTo }: CertificateFields): PeerIdentity | undefined {
  const { OU: role, CN: name, serialNumber: id } = subject ?? {}
  const until = Date.parse(validTo ?? '')
  if (!isRole(role) || !Number.isFinite(until)) return undefined
  if (typeof name !== 'string' || !identityNameForm.test(name)) return undefined
  if (typeof id !== 'string' || !identityForm.test(id)) return undefined
  return { role, name, id, until }
}

/** As knownIdentity, where there must be one. Throws EACCES. */
export function identityOf(certificate: CertificateFields): PeerIdentity {
  const identity = knownIdentity(certificate)
  if (identity === undefined) throw new FsError('EACCES', 'the certificate names no identity of a cluster')
  return identity
}
