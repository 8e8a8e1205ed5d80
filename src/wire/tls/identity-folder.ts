/**
 * Where a machine keeps who it is:
 *
 *     ca.pem         the certificate of the cluster's authority: whom to trust
 *     identity.pem   the private key and the certificate of this identity, in one file, so that a renewal
 *                    replaces both at once; for the owner's eyes only
 *
 * and the master besides:
 *
 *     ca-key.pem     the authority's private key: whoever has it can be anybody
 *     registry.json  to whom it gave certificates, and hashes of tokens
 *
 * the others:
 *
 *     standings.json what the master last said of who is revoked
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { closeSync, fstatSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import path from 'node:path'
import { messageOf, UsageError } from '../../core/errors.ts'
import { identityOf, type PeerIdentity } from './peer.ts'

/** What a TLS connection is made with, all PEM. */
export interface Credentials {
  readonly authority: string
  readonly key: string
  readonly certificate: string
}

const names = {
  authority: 'ca.pem',
  identity: 'identity.pem',
  authorityKey: 'ca-key.pem',
  standings: 'standings.json',
} as const
const privateMode = 0o600
const publicMode = 0o644
/** Anything that others than the owner may do. */
const othersMask = 0o077

export class IdentityFolder {
  readonly dir: string

  constructor(dir: string) {
    this.dir = path.resolve(dir)
  }

  /** UsageError says in one line what is missing, readable by others, or does not belong together. */
  read(): Credentials {
    const authority = this.#read(names.authority, { secret: false })
    const both = this.#read(names.identity, { secret: true })
    const [, key = ''] = /(-----BEGIN PRIVATE KEY-----[\s\S]*?-----END PRIVATE KEY-----\n)/.exec(both) ?? []
    const [, certificate = ''] =
      /(-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----\n)/.exec(both) ?? []
    const credentials = { authority, key, certificate }
    try {
      checkWhole(credentials)
    } catch (error) {
      throw new UsageError(`the identity in ${this.dir} cannot be used: ${messageOf(error)}`)
    }
    return credentials
  }

  write({ authority, key, certificate }: Credentials): void {
    this.#replace(names.authority, authority, publicMode)
    this.#replace(names.identity, key + certificate, privateMode)
  }

  /** The authority's private key: there on the master's machine only. */
  readAuthorityKey(): string {
    return this.#read(names.authorityKey, { secret: true })
  }

  writeAuthorityKey(key: string): void {
    this.#replace(names.authorityKey, key, privateMode)
  }

  /** What the master said last of everybody, for a start while it is away; undefined: nothing yet. */
  readStandings(): string | undefined {
    return this.#open(names.standings, fd => (fd === undefined ? undefined : readFileSync(fd, 'utf8')))
  }

  writeStandings(text: string): void {
    this.#replace(names.standings, text, privateMode)
  }

  /** Where the master keeps what it remembers of identities and tokens. */
  get registry(): string {
    return path.join(this.dir, 'registry.json')
  }

  get isThere(): boolean {
    return this.#open(names.identity, fd => fd !== undefined)
  }

  #read(name: string, { secret }: { secret: boolean }): string {
    const file = path.join(this.dir, name)
    return this.#open(name, fd => {
      if (fd === undefined)
        throw new UsageError(
          `there is no ${file}: make a cluster's identities with cairn cluster init, or join one with cairn node join`,
        )
      const { mode } = fstatSync(fd)
      if (secret && (mode & othersMask) !== 0)
        throw new UsageError(
          `${file} can be used by others than its owner (mode ${(mode & 0o777).toString(8)}): chmod 600 it, and if somebody may have read it, revoke the identity`,
        )
      return readFileSync(fd, 'utf8')
    })
  }

  #open<T>(name: string, use: (fd: number | undefined) => T): T {
    const file = path.join(this.dir, name)
    let fd: number | undefined
    try {
      fd = openSync(file, 'r')
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code !== 'ENOENT' && code !== 'ENOTDIR')
        throw new UsageError(`cannot read ${file}: ${messageOf(error)}`)
    }
    try {
      return use(fd)
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }

  #replace(name: string, text: string, mode: number): void {
    replaceFile(path.join(this.dir, name), text, mode)
  }
}

/** Writes a file that is either the old or the new one, whatever happens; never readable by more than `mode` says. */
export function replaceFile(file: string, text: string, mode: number): void {
  // Processes that share the folder may write at the same time.
  const next = `${file}.${String(process.pid)}.new`
  try {
    const fd = openSync(next, 'w', mode)
    try {
      writeSync(fd, text)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(next, file)
    const folder = openSync(path.dirname(file), 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  } catch (error) {
    throw new UsageError(`cannot write ${file}: ${messageOf(error)}`, { cause: error })
  }
}

/** Throws for parts that do not belong together; says whose the certificate is. */
export function checkWhole({ authority, key, certificate }: Credentials): PeerIdentity {
  const root = new X509Certificate(authority)
  const own = new X509Certificate(certificate)
  if (!own.checkIssued(root) || !own.verify(root.publicKey))
    throw new Error('the certificate is not from the authority in ca.pem')
  if (!own.checkPrivateKey(createPrivateKey(key))) throw new Error('the key and the certificate do not match')
  return identityOf(own.toLegacyObject())
}
