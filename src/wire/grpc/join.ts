import { X509Certificate } from 'node:crypto'
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls'
import { parseAddress } from '../../core/address.ts'
import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import { fingerprint, makeKey, makeRequest, pemOf } from '../tls/certificates.ts'
import type { Credentials } from '../tls/identity-folder.ts'
import { serverName } from '../tls/peer.ts'
import { stranger } from '../tls/tls.ts'
import { parseToken } from '../tls/token.ts'
import { identityJoin } from '../services.ts'
import { callUnary } from './dial.ts'

const chainMax = 8
/** Once for each machine, perhaps on a busy one. */
const joinTimeoutMs = 30 * second

/**
 * Becomes somebody: gets a certificate for a token from the master at `address`. The private key is made here and
 * stays here. Nothing secret is said before the other end has proved, by the authority that the token names, that it
 * is the master.
 */
export async function joinCluster(address: string, token: string, name: string): Promise<Credentials> {
  const { authority: wanted, id, secret } = parseToken(token)
  const authority = await authorityThere(address, wanted)
  const key = makeKey()
  const { certificate } = await callUnary(
    address,
    identityJoin,
    { tokenId: id, tokenSecret: secret, request: await makeRequest(key), name },
    { timeoutMs: joinTimeoutMs },
    stranger(authority),
  )
  return { authority, key, certificate }
}

/** The authority's certificate as the other end shows it, if it has the fingerprint: whoever shows it is not trusted yet. */
async function authorityThere(address: string, wanted: Uint8Array): Promise<string> {
  const parsed = parseAddress(address)
  if (parsed === undefined) throw new FsError('EINVAL', `Not an address (HOST:PORT): ${address}`)
  const socket = connect({
    ...parsed,
    servername: serverName,
    minVersion: 'TLSv1.3',
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  })
  try {
    await secured(socket, address)
    let shown: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true)
    for (let depth = 0; depth < chainMax && shown?.raw !== undefined; depth++) {
      const pem = pemOf('CERTIFICATE', shown.raw)
      if (new X509Certificate(pem).ca && fingerprint(pem).equals(wanted)) return pem
      shown = shown.issuerCertificate === shown ? undefined : shown.issuerCertificate
    }
  } finally {
    socket.destroy()
  }
  throw new FsError('EACCES', `${address} is of another cluster than the token: nothing was sent to it`)
}

function secured(socket: TLSSocket, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.setTimeout(joinTimeoutMs, () =>
      reject(new FsError('ETIMEDOUT', `Cannot connect to ${address}: no answer in ${joinTimeoutMs} ms`)),
    )
    socket.once('secureConnect', resolve)
    socket.on('error', (error: Error) =>
      reject(new FsError('ECONNREFUSED', `Cannot connect by TLS to ${address}: ${error.message}`)),
    )
  })
}
