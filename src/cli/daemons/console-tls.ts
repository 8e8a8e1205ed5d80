import os from 'node:os'
import { isLoopback, parseAddress, reachesOthers } from '../../core/address.ts'
import type { Env, Log } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import type { Serving } from '../../core/network.ts'
import { nsPerMs } from '../../core/units.ts'
import type { ConsoleServer, ConsoleTls } from '../../console/console-server.ts'
import type { Authority } from '../../master/identity/authority.ts'
import { ipAddressBytes } from '../../web/ip-address.ts'
import { codeMs, Logins } from '../../web/logins.ts'
import { PageTls } from '../../web/page-tls.ts'
import { identityLogin } from '../../wire/services.ts'
import type { Hosts } from '../../wire/tls/certificates.ts'
import type { Tls } from '../../wire/tls/tls.ts'

export interface MasterConsole extends ConsoleTls {
  /** Now, on the machine's clock, ms since 1970. */
  readonly now: () => number
}

/** What the console is served with to other machines: a certificate with the names and addresses that lead to it. */
export async function makeConsoleTls(
  env: Env,
  address: string,
  tls: Tls,
  authority: Authority,
): Promise<MasterConsole> {
  const own = () => authority.forPages(tls.identity.id, hostsOf(address, env.log))
  const page = reachesOthers(address) ? await PageTls.with(tls, own) : PageTls.daemon(tls)
  return { page, logins: new Logins(env), now: () => Number(env.clock.wall() / nsPerMs) }
}

/** Answers `cairn console login`. */
export function serveLogin(
  serving: Serving,
  { page, logins, now }: MasterConsole,
  console: () => ConsoleServer | undefined,
): void {
  serving.call(identityLogin, async (_request, { identity }) => {
    const there = console()
    if (there === undefined)
      throw new FsError(
        'ENOENT',
        'the master serves no console: set `console` in its configuration, or --console',
      )
    if (identity === undefined) throw new FsError('EACCES', 'who are you? there is no TLS here')
    const { address, asksWho } = there
    if (!asksWho) return { address, code: '', expires: 0n, fingerprint: new Uint8Array() }
    const code = logins.code(identity)
    return { address, code, expires: BigInt(now() + codeMs), fingerprint: page.fingerprint }
  })
}

/** What leads to an address: itself, this machine's name, and each of its addresses where it is all of them. */
function hostsOf(address: string, log: Log): Hosts {
  const host = parseAddress(address)?.host ?? ''
  const all = host === '0.0.0.0' || host === '::'
  const found = all ? ['localhost', ...ownAddresses(log)] : [host]
  const addresses: Uint8Array[] = []
  const names = new Set([os.hostname()])
  for (const each of found) {
    const bytes = ipAddressBytes(each)
    if (bytes !== undefined) addresses.push(bytes)
    else if (!isLoopback(each) || all) names.add(each)
  }
  return { names: [...names], addresses }
}

function ownAddresses(log: Log): string[] {
  try {
    return Object.values(os.networkInterfaces()).flatMap(each => (each ?? []).map(({ address }) => address))
  } catch (error) {
    log.warn("This machine's addresses are not in the certificate of the console: give it one to listen on", {
      why: messageOf(error),
    })
    return []
  }
}
