import { randomBytes } from 'node:crypto'
import {
  issueCertificate,
  type KeyAndCertificate,
  keyOfRequest,
  makeAuthority,
  makeKey,
  makeRequest,
} from '#src/wire/tls/certificates.ts'
import type { Credentials } from '#src/wire/tls/identity-folder.ts'
import type { Role } from '#src/wire/tls/roles.ts'

export interface Wanted {
  readonly role: Role
  readonly name?: string
  readonly id?: string
  /** ms from now. */
  readonly lasts?: number
}

/** An authority that issues whatever it is asked for. */
export class TestAuthority {
  readonly #own: KeyAndCertificate

  private constructor(own: KeyAndCertificate) {
    this.#own = own
  }

  static async make(): Promise<TestAuthority> {
    return new TestAuthority(await makeAuthority(randomBytes, Date.now()))
  }

  get certificate(): string {
    return this.#own.certificate
  }

  get key(): string {
    return this.#own.key
  }

  async issue({
    role,
    name = `a-${role}`,
    id = randomBytes(16).toString('hex'),
    lasts = 3_600_000,
  }: Wanted): Promise<Credentials> {
    const key = makeKey()
    const now = Date.now()
    const certificate = await issueCertificate(this.#own, randomBytes(16), {
      ...{ role, name, id, now, until: now + lasts },
      publicKey: await keyOfRequest(await makeRequest(key)),
    })
    return { authority: this.certificate, key, certificate }
  }
}
