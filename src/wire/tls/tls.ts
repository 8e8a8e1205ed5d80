import { X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import { messageOf, UsageError } from '../../core/errors.ts'
import { checkWhole, type Credentials } from './identity-folder.ts'
import { serverAuth, skewMs } from './certificates.ts'
import type { PeerIdentity } from './peer.ts'
import { Standings } from './standing.ts'

/** What both ends insist on. The first cipher is the cheapest where processors have AES, and strong enough. */
const common = {
  minVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
} as const satisfies SecureContextOptions

/** What one end dials with. */
export interface Dialler {
  /** Undefined for a stranger, who comes to join. */
  readonly identity: PeerIdentity | undefined
  readonly context: SecureContext
  readonly standings: Standings
}

/** A network's own identity, and whom it trusts. */
export class Tls implements Dialler {
  readonly standings = new Standings()
  #credentials: Credentials
  #identity: PeerIdentity
  #context: SecureContext | undefined
  readonly #watchers = new Set<() => void>()

  constructor(credentials: Credentials) {
    this.#credentials = credentials
    this.#identity = whole(credentials)
  }

  get identity(): PeerIdentity {
    return this.#identity
  }

  get credentials(): Credentials {
    return this.#credentials
  }

  /** Its certificate is good for the listening end of a connection; one of a mount of an older version is not. */
  get canServe(): boolean {
    const purposes = new X509Certificate(this.#credentials.certificate).keyUsage as string[] | undefined
    return purposes?.includes(serverAuth) === true
  }

  /** When a newer certificate should be had: there is a third of this one's time left. */
  get renewAt(): number {
    const { validFrom } = new X509Certificate(this.#credentials.certificate)
    const { until } = this.#identity
    return until - (until - Date.parse(validFrom) - skewMs) / 3
  }

  /** For connections from now on; those that are open stay. */
  replace(credentials: Credentials): void {
    this.#identity = whole(credentials)
    this.#credentials = credentials
    this.#context = undefined
    for (const watcher of this.#watchers) watcher()
  }

  onReplace(watcher: () => void): () => void {
    this.#watchers.add(watcher)
    return () => void this.#watchers.delete(watcher)
  }

  /** For connections that are made. */
  get context(): SecureContext {
    this.#context ??= createSecureContext(this.contextOptions)
    return this.#context
  }

  get contextOptions(): SecureContextOptions {
    return contextOptionsOf(this.#credentials)
  }
}

export const contextOptionsOf = ({ authority, key, certificate }: Credentials): SecureContextOptions => ({
  ...common,
  ca: authority,
  key,
  // With the authority's: who joins knows it by its fingerprint only.
  cert: certificate + authority,
})

/** Somebody who has no certificate yet and knows whose word to take. */
export const stranger = (authority: string): Dialler => ({
  identity: undefined,
  context: createSecureContext({ ...common, ca: authority }),
  standings: new Standings(),
})

function whole(credentials: Credentials): PeerIdentity {
  try {
    return checkWhole(credentials)
  } catch (error) {
    throw new UsageError(`the identity cannot be used: ${messageOf(error)}`)
  }
}
