/** Who has a good certificate, connects, and says nothing, little or too much. */
import test, { type ExecutionContext } from 'ava'
import { once } from 'node:events'
import * as http2 from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StreamDef } from '#src/core/network.ts'
import { parseAddress } from '#src/core/address.ts'
import { StatusReply } from '#src/wire/gen/cairn/v1/admin.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { adminStatus, identityWatch } from '#src/wire/services.ts'
import { Tls } from '#src/wire/tls/tls.ts'
import { bytesCodec, type LogLine, recordingLog } from '../grpc/harness.js'
import { TestAuthority } from './authority-fixture.js'

const attach: StreamDef<Uint8Array, Uint8Array> = {
  ...{ path: '/cairn.v1.Session/Attach', up: bytesCodec, down: bytesCodec },
}
const message = Buffer.from([0, 0, 0, 0, 1, 7])

async function world(t: ExecutionContext) {
  const authority = await TestAuthority.make()
  const log: LogLine[] = []
  const server = new GrpcNetwork({
    log: recordingLog(log),
    tls: new Tls(await authority.issue({ role: 'master' })),
  })
  t.teardown(() => server.close())
  const listener = await server.listen('127.0.0.1:0', serving => {
    serving.stream(attach, link => {
      link.onFrame(frame => link.send(frame))
      link.onClose(() => undefined)
    })
    serving.stream(identityWatch, link => {
      link.send({ standings: [] })
      link.onFrame(() => undefined)
      link.onClose(() => undefined)
    })
    serving.call(adminStatus, async () => StatusReply.create())
  })
  const as = async (role: 'mount' | 'admin') => {
    const { key, certificate: cert } = await authority.issue({ role })
    return (): http2.ClientHttp2Session => {
      const session = http2.connect(`https://127.0.0.1:${String(parseAddress(listener.address)?.port)}`, {
        ...{ key, cert, ca: authority.certificate, servername: 'cairn' },
      })
      t.teardown(() => session.destroy())
      session.on('error', () => undefined)
      return session
    }
  }
  return { as, log, authority, address: listener.address }
}

const open = (session: http2.ClientHttp2Session, path: string): http2.ClientHttp2Stream => {
  const stream = session.request(
    { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
    { endStream: false },
  )
  stream.on('error', () => undefined)
  stream.resume()
  return stream
}

const over = (what: http2.ClientHttp2Session | http2.ClientHttp2Stream): Promise<unknown> =>
  what.closed || what.destroyed ? Promise.resolve() : once(what, 'close')

test('with a good certificate and nothing to say one is shown out, and who has something to say stays', async t => {
  t.timeout(200_000)
  const { as, authority, address } = await world(t)
  const mount = await as('mount')
  const admin = await as('admin')
  const idle = mount()
  const silent = open(mount(), attach.path)
  const dribbling = open(mount(), attach.path)
  const halfCall = open(admin(), adminStatus.path)
  const dribblingCall = open(admin(), adminStatus.path)
  dribblingCall.write(Buffer.from([0, 0, 0, 0, 200]))
  dribbling.write(Buffer.from([0, 0, 0, 0, 200]))
  const drip = setInterval(() => {
    for (const stream of [dribbling, dribblingCall]) if (!stream.destroyed) stream.write(Buffer.from([1]))
  }, 1000)
  t.teardown(() => clearInterval(drip))
  const honest = open(mount(), attach.path)
  honest.write(message)
  const network = new GrpcNetwork({
    log: recordingLog([]),
    tls: new Tls(await authority.issue({ role: 'mount' })),
  })
  t.teardown(() => network.close())
  const watching = network.dial(address, identityWatch)
  watching.onFrame(() => undefined)
  let watched = true
  watching.onClose(() => {
    watched = false
  })
  await Promise.all([silent, dribbling, halfCall, dribblingCall].map(over))
  await over(idle)
  t.false(honest.closed, 'it said who it is, and may be silent then')
  t.true(watched, 'who only listens is not asked for a word')
})

test('an identity has so many streams of a kind, and another one is not kept out by that', async t => {
  t.timeout(120_000)
  const { as, log } = await world(t)
  const mount = await as('mount')
  const streams: http2.ClientHttp2Stream[] = []
  for (let count = 0; count < 4; count++) {
    const session = mount()
    await once(session, 'remoteSettings')
    for (let each = 0; each < 600; each++) {
      const stream = open(session, attach.path)
      stream.write(message)
      streams.push(stream)
    }
  }
  for (let tries = 0; tries < 600 && streams.filter(stream => stream.closed).length < 352; tries++)
    await sleep(50)
  t.is(streams.filter(stream => stream.closed).length, 2400 - 2048)
  t.true(log.some(({ level, message: text }) => level === 'warn' && text === 'Denied'))
  const other = open((await as('mount'))(), attach.path)
  other.write(message)
  await once(other, 'data')
  for (const stream of streams.slice(0, 100)) stream.close()
  await Promise.all(streams.slice(0, 100).map(over))
  const again = open(mount(), attach.path)
  again.write(message)
  await once(again, 'data')
  t.pass()
})
