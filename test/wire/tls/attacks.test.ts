import test, { type ExecutionContext } from 'ava'
import { once } from 'node:events'
import * as http2 from 'node:http2'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { Listener, Serving, StreamDef } from '#src/core/network.ts'
import { parseAddress } from '#src/core/address.ts'
import { messageBytesMax } from '#src/core/limits.ts'
import { arrivedMax } from '#src/wire/grpc/admission.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import type { Credentials } from '#src/wire/tls/identity-folder.ts'
import type { Role } from '#src/wire/tls/roles.ts'
import { Tls } from '#src/wire/tls/tls.ts'
import { adminLabelNode, adminStatus, logList, logRead } from '#src/wire/services.ts'
import { StatusReply } from '#src/wire/gen/cairn/v1/admin.ts'
import { ListLogReply, ReadLogReply, ReadLogRequest } from '#src/wire/gen/cairn/v1/log.ts'
import { Arrivals, bytesCodec, type LogLine, pause, recordingLog } from '../grpc/harness.js'
import { HostileBytes } from '../../support/hostile-bytes.js'
import { TestAuthority } from './authority-fixture.js'

const soon = { timeoutMs: 60_000 }

const bytes = (path: string): StreamDef<Uint8Array, Uint8Array> => ({
  path,
  up: bytesCodec,
  down: bytesCodec,
})
const blocks = bytes('/cairn.v1.Blocks/Open')
const attach = bytes('/cairn.v1.Session/Attach')
const nodes = bytes('/cairn.v1.Nodes/Attach')
const follow = bytes('/cairn.v1.MasterLog/Follow')
const unlisted = bytes('/cairn.v1.Session/Unlisted')

const register = (serving: Serving): void => {
  for (const def of [blocks, attach, nodes, follow, unlisted])
    serving.stream(def, link => {
      link.onFrame(frame => link.send(frame))
      link.onClose(() => undefined)
    })
  serving.call(adminStatus, async () => StatusReply.create())
  serving.call(adminLabelNode, async () => ({}))
  serving.call(logList, async () => ListLogReply.create())
  serving.call(logRead, async () => ReadLogReply.create())
}

interface World {
  readonly authority: TestAuthority
  readonly tls: Tls
  readonly listener: Listener
  readonly address: string
  readonly port: number
  readonly log: LogLine[]
  readonly network: (credentials?: Credentials) => GrpcNetwork
  readonly as: (role: Role) => Promise<GrpcNetwork>
}

async function world(t: ExecutionContext, role: Role = 'master'): Promise<World> {
  const authority = await TestAuthority.make()
  const log: LogLine[] = []
  const tls = new Tls(await authority.issue({ role }))
  const network = (credentials?: Credentials): GrpcNetwork => {
    const made = new GrpcNetwork({
      log: recordingLog([]),
      tls: credentials === undefined ? undefined : new Tls(credentials),
    })
    t.teardown(() => made.close())
    return made
  }
  const server = new GrpcNetwork({ log: recordingLog(log), tls })
  t.teardown(() => server.close())
  const listener = await server.listen('127.0.0.1:0', register)
  const port = parseAddress(listener.address)?.port ?? 0
  const as = async (of: Role): Promise<GrpcNetwork> => network(await authority.issue({ role: of }))
  return { authority, tls, listener, address: listener.address, port, log, network, as }
}

/** Sends a frame and says what came of it: `echo`, or how the stream ended. */
async function tries(
  network: GrpcNetwork,
  address: string,
  def: StreamDef<Uint8Array, Uint8Array>,
): Promise<string> {
  const link = network.dial(address, def)
  const arrivals = new Arrivals(link)
  link.send(Uint8Array.of(1))
  const outcome = await Promise.race([
    arrivals.until(1).then(() => 'echo'),
    arrivals.closed.then(error => `${error?.code ?? 'end'}: ${error?.message ?? ''}`),
  ])
  link.close()
  return outcome
}

/** A TLS connection by hand. */
async function handshake(
  t: ExecutionContext,
  port: number,
  options: ConnectionOptions,
): Promise<TLSSocket | Error> {
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    servername: 'cairn',
    ALPNProtocols: ['h2'],
    ...options,
  })
  t.teardown(() => socket.destroy())
  return new Promise(resolve => {
    socket.once('secureConnect', () => resolve(socket))
    socket.on('error', resolve)
  })
}

const ended = (socket: Socket): Promise<void> =>
  new Promise(resolve => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
    socket.resume()
  })

test('who has a certificate of the cluster is let in to what its role allows, by TLS 1.3', async t => {
  const { address, as, authority, port, listener } = await world(t)
  t.is(await tries(await as('mount'), address, attach), 'echo')
  t.is(await tries(await as('chunkserver'), address, nodes), 'echo')
  const admin = await as('admin')
  t.like(await admin.call(address, adminStatus, {}, soon), StatusReply.create())
  t.deepEqual(await admin.call(address, adminLabelNode, { node: 1n, label: '' }, soon), {})
  const { key, certificate: cert } = await authority.issue({ role: 'mount' })
  const socket = await handshake(t, port, { ca: authority.certificate, key, cert })
  if (socket instanceof Error) throw socket
  t.is(socket.getProtocol(), 'TLSv1.3')
  await listener.close()
})

test('the wrong role is refused, by name, and the refusal is in the log', async t => {
  const { address, as, authority, log, port } = await world(t)
  t.regex(
    await tries(await as('mount'), address, nodes),
    /^EACCES: the role mount of a-mount does not allow it/,
  )
  t.regex(await tries(await as('chunkserver'), address, attach), /^EACCES/)
  t.regex(await tries(await as('admin'), address, attach), /^EACCES/)
  const { key, certificate: cert } = await authority.issue({ role: 'admin' })
  const socket = await handshake(t, port, { ca: authority.certificate, key, cert })
  if (socket instanceof Error) throw socket
  t.is(await overHttp2(socket, unlisted.path), 'refused')
  for (const role of ['mount', 'chunkserver', 'master', 'observer'] as const) {
    const call = (await as(role)).call(address, adminLabelNode, { node: 1n, label: '' }, soon)
    t.is((await t.throwsAsync<NodeJS.ErrnoException>(call)).code, 'EACCES', role)
  }
  t.like(await (await as('observer')).call(address, adminStatus, {}, soon), StatusReply.create())
  t.is(log.filter(({ message }) => message === 'Denied').length, 8)
})

for (const role of ['master', 'chunkserver'] as const)
  test(`a ${role} lets in nobody without a good certificate`, async t => {
    const { address, authority, port, network } = await world(t, role)
    const def = role === 'master' ? attach : blocks
    t.notRegex(await tries(network(), address, def), /^echo/, 'plain HTTP/2')
    const ca = authority.certificate
    const other = await TestAuthority.make()
    const { key, certificate: cert } = await other.issue({ role: 'mount' })
    const { certificate: mixed } = await authority.issue({ role: 'mount' })
    const expired = await authority.issue({ role: 'mount', lasts: -1000 })
    const attempts: readonly [string, ConnectionOptions][] = [
      ['no certificate', { ca }],
      ['of another cluster', { ca, key, cert }],
      ['of another cluster, with its authority', { ca, key, cert: cert + other.certificate }],
      ['expired', { ca, key: expired.key, cert: expired.certificate }],
    ]
    for (const [what, options] of attempts) {
      const socket = await handshake(t, port, options)
      if (socket instanceof Error) continue
      t.is(await overHttp2(socket, def.path), 'refused', what)
    }
    // Without the private key there is nothing to say: the library refuses before the peer could.
    t.throws(() => new Tls({ authority: ca, key, certificate: mixed }), { message: /do not match/ })
    t.throws(() => network({ ...expired, authority: other.certificate }), {
      message: /not from the authority/,
    })
    t.regex(await tries(network(expired), address, def), /^EACCES: .*expired: join again/)
    const old = await handshake(t, port, { ca, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })
    t.true(old instanceof Error, 'TLS 1.2')
  })

/** What becomes of a call on a TLS connection: `refused` if the connection or the call ends with nothing granted. */
async function overHttp2(socket: TLSSocket, path: string): Promise<string> {
  const session = http2.connect('https://cairn', { createConnection: () => socket })
  session.on('error', () => undefined)
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  })
  const seen: string[] = []
  const note = (headers: http2.IncomingHttpHeaders): void =>
    void seen.push(String(headers['grpc-status'] ?? ''))
  stream.on('response', note)
  stream.on('trailers', note)
  stream.on('error', () => undefined)
  stream.on('data', () => seen.push('data'))
  stream.end(Buffer.from([0, 0, 0, 0, 1, 1]))
  await new Promise<void>(resolve => stream.on('close', () => resolve()))
  session.destroy()
  // 7 is PERMISSION_DENIED.
  return seen.every(status => status === '7') ? 'refused' : seen.join(' ')
}

test("the master's log on a chunkserver: the master writes it, an admin reads it, nobody else does either", async t => {
  const { address, as, log } = await world(t, 'chunkserver')
  const may: [string, string][] = []
  for (const role of ['master', 'chunkserver', 'mount', 'admin', 'observer'] as const) {
    const network = await as(role)
    if ((await tries(network, address, follow)) === 'echo') may.push([role, 'Follow'])
    const calls = {
      ListLog: network.call(address, logList, {}, soon),
      ReadLog: network.call(address, logRead, ReadLogRequest.create(), soon),
    }
    for (const [name, call] of Object.entries(calls))
      try {
        await call
        may.push([role, name])
      } catch (thrown) {
        t.is((thrown as NodeJS.ErrnoException).code, 'EACCES', `${role} ${name}`)
      }
  }
  t.deepEqual(may, [
    ['master', 'Follow'],
    ['admin', 'ListLog'],
    ['admin', 'ReadLog'],
  ])
  t.is(log.filter(({ message }) => message === 'Called').length, 2, 'both are in the log of who did what')
})

test('a peer that is not what it must be is told nothing', async t => {
  const { address, authority } = await world(t, 'chunkserver')
  const own = await authority.issue({ role: 'mount' })
  const network = new GrpcNetwork({ log: recordingLog([]), tls: new Tls(own) })
  t.teardown(() => network.close())
  t.is(await tries(network, address, blocks), 'echo')
  t.regex(await tries(network, address, attach), /^ECONNREFUSED: .*the certificate there is of a chunkserver/)
  const elsewhere = await TestAuthority.make()
  const stranger = new GrpcNetwork({
    log: recordingLog([]),
    tls: new Tls(await elsewhere.issue({ role: 'mount' })),
  })
  t.teardown(() => stranger.close())
  t.regex(await tries(stranger, address, blocks), /^ECONNREFUSED: .*certificate/)
})

test('a mount cannot serve as a master: its certificate is not for the listening end', async t => {
  const authority = await TestAuthority.make()
  const server = new GrpcNetwork({
    log: recordingLog([]),
    tls: new Tls(await authority.issue({ role: 'mount' })),
  })
  t.teardown(() => server.close())
  const { address } = await server.listen('127.0.0.1:0', register)
  const client = new GrpcNetwork({
    log: recordingLog([]),
    tls: new Tls(await authority.issue({ role: 'mount' })),
  })
  t.teardown(() => client.close())
  t.regex(await tries(client, address, attach), /^ECONNREFUSED/)
})

test('a revoked identity loses its open connections and gets no new ones', async t => {
  const { address, authority, tls, network } = await world(t)
  const credentials = await authority.issue({ role: 'mount', name: 'laptop' })
  const revoked = network(credentials)
  const other = network(await authority.issue({ role: 'mount' }))
  const links = [revoked, other].map(each => each.dial(address, attach))
  const [first, second] = links.map(link => new Arrivals(link))
  for (const link of links) link.send(Uint8Array.of(1))
  await first?.until(1)
  await second?.until(1)
  tls.standings.replace([{ id: new Tls(credentials).identity.id, until: Date.now() + 1e6, revoked: true }])
  t.is((await first?.closed)?.code, 'ECONNRESET')
  t.regex(
    await tries(revoked, address, attach),
    /^(EKEYREVOKED: the identity laptop .* is revoked|ECONNRESET|ECONNREFUSED)/,
  )
  links[1]?.send(Uint8Array.of(2))
  await second?.until(2)
  t.is(second?.closes, 0)
})

test('connections to a revoked chunkserver are dropped', async t => {
  const { address, authority, tls: server } = await world(t, 'chunkserver')
  const tls = new Tls(await authority.issue({ role: 'mount' }))
  const network = new GrpcNetwork({ log: recordingLog([]), tls })
  t.teardown(() => network.close())
  const link = network.dial(address, blocks)
  const arrivals = new Arrivals(link)
  link.send(Uint8Array.of(1))
  await arrivals.until(1)
  tls.standings.replace([{ id: server.identity.id, until: Date.now() + 1e6, revoked: true }])
  t.truthy(await arrivals.closed)
  t.regex(await tries(network, address, blocks), /^ECONNREFUSED: .*is revoked/)
})

test('a connection ends with its certificate, unless its owner has a newer one', async t => {
  const { address, authority, tls, network } = await world(t)
  const short = await authority.issue({ role: 'mount', lasts: 8000 })
  const renewed = await authority.issue({ role: 'mount', lasts: 8000 })
  tls.standings.replace([{ id: new Tls(renewed).identity.id, until: Date.now() + 3_600_000, revoked: false }])
  const links = [short, renewed].map(each => network(each).dial(address, attach))
  const [first, second] = links.map(link => new Arrivals(link))
  for (const link of links) link.send(Uint8Array.of(1))
  await first?.until(1)
  await second?.until(1)
  t.truthy(await first?.closed)
  links[1]?.send(Uint8Array.of(2))
  await second?.until(2)
  t.is(second?.closes, 0)
})

test('a server that gets a new certificate uses it for the next connection, and keeps the open ones', async t => {
  const { address, authority, tls, as, port } = await world(t)
  const mount = await as('mount')
  const link = mount.dial(address, attach)
  const arrivals = new Arrivals(link)
  link.send(Uint8Array.of(1))
  await arrivals.until(1)
  tls.replace(await authority.issue({ role: 'master', name: 'renewed' }))
  const socket = await handshake(t, port, { ca: authority.certificate })
  if (socket instanceof Error) throw socket
  t.is(socket.getPeerCertificate().subject.CN, 'renewed')
  link.send(Uint8Array.of(2))
  await arrivals.until(2)
  t.is(await tries(mount, address, attach), 'echo')
})

/** The first bytes that an honest client sends. */
async function clientHello(t: ExecutionContext): Promise<Buffer> {
  const server = createServer()
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const arrived = once(server, 'connection')
  const { port } = server.address() as AddressInfo
  const client = connectTls({ host: '127.0.0.1', port, servername: 'cairn', ALPNProtocols: ['h2'] })
  client.on('error', () => undefined)
  const [socket] = (await arrived) as [Socket]
  const [hello] = (await once(socket, 'data')) as [Buffer]
  client.destroy()
  socket.destroy()
  return hello
}

test('whatever the first bytes of a connection are, the daemon lives and serves others', async t => {
  const { address, as, port } = await world(t)
  const mount = await as('mount')
  const hello = await clientHello(t)
  const hostile = new HostileBytes(7)
  const http2 = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0')
  const firsts = [
    ...[http2, Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), Buffer.alloc(0), Buffer.alloc(70_000, 22)],
    // Records of the greatest length, of none, of another version, alerts and application data first.
    ...[
      [22, 3, 1, 255, 255],
      [22, 3, 1, 0, 0],
      [22, 9, 9, 0, 5, 1, 0, 0, 1, 0],
      [21, 3, 3, 0, 2, 2, 40],
    ].map(each => Buffer.from(each)),
    Buffer.from([23, 3, 3, 64, 0, ...Buffer.alloc(16_384)]),
    Buffer.concat([hello, hello]),
    ...Array.from({ length: 60 }, (_, at) => hello.subarray(0, Math.floor((at * hello.length) / 60))),
    ...Array.from({ length: 300 }, () => hostile.mutated(hello)),
    ...Array.from({ length: 60 }, () => hostile.bytes(1 + hostile.below(2000))),
  ]
  const sends = async (bytes: Buffer): Promise<void> => {
    const socket = connectTcp(port, '127.0.0.1')
    socket.on('error', () => undefined)
    const over = ended(socket)
    socket.end(bytes)
    const timer = setTimeout(() => socket.destroy(), 200)
    await over
    clearTimeout(timer)
  }
  for (let at = 0; at < firsts.length; at += 20) {
    await Promise.all(firsts.slice(at, at + 20).map(sends))
    if (at % 100 === 0) t.is(await tries(mount, address, attach), 'echo')
  }
  t.is(await tries(await as('mount'), address, attach), 'echo')
})

test('connections that never finish their handshake keep out nobody, and are closed', async t => {
  const { address, as, port } = await world(t)
  const mount = await as('mount')
  const first: Socket[] = []
  const open = new Set<Socket>()
  let stopped = false
  /** One that goes makes room for another, so that there are always as many. */
  const knock = (): Socket => {
    const socket = connectTcp(port, '127.0.0.1')
    open.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => {
      open.delete(socket)
      setTimeout(() => {
        if (!stopped) knock()
      }, 100)
    })
    return socket
  }
  t.teardown(() => {
    stopped = true
    for (const socket of open) socket.destroy()
  })
  while (first.length < arrivedMax * 2) first.push(knock())
  // On a busy machine a handshake behind so many may take longer than is waited for.
  const comesIn = async (): Promise<string> => {
    for (let left = 10; ; left--) {
      const outcome = await tries(mount, address, attach)
      if (!outcome.startsWith('ETIMEDOUT') || left === 0) return outcome
    }
  }
  t.is(await comesIn(), 'echo')
  await Promise.all(first.slice(0, arrivedMax).map(ended))
  t.is(await comesIn(), 'echo')
})

test('10,000 connections of one address that say nothing cost no other address its place', async t => {
  const { authority, as, address, port } = await world(t)
  const waiting = new Set<Socket>()
  let closed = 0
  t.teardown(() => {
    for (const socket of waiting) socket.destroy()
  })
  const knock = (localAddress: string): Promise<Socket> => {
    const socket = connectTcp({ port, host: '127.0.0.1', localAddress })
    waiting.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => {
      waiting.delete(socket)
      closed++
    })
    return once(socket, 'connect').then(() => socket)
  }
  const knockOften = async (times: number): Promise<void> => {
    for (let knocked = 0; knocked < times; knocked += 100)
      await Promise.all(Array.from({ length: 100 }, () => knock('127.0.0.1').catch(() => undefined)))
  }
  await knockOften(9400)
  const slow = await knock('127.0.0.2')
  await knockOften(600)
  while (closed < 10_000 - arrivedMax) await pause(10)
  t.true(waiting.has(slow), 'the oldest of all, but of another address')
  const { key, certificate: cert } = await authority.issue({ role: 'mount' })
  const options = { ca: authority.certificate, key, cert, servername: 'cairn', ALPNProtocols: ['h2'] }
  const secure = connectTls({ ...options, socket: slow })
  t.teardown(() => secure.destroy())
  await once(secure, 'secureConnect')
  t.is(await tries(await as('mount'), address, attach), 'echo')
})

test('a stranger that stays is shown out', async t => {
  const { authority, port } = await world(t)
  const socket = await handshake(t, port, { ca: authority.certificate })
  if (socket instanceof Error) throw socket
  const session = http2.connect('https://cairn', { createConnection: () => socket })
  session.on('error', () => undefined)
  await ended(socket)
  t.pass()
})

test('giant, truncated and senseless bytes over TLS end one connection, not the server', async t => {
  const { address, authority, as, port } = await world(t)
  const { key, certificate: cert } = await authority.issue({ role: 'mount' })
  const ca = authority.certificate
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  const garbage: readonly Buffer[] = [
    Buffer.alloc(1 << 20, 0xff),
    // A frame that says it has 16 MiB.
    Buffer.concat([preface, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    // Settings that end in the middle.
    Buffer.concat([preface, Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0])]),
    // Continuation of nothing.
    Buffer.concat([
      preface,
      Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
      Buffer.from([0, 0, 4, 9, 0, 0, 0, 0, 1, 1, 1, 1, 1]),
    ]),
  ]
  for (const each of garbage) {
    const socket = await handshake(t, port, { ca, key, cert })
    if (socket instanceof Error) throw socket
    socket.on('error', () => undefined)
    socket.end(each)
    await ended(socket)
  }
  // Not TLS at all, and TLS that stops in the middle of a record.
  for (const each of [preface, Buffer.from([22, 3, 1, 0x40, 0]), Buffer.alloc(70_000, 22)]) {
    const socket = connectTcp(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.end(each)
    await ended(socket)
  }
  // A message that says it is larger than any may be, on a stream of its own.
  const socket = await handshake(t, port, { ca, key, cert })
  if (socket instanceof Error) throw socket
  const session = http2.connect('https://cairn', { createConnection: () => socket })
  const stream = session.request({
    ':method': 'POST',
    ':path': attach.path,
    'content-type': 'application/grpc',
  })
  const trailers = once(stream, 'trailers') as Promise<[http2.IncomingHttpHeaders]>
  stream.resume()
  const head = Buffer.alloc(5)
  head.writeUInt32BE(messageBytesMax + 1, 1)
  stream.write(head)
  // 8 is RESOURCE_EXHAUSTED.
  t.is((await trailers)[0]['grpc-status'], '8')
  session.destroy()
  t.is(await tries(await as('mount'), address, attach), 'echo')
  await pause(0)
})
