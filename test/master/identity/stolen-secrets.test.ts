/** An attacker with a certificate of its own and somebody else's secret, over TLS to a real front and engine. */
import test from 'ava'
import Database from 'better-sqlite3'
import { createChecksums } from '#src/core/checksum.ts'
import { silentLog } from '#src/core/env.ts'
import { realEnv } from '#src/env/real-env.ts'
import { engineHandler } from '#src/master/rpc/open-engine.ts'
import { type EngineLane, MasterServer } from '#src/master/rpc/server.ts'
import { Store } from '#src/master/store/store.ts'
import type { NodeDown, Register } from '#src/wire/gen/cairn/v1/nodes.ts'
import type { Hello, SessionDown } from '#src/wire/gen/cairn/v1/session.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { nodesAttach, sessionAttach } from '#src/wire/services.ts'
import type { Role } from '#src/wire/tls/roles.ts'
import { Tls } from '#src/wire/tls/tls.ts'
import { TestAuthority } from '../../wire/tls/authority-fixture.js'

const none = new Uint8Array(0)

test('a secret of a session, and the store of a node, are of no use with a certificate of another identity', async t => {
  const store = Store.format(new Database(':memory:'), {
    ...{ cluster: Buffer.alloc(16, 7), blockBytes: 65536, copies: 1, minCopies: 1, created: 1n },
  })
  const engine = engineHandler(store, 'test', await createChecksums())
  const authority = await TestAuthority.make()
  const as = async (role: Role): Promise<GrpcNetwork> => {
    const network = new GrpcNetwork({ log: silentLog, tls: new Tls(await authority.issue({ role })) })
    t.teardown(() => network.close())
    return network
  }
  const lane: EngineLane = { run: async batch => engine.run(batch), close: async () => engine.close() }
  const server = await MasterServer.start(realEnv(silentLog), await as('master'), lane, {
    listen: '127.0.0.1:0',
    rssBytes: () => 0,
    failed: error => t.fail(String(error)),
  })
  t.teardown(() => server.close())

  /** The first answer to a hello. */
  const says = (network: GrpcNetwork, hello: Partial<Hello> = {}) => {
    const link = network.dial(server.address, sessionAttach)
    const value = {
      ...{ versionMin: 1, versionMax: 1, session: 0n, epoch: 0n, secret: none, cluster: none },
      ...{ host: 'h', mountpoint: '/mnt', pid: 1, program: 'test', zone: '', readOnly: false },
      ...{ export: '', clock: 0n },
      ...hello,
    }
    link.onClose(() => undefined)
    link.send({ items: [{ item: { $case: 'hello', value } }], acked: 0n })
    return new Promise<SessionDown['items'][number]['item']>(resolve =>
      link.onFrame(({ items: [first] }) => resolve(first?.item)),
    )
  }
  const [laptop, thief] = [await as('mount'), await as('mount')]
  const welcome = await says(laptop)
  if (welcome?.$case !== 'welcome') throw new Error('not welcome')
  const { session, epoch, secret } = welcome.value
  t.like(await says(thief, { session, epoch, secret }), { $case: 'refused', value: { sessionDead: false } })
  t.like(await says(laptop, { session, epoch, secret }), { $case: 'welcome', value: { session } })

  const registers = (network: GrpcNetwork, register: Partial<Register>) => {
    const link = network.dial(server.address, nodesAttach)
    const value = {
      ...{
        versionMin: 1,
        versionMax: 1,
        cluster: none,
        node: 0n,
        store: Buffer.alloc(16, 1),
        incarnation: 1n,
      },
      ...{ address: 'a:1', zone: '', host: 'h', totalBytes: 1n << 40n, usedBytes: 0n, blocks: 0n },
      ...{ program: 'test', sequence: 0n, ...register },
    }
    link.onClose(() => undefined)
    link.send({ item: { $case: 'register', value } })
    return new Promise<NodeDown['item']>(resolve => link.onFrame(({ item }) => resolve(item)))
  }
  const [one, other] = [await as('chunkserver'), await as('chunkserver')]
  const accepted = await registers(one, {})
  if (accepted?.$case !== 'accepted') throw new Error('not accepted')
  const { node } = accepted.value
  t.like(await registers(other, {}), { $case: 'refused' })
  t.like(await registers(other, { node, incarnation: 2n }), { $case: 'refused' })
  t.like(await registers(one, { node, incarnation: 2n }), { $case: 'accepted', value: { node } })
})
