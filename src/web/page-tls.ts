import { X509Certificate } from 'node:crypto'
import type { SecureContextOptions } from 'node:tls'
import type { KeyAndCertificate } from '../wire/tls/certificates.ts'
import { contextOptionsOf, type Tls } from '../wire/tls/tls.ts'

/** What pages are served with by HTTPS: whom to trust, and which certificate to show. */
export class PageTls {
  readonly tls: Tls
  readonly #own: (() => Promise<KeyAndCertificate>) | undefined
  #shown: KeyAndCertificate

  private constructor(tls: Tls, shown: KeyAndCertificate, own?: () => Promise<KeyAndCertificate>) {
    this.tls = tls
    this.#shown = shown
    this.#own = own
  }

  /** With the daemon's own certificate. */
  static daemon(tls: Tls): PageTls {
    return new PageTls(tls, tls.credentials)
  }

  /** With one of its own, which `own` makes, now and whenever the daemon's is renewed. */
  static async with(tls: Tls, own: () => Promise<KeyAndCertificate>): Promise<PageTls> {
    return new PageTls(tls, await own(), own)
  }

  get options(): SecureContextOptions {
    const { key, certificate } = this.#shown
    return contextOptionsOf({ authority: this.tls.credentials.authority, key, certificate })
  }

  /** SHA-256 of the certificate, as browsers show it. */
  get fingerprint(): Buffer {
    return Buffer.from(new X509Certificate(this.#shown.certificate).fingerprint256.replaceAll(':', ''), 'hex')
  }

  /** Calls back with other options from now on. */
  onReplace(changed: (options: SecureContextOptions) => void, failed: (error: unknown) => void): () => void {
    return this.tls.onReplace(() => {
      const renewed = this.#own?.() ?? Promise.resolve(this.tls.credentials)
      renewed.then(shown => {
        this.#shown = shown
        changed(this.options)
      }, failed)
    })
  }
}
