import { get as getPlain, type IncomingMessage } from 'node:http'
import { get as getSecure } from 'node:https'
import { parseAddress, reachesOthers } from '../../core/address.ts'
import { second } from '../../core/units.ts'
import { knownIdentity, serverNameOf } from '../../wire/tls/peer.ts'
import { servingRoles } from '../../wire/tls/roles.ts'
import type { Tls } from '../../wire/tls/tls.ts'

const patienceMs = 5 * second
const bytesMax = 4 << 20

interface Answer {
  readonly code: number
  readonly text: string
}

/** The metrics of a daemon on this machine that listens at `address`: by TLS where others reach it, too. */
export function askMetrics(
  address: string,
  tls: Tls | undefined,
): { readonly url: string; readonly answer: Promise<Answer> } {
  const { host = '', port = 0 } = parseAddress(address) ?? {}
  const at = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  const options = { host: at, port, path: '/metrics', timeout: patienceMs, agent: false as const }
  const secure = tls !== undefined && reachesOthers(address)
  const answer = new Promise<Answer>((resolve, reject) => {
    const take = (response: IncomingMessage): void => collect(response, resolve, reject)
    const asked = secure
      ? getSecure({ ...options, ...tls.contextOptions, servername: '', checkServerIdentity: checkRole }, take)
      : getPlain(options, take)
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', reject)
  })
  return { url: `${secure ? 'https' : 'http'}://${at}:${String(port)}/metrics`, answer }
}

/** Of the cluster's authority it is; whose metrics they are is not known before. */
function checkRole(_host: string, certificate: Parameters<typeof knownIdentity>[0]): Error | undefined {
  const role = knownIdentity(certificate)?.role
  if (role !== undefined && (servingRoles.includes(role) || role === 'mount')) return undefined
  return new Error(`the certificate there is of no daemon of the cluster (${serverNameOf('master')})`)
}

function collect(
  response: IncomingMessage,
  resolve: (answer: Answer) => void,
  reject: (error: Error) => void,
): void {
  const parts: Buffer[] = []
  let bytes = 0
  response.on('data', (part: Buffer) => {
    bytes += part.length
    if (bytes > bytesMax) response.destroy(new Error('that is more than metrics are'))
    else parts.push(part)
  })
  response.on('error', reject)
  response.on('end', () => resolve({ code: response.statusCode ?? 0, text: Buffer.concat(parts).toString() }))
}
