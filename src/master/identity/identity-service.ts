import type { Env } from '../../core/env.ts'
import type { Caller, Link, Serving } from '../../core/network.ts'
import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type {
  IdentityRecord,
  Standings as StandingsMessage,
  WatchUp,
} from '../../wire/gen/cairn/v1/identity.ts'
import {
  identityCreateToken,
  identityJoin,
  identityList,
  identityRenew,
  identityRevoke,
  identityWatch,
} from '../../wire/services.ts'
import type { Standing } from '../../wire/tls/standing.ts'
import type { Authority } from './authority.ts'
import { GuessLimit } from '../../service/guess-limit.ts'
import type { IdentityRow } from './registry-file.ts'

/** A change more often than this is told later: a peer that does not read must not fill our memory. */
const queuedBytesMax = 1 << 20

/** Serves what others ask of the authority. Who may ask what is the wire's to check. */
export function serveIdentities(
  serving: Serving,
  authority: Authority,
  { clock, log }: Pick<Env, 'clock' | 'log'>,
): void {
  const limit = new GuessLimit(clock)
  serving.call(identityJoin, async ({ tokenId: id, tokenSecret: secret, request, name }, { peer }) => {
    const wait = limit.waitMs(peer)
    if (wait > 0)
      throw new FsError(
        'EAGAIN',
        `too many wrong tokens came from there: again in ${Math.ceil(wait / second)} s`,
      )
    try {
      return { certificate: await authority.join({ id, secret }, request, name) }
    } catch (thrown) {
      if (thrown instanceof FsError && thrown.code === 'EACCES') {
        limit.note(peer)
        log.warn('Denied', { audit: true, peer, why: thrown.message })
      }
      throw thrown
    }
  })
  serving.call(identityRenew, async ({ request }, caller) => ({
    certificate: await authority.renew(whoIs(caller), request),
  }))
  serving.call(identityCreateToken, async ({ role, lastsMs, uses, export: exported }) => {
    const { token, expires } = authority.createToken(role, Number(lastsMs), uses, exported)
    return { token, expires: BigInt(expires) }
  })
  serving.call(identityList, async () => ({ identities: authority.identities.map(recordOf) }))
  serving.call(identityRevoke, async ({ identity }) => ({ identity: recordOf(authority.revoke(identity)) }))
  serving.stream(identityWatch, link => tell(link, authority))
}

function tell(link: Link<StandingsMessage, WatchUp>, authority: Authority): void {
  let behind = false
  const send = (standings: readonly Standing[]): void => {
    if (behind) return
    link.send({ standings: standings.map(each => ({ ...each, until: BigInt(each.until) })) })
    if (link.queuedBytes <= queuedBytesMax) return
    behind = true
    void link.drained().then(() => {
      behind = false
      send(authority.standings)
    })
  }
  const stop = authority.watch(send)
  link.onFrame(() => undefined)
  link.onClose(stop)
  send(authority.standings)
}

function whoIs({ identity }: Caller): string {
  if (identity === undefined) throw new FsError('EACCES', 'who are you? there is no TLS here')
  return identity.id
}

const recordOf = ({
  id,
  role,
  name,
  created,
  until,
  revoked,
  export: exported,
}: IdentityRow): IdentityRecord => ({
  ...{ id, role, name },
  created: BigInt(created),
  until: BigInt(until),
  revoked: BigInt(revoked ?? 0),
  export: exported ?? '',
})
