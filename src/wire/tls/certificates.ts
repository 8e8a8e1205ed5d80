/**
 * Makes the certificates of a cluster, with pkijs: nothing here encodes or signs by itself. Verifying is done by
 * node's TLS; the one thing verified here is the request for a certificate. All keys are ECDSA on P-256.
 *
 * pkijs is loaded when a certificate is made or asked for, which most processes never do.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  subtle,
  X509Certificate,
} from 'node:crypto'
import { FsError } from '../../core/errors.ts'
import { day, hour } from '../../core/units.ts'
import { serverNameOf } from './peer.ts'
import { type Role, servingRoles } from './roles.ts'

const load = async () => {
  const [pki, asn1] = await Promise.all([import('pkijs'), import('asn1js')])
  return { pki, asn1 }
}
type Libraries = Awaited<ReturnType<typeof load>>

const algorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const
const hash = 'SHA-256'

/** The purpose of a certificate for the listening end. */
export const serverAuth = '1.3.6.1.5.5.7.3.1'

const oid = {
  commonName: '2.5.4.3',
  serialNumber: '2.5.4.5',
  organizationalUnit: '2.5.4.11',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth,
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const

/** Bits of KeyUsage, most significant first. */
const usage = { digitalSignature: 0x80, keyCertSign: 0x04, cRLSign: 0x02 } as const

/** Kinds of GeneralName. */
const nameKinds = { dns: 2, address: 7 } as const

/** The machines' clocks may differ by so much. */
export const skewMs = 1 * hour
const authorityMs = 20 * 365 * day
const requestBytesMax = 8192

/** PEM texts. */
export interface KeyAndCertificate {
  readonly key: string
  readonly certificate: string
}

export interface Subject {
  readonly role: Role
  readonly name: string
  readonly id: string
}

export interface Hosts {
  readonly names: readonly string[]
  /** IP addresses, of 4 or 16 bytes. */
  readonly addresses: readonly Uint8Array[]
}

export interface Issue extends Subject {
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array
  /** ms since 1970. */
  readonly now: number
  readonly until: number
  /** Names and addresses by which browsers come to a page; of what serves the wire its role's name is enough. */
  readonly hosts?: Hosts
}

export function makeKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: algorithm.namedCurve })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

/** A new authority of a cluster. */
export async function makeAuthority(
  random: (count: number) => Uint8Array,
  now: number,
): Promise<KeyAndCertificate> {
  const libraries = await load()
  const { pki, asn1 } = libraries
  const key = makeKey()
  const { privateKey, publicKey } = await importKey(key)
  const certificate = blank(libraries, random(16), now - skewMs, now + authorityMs)
  const name = `Cairn cluster ${Buffer.from(random(4)).toString('hex')}`
  for (const of of [certificate.subject, certificate.issuer])
    of.typesAndValues.push(attribute(libraries, oid.commonName, name))
  await certificate.subjectPublicKeyInfo.importKey(publicKey)
  const constraints = new pki.BasicConstraints({ cA: true, pathLenConstraint: 0 })
  certificate.extensions = [
    extension(libraries, oid.basicConstraints, constraints.toSchema(), true),
    extension(libraries, oid.keyUsage, bits(libraries, usage.keyCertSign | usage.cRLSign), true),
    extension(
      libraries,
      oid.subjectKeyIdentifier,
      new asn1.OctetString({ valueHex: keyIdentifier(certificate.subjectPublicKeyInfo.toSchema().toBER()) }),
    ),
  ]
  await certificate.sign(privateKey, hash)
  return { key, certificate: pemOf('CERTIFICATE', certificate.toSchema(true).toBER()) }
}

/** A certificate signed by the authority. */
export async function issueCertificate(
  authority: KeyAndCertificate,
  serial: Uint8Array,
  issue: Issue,
): Promise<string> {
  const libraries = await load()
  const { pki, asn1 } = libraries
  const { privateKey } = await importKey(authority.key)
  const issuer = pki.Certificate.fromBER(copyOf(new X509Certificate(authority.certificate).raw))
  const certificate = blank(libraries, serial, issue.now - skewMs, issue.until)
  certificate.issuer = issuer.subject
  certificate.subject.typesAndValues.push(
    attribute(libraries, oid.organizationalUnit, issue.role),
    attribute(libraries, oid.commonName, issue.name),
    attribute(libraries, oid.serialNumber, issue.id),
  )
  certificate.subjectPublicKeyInfo = pki.PublicKeyInfo.fromBER(copyOf(issue.publicKey))
  // What has no daemon serves nothing; a mount serves its metrics, under a name that nobody takes for a master or a node.
  const serves = servingRoles.includes(issue.role) || issue.role === 'mount'
  const purposes = serves ? [oid.serverAuth, oid.clientAuth] : [oid.clientAuth]
  const { names: hosts, addresses } = issue.hosts ?? { names: [], addresses: [] }
  const names = new pki.GeneralNames({
    names: [
      ...[serverNameOf(issue.role), ...hosts].map(
        value => new pki.GeneralName({ type: nameKinds.dns, value }),
      ),
      ...addresses.map(address => {
        const value = new asn1.OctetString({ valueHex: copyOf(address).buffer })
        return new pki.GeneralName({ type: nameKinds.address, value })
      }),
    ],
  })
  const authorityKey = new pki.AuthorityKeyIdentifier({
    keyIdentifier: new asn1.OctetString({
      valueHex: keyIdentifier(issuer.subjectPublicKeyInfo.toSchema().toBER()),
    }),
  })
  certificate.extensions = [
    extension(libraries, oid.basicConstraints, new pki.BasicConstraints({ cA: false }).toSchema(), true),
    extension(libraries, oid.keyUsage, bits(libraries, usage.digitalSignature), true),
    extension(
      libraries,
      oid.extendedKeyUsage,
      new pki.ExtKeyUsage({ keyPurposes: [...purposes] }).toSchema(),
    ),
    extension(libraries, oid.subjectAltName, names.toSchema()),
    extension(libraries, oid.authorityKeyIdentifier, authorityKey.toSchema()),
  ]
  await certificate.sign(privateKey, hash)
  return pemOf('CERTIFICATE', certificate.toSchema(true).toBER())
}

/** Asks for a certificate of this key, DER. It names nobody: who gets one is the authority's to say. */
export async function makeRequest(key: string): Promise<Uint8Array> {
  const { pki } = await load()
  const { privateKey, publicKey } = await importKey(key)
  const request = new pki.CertificationRequest()
  await request.subjectPublicKeyInfo.importKey(publicKey)
  await request.sign(privateKey, hash)
  return new Uint8Array(request.toSchema(true).toBER())
}

/** The public key (DER) of a request whose sender has the private one. Throws EINVAL for anything else. */
export async function keyOfRequest(request: Uint8Array): Promise<Uint8Array> {
  const bad = (cause?: unknown): FsError =>
    new FsError('EINVAL', 'That is no request for a certificate of an ECDSA key on P-256', { cause })
  if (request.length > requestBytesMax) throw bad()
  const { pki } = await load()
  try {
    const parsed = pki.CertificationRequest.fromBER(copyOf(request))
    const spki = new Uint8Array(parsed.subjectPublicKeyInfo.toSchema().toBER())
    // Throws for a key of another kind.
    await subtle.importKey('spki', spki, algorithm, true, ['verify'])
    if (await parsed.verify()) return spki
  } catch (thrown) {
    throw bad(thrown)
  }
  throw bad()
}

/** SHA-256 of a certificate (PEM): what a token knows an authority by. */
export const fingerprint = (certificate: string): Buffer =>
  createHash('sha256').update(new X509Certificate(certificate).raw).digest()

export function pemOf(label: string, der: ArrayBuffer | Uint8Array): string {
  const text = Buffer.from(new Uint8Array(der)).toString('base64').replaceAll(/.{64}/g, '$&\n').trimEnd()
  return `-----BEGIN ${label}-----\n${text}\n-----END ${label}-----\n`
}

async function importKey(pem: string) {
  const secret = createPrivateKey(pem)
  const pkcs8 = secret.export({ type: 'pkcs8', format: 'der' })
  const spki = createPublicKey(secret).export({ type: 'spki', format: 'der' })
  return {
    privateKey: await subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    publicKey: await subtle.importKey('spki', spki, algorithm, true, ['verify']),
  }
}

function blank({ pki, asn1 }: Libraries, serial: Uint8Array, from: number, until: number) {
  // Positive, and never shortened by a leading zero.
  const number = copyOf(serial)
  number[0] = ((number[0] ?? 0) & 0x3f) | 0x40
  const certificate = new pki.Certificate()
  certificate.version = 2
  certificate.serialNumber = new asn1.Integer({ valueHex: number.buffer })
  certificate.notBefore.value = new Date(from)
  certificate.notAfter.value = new Date(until)
  return certificate
}

function attribute({ pki, asn1 }: Libraries, type: string, value: string) {
  return new pki.AttributeTypeAndValue({ type, value: new asn1.Utf8String({ value }) })
}

function extension({ pki }: Libraries, extnID: string, value: { toBER(): ArrayBuffer }, critical = false) {
  return new pki.Extension({ extnID, critical, extnValue: value.toBER() })
}

function bits({ asn1 }: Libraries, flags: number) {
  const unusedBits = 31 - Math.clz32(flags & -flags)
  return new asn1.BitString({ valueHex: new Uint8Array([flags]).buffer, unusedBits })
}

/** Any unique name for a key will do. */
const keyIdentifier = (spki: ArrayBuffer): ArrayBuffer =>
  copyOf(createHash('sha256').update(new Uint8Array(spki)).digest().subarray(0, 20)).buffer

const copyOf = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes)
