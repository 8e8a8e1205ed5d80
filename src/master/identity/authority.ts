import type { Clock, Random } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { day, minute, nsPerMs } from '../../core/units.ts'
import {
  fingerprint,
  type Hosts,
  issueCertificate,
  type KeyAndCertificate,
  keyOfRequest,
  makeKey,
  makeRequest,
} from '../../wire/tls/certificates.ts'
import { identityNameForm } from '../../wire/tls/peer.ts'
import { isJoinable, joinableRoles, type Role } from '../../wire/tls/roles.ts'
import type { Standing } from '../../wire/tls/standing.ts'
import { isSecret, secretHash, tokenIdBytes, tokenSecretBytes, tokenText } from '../../wire/tls/token.ts'
import type { IdentityRow, Registry, RegistryStore, TokenRow } from './registry-file.ts'

/** What certificates last. Daemons renew theirs by themselves; people should not have to every month. */
const lastsMs: Readonly<Record<Role, number>> = {
  master: 30 * day,
  chunkserver: 30 * day,
  mount: 30 * day,
  admin: 365 * day,
  observer: 365 * day,
}
const tokenMsMin = 1 * minute
const tokenMsMax = 365 * day
const usesMax = 10_000
/** Against a token in a wrong hand, and against one that fills the disk. */
const tokensMax = 1000
const identitiesMax = 100_000
/** Of an identity that ended long ago nothing need be known: its certificates have ended, too. */
const keptMs = 90 * day

export interface AuthorityParts {
  readonly own: KeyAndCertificate
  readonly store: RegistryStore
  readonly clock: Clock
  readonly random: Random
  /** What certificates last whatever the role, ms. */
  readonly lasts?: number
}

/**
 * Gives certificates, renews and revokes them. What it gave out is on stable storage before the certificate leaves,
 * and a use of a token is counted before that: after a crash nobody has a certificate that cannot be revoked.
 */
export class Authority {
  readonly #parts: AuthorityParts
  readonly #registry: Registry
  readonly #watchers = new Set<(standings: readonly Standing[]) => void>()

  constructor(parts: AuthorityParts) {
    this.#parts = parts
    this.#registry = parts.store.read()
  }

  get standings(): Standing[] {
    return this.#registry.identities.map(({ id, until, revoked }) => ({
      id,
      until,
      revoked: revoked !== undefined,
    }))
  }

  get identities(): readonly IdentityRow[] {
    return this.#registry.identities
  }

  /** Ids of those whose certificates are good now. */
  get good(): string[] {
    const now = this.#now()
    return this.#registry.identities
      .filter(({ revoked, until }) => revoked === undefined && until > now)
      .map(({ id }) => id)
  }

  /** The exports that tokens were for, by the ids of those who joined with them. */
  get exports(): ReadonlyMap<string, string> {
    return new Map(
      this.#registry.identities.flatMap(row => (row.export === undefined ? [] : [[row.id, row.export]])),
    )
  }

  /** Calls back with all standings after each change. */
  watch(watcher: (standings: readonly Standing[]) => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** Throws EINVAL for what is out of bounds. */
  createToken(
    role: string,
    lastsMs: number,
    uses: number,
    exported = '',
  ): { readonly token: string; readonly expires: number } {
    if (!isJoinable(role))
      throw new FsError(
        'EINVAL',
        `there are no tokens for the role ${role}: it is one of ${joinableRoles.join(', ')}`,
      )
    if (!(lastsMs >= tokenMsMin && lastsMs <= tokenMsMax))
      throw new FsError('EINVAL', 'a token is good for a minute at least and a year at most')
    if (!(uses >= 1 && uses <= usesMax))
      throw new FsError('EINVAL', `a token is good for 1 to ${usesMax} uses`)
    if (exported !== '' && role !== 'mount')
      throw new FsError('EINVAL', 'a token for an export is one of the role mount')
    const now = this.#now()
    this.#tidy(now)
    if (this.#registry.tokens.length >= tokensMax)
      throw new FsError('EDQUOT', `there are ${tokensMax} tokens that are neither used nor expired`)
    const id = this.#parts.random.bytes(tokenIdBytes)
    const secret = this.#parts.random.bytes(tokenSecretBytes)
    const expires = now + lastsMs
    this.#registry.tokens.push({
      ...{ id: id.toString('hex'), role, expires, uses },
      secret: secretHash(secret).toString('hex'),
      ...(exported === '' ? {} : { export: exported }),
    })
    this.#store()
    return { token: tokenText({ authority: fingerprint(this.#parts.own.certificate), id, secret }), expires }
  }

  /** A certificate for a token. Throws EACCES, with one text whatever is wrong with the token. */
  async join(
    token: { readonly id: Uint8Array; readonly secret: Uint8Array },
    request: Uint8Array,
    name: string,
  ) {
    // Before the request is looked into, which is more work, and again after it: others come meanwhile.
    this.#tokenRow(token)
    const publicKey = await keyOfRequest(request)
    const row = this.#tokenRow(token)
    if (this.#registry.identities.length >= identitiesMax)
      throw new FsError('EDQUOT', `there are ${identitiesMax} identities`)
    const chosen = name === '' ? row.role : name
    checkName(chosen)
    row.uses -= 1
    return this.#enrol(row.role, chosen, publicKey, this.#now(), row.export)
  }

  /** For the master itself, and for who sets up the cluster: no token is asked for. */
  enrol(role: Role, name: string, publicKey: Uint8Array): Promise<string> {
    checkName(name)
    return this.#enrol(role, name, publicKey, this.#now())
  }

  /** A certificate of an identity that is known, for its pages: with the names and addresses by which browsers come. */
  async forPages(id: string, hosts: Hosts): Promise<KeyAndCertificate> {
    const row = this.#registry.identities.find(each => each.id === id)
    if (row === undefined) throw new FsError('EACCES', `the identity ${id} is unknown`)
    const key = makeKey()
    const publicKey = await keyOfRequest(await makeRequest(key))
    const { own, random } = this.#parts
    const { role, name, until } = row
    const issue = { role, name, id, publicKey, now: this.#now(), until, hosts }
    return { key, certificate: await issueCertificate(own, random.bytes(16), issue) }
  }

  /** A newer certificate. Throws EACCES for an identity that the registry does not know as good. */
  async renew(id: string, request: Uint8Array): Promise<string> {
    const publicKey = await keyOfRequest(request)
    const now = this.#now()
    const row = this.#registry.identities.find(each => each.id === id)
    if (row === undefined || row.revoked !== undefined || row.until <= now)
      throw new FsError('EACCES', 'this identity is unknown, revoked or expired: join again with a token')
    row.until = now + this.#lasts(row.role)
    return this.#issue(row, publicKey, now)
  }

  /** By id, or by a name that is its alone. Throws ENOENT, or EINVAL if several have it, or it is the master's. */
  revoke(which: string): IdentityRow {
    const now = this.#now()
    const found = this.#registry.identities.filter(
      ({ id, name, revoked }) => id === which || (name === which && revoked === undefined),
    )
    const [row, second] = found
    if (row === undefined) throw new FsError('ENOENT', `there is no identity ${which}: see cairn identity ls`)
    if (second !== undefined)
      throw new FsError('EINVAL', `${found.length} identities are called ${which}: give the id of one`)
    if (row.role === 'master') throw new FsError('EINVAL', 'the identity of the master cannot be revoked')
    row.revoked ??= now
    this.#store()
    return row
  }

  #tokenRow(token: { readonly id: Uint8Array; readonly secret: Uint8Array }): TokenRow {
    const id = Buffer.from(token.id).toString('hex')
    const row = this.#registry.tokens.find(each => each.id === id)
    // Compared also where there is none, so that time does not tell.
    const right = isSecret(token.secret, Buffer.from(row?.secret ?? '', 'hex'))
    if (row === undefined || !right || row.expires <= this.#now() || row.uses < 1)
      throw new FsError('EACCES', 'this token is not good: unknown, expired, or used up')
    return row
  }

  #lasts(role: Role): number {
    return this.#parts.lasts ?? lastsMs[role]
  }

  #now(): number {
    return Number(this.#parts.clock.wall() / nsPerMs)
  }

  #enrol(role: Role, name: string, publicKey: Uint8Array, now: number, exported?: string): Promise<string> {
    const id = this.#parts.random.bytes(16).toString('hex')
    const row: IdentityRow = {
      id,
      role,
      name,
      created: now,
      until: now + this.#lasts(role),
      ...(exported === undefined ? {} : { export: exported }),
    }
    this.#registry.identities.push(row)
    return this.#issue(row, publicKey, now)
  }

  #issue({ id, role, name, until }: IdentityRow, publicKey: Uint8Array, now: number): Promise<string> {
    this.#store()
    const { own, random } = this.#parts
    return issueCertificate(own, random.bytes(16), { role, name, id, publicKey, now, until })
  }

  #tidy(now: number): void {
    const { identities, tokens } = this.#registry
    this.#registry.tokens = tokens.filter(({ expires, uses }) => expires > now && uses > 0)
    this.#registry.identities = identities.filter(({ until }) => until + keptMs > now)
  }

  #store(): void {
    this.#parts.store.write(this.#registry)
    const standings = this.standings
    for (const watcher of this.#watchers) watcher(standings)
  }
}

function checkName(name: string): void {
  if (!identityNameForm.test(name))
    throw new FsError('EINVAL', 'a name has at most 64 letters, digits, dots, hyphens and underscores')
}
