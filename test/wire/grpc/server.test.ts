import {
  Client,
  credentials,
  makeGenericClientConstructor,
  type MethodDefinition,
  status,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import test from 'ava'
import { service as healthService } from 'grpc-health-check'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as http2 from 'node:http2'
import { connect, createServer, type Server as TcpServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { FsError, UsageError } from '#src/core/errors.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import { windowBytes } from '#src/wire/grpc/options.ts'
import { adminStatus } from '#src/wire/services.ts'
import { Arrivals, cluster, echo, pause, recordingLog, twice } from './harness.ts'

const soon = { timeoutMs: 5000 }

test('calls are answered, and their errors keep errno and text', async t => {
  await using net = await cluster(serving =>
    serving.call(twice, async request => {
      if (request[0] === 1) throw new FsError('ENOTEMPTY', 'still 3 entries')
      if (request[0] === 2) throw new TypeError('a bug')
      return Buffer.concat([request, request])
    }),
  )
  const { address } = net.listener
  t.deepEqual([...(await net.client.call(address, twice, Uint8Array.from([7, 8]), soon))], [7, 8, 7, 8])
  const failed = net.client.call(address, twice, Uint8Array.from([1]), soon)
  t.like(await t.throwsAsync(failed), { code: 'ENOTEMPTY', message: 'still 3 entries' })
  t.deepEqual(net.log, [])
  const bug = net.client.call(address, twice, Uint8Array.from([2]), soon)
  t.like(await t.throwsAsync(bug), { code: 'EIO', message: 'a bug' })
  t.deepEqual(net.log, [{ level: 'error', message: 'A call failed' }])
  const malformed = net.client.call(address, twice, Uint8Array.from([0xff]), soon)
  t.like(await t.throwsAsync(malformed), { code: 'EPROTO' })
  const unknown = net.client.call(address, adminStatus, {}, soon)
  t.like(await t.throwsAsync(unknown), { code: 'EOPNOTSUPP' })
})

test('calls time out, are cancelled, and find nobody', async t => {
  await using net = await cluster(serving => serving.call(twice, () => new Promise(() => undefined)))
  const { address } = net.listener
  const late = net.client.call(address, twice, Uint8Array.of(1), { timeoutMs: 100 })
  t.like(await t.throwsAsync(late), { code: 'ETIMEDOUT', message: `No answer from ${address} in 100 ms` })
  const controller = new AbortController()
  const call = net.client.call(address, twice, Uint8Array.of(1), { ...soon, signal: controller.signal })
  setTimeout(() => controller.abort(), 50)
  t.like(await t.throwsAsync(call), { code: 'ECANCELED' })
  const again = net.client.call(address, twice, Uint8Array.of(1), { ...soon, signal: controller.signal })
  t.like(await t.throwsAsync(again), { code: 'ECANCELED' })
  await net.listener.close()
  const nobody = net.client.call(address, twice, Uint8Array.of(1), soon)
  t.like(await t.throwsAsync(nobody), { code: 'ECONNREFUSED' })
  t.like(await t.throwsAsync(net.client.call('nonsense', twice, Uint8Array.of(1), soon)), { code: 'EINVAL' })
})

test('windows are wide on the server: of streams and of the connection', async t => {
  await using net = await cluster(serving => serving.stream(echo, () => undefined))
  const session = http2.connect(`http://${net.listener.address}`)
  await once(session, 'remoteSettings')
  t.is(session.remoteSettings.initialWindowSize, windowBytes)
  while ((session.state.remoteWindowSize ?? 0) < windowBytes) await pause(5)
  t.is(session.state.remoteWindowSize, windowBytes)
  session.destroy()
})

test('windows are wide on the client: of streams and of the connection', async t => {
  const server = http2.createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const arrived = once(server, 'session') as Promise<[http2.ServerHttp2Session]>
  const network = new GrpcNetwork({ log: recordingLog([]) })
  const here = new Arrivals(network.dial(`127.0.0.1:${port}`, echo))
  const [session] = await arrived
  await once(session, 'remoteSettings')
  t.is(session.remoteSettings.initialWindowSize, windowBytes)
  while ((session.state.remoteWindowSize ?? 0) < windowBytes) await pause(5)
  t.is(session.state.remoteWindowSize, windowBytes)
  session.destroy()
  t.true(['ECONNRESET', 'ECONNREFUSED'].includes((await here.closed)?.code ?? ''))
  await network.close()
  server.close()
})

test('a killed peer closes its links with ECONNRESET', async t => {
  const module = fileURLToPath(new URL('./server-fixture.js', import.meta.url))
  const child = spawn(process.execPath, [module], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const network = new GrpcNetwork({ log: recordingLog([]) })
  const link = network.dial(line.toString().trim(), echo)
  const here = new Arrivals(link)
  link.send(Uint8Array.of(1))
  await here.until(1)
  child.kill('SIGKILL')
  t.is((await here.closed)?.code, 'ECONNRESET')
  await network.close()
})

test('a peer that accepts and says nothing is ETIMEDOUT, and its socket is given up', async t => {
  const gone: Promise<unknown>[] = []
  const server: TcpServer = createServer(socket => {
    socket.resume()
    gone.push(once(socket, 'close'))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const network = new GrpcNetwork({ log: recordingLog([]) })
  const here = new Arrivals(network.dial(`127.0.0.1:${port}`, echo))
  t.is((await here.closed)?.code, 'ETIMEDOUT')
  await Promise.all(gone)
  t.is(gone.length, 1)
  await network.close()
  server.close()
})

/** The start of every HTTP/2 connection, and empty settings. */
const preface = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
])
const hostile: Record<string, Buffer> = {
  'nothing at all': Buffer.alloc(0),
  zeros: Buffer.alloc(10_000),
  'an HTTP/1 request': Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
  noise: Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7919 + 13) & 0xff)),
  'half a preface': preface.subarray(0, 11),
  'noise after the preface': Buffer.concat([preface, Buffer.alloc(3000, 0xa5)]),
  'a frame cut short': Buffer.concat([preface, Buffer.from([0, 1, 0, 1, 4, 0, 0, 0, 1, 0x82])]),
  'a frame larger than allowed': Buffer.concat([preface, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
  'data on a stream that was not opened': Buffer.concat([
    preface,
    Buffer.from([0, 0, 4, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4]),
  ]),
  'a window that overflows': Buffer.concat([
    preface,
    Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
  ]),
}

test('hostile bytes on the socket leave the server and the other links alone', async t => {
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      link.onFrame(frame => link.send(frame))
      link.onClose(() => undefined)
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  const here = new Arrivals(link)
  let sent = 0
  const alive = async (): Promise<void> => {
    link.send(Uint8Array.of(1))
    await here.until(++sent)
  }
  await alive()
  const [host = '', port = '0'] = net.listener.address.split(':')
  for (const bytes of Object.values(hostile)) {
    const socket = connect(Number(port), host)
    socket.on('error', () => undefined)
    socket.resume()
    await once(socket, 'connect')
    socket.write(bytes)
    await alive()
    socket.destroy()
    await alive()
  }
  t.is(here.closes, 0)
})

test('hostile messages on a stream end that stream only', async t => {
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      link.onFrame(frame => link.send(frame))
      link.onClose(() => undefined)
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  const here = new Arrivals(link)
  const headers = {
    ':method': 'POST',
    ':path': echo.path,
    'content-type': 'application/grpc',
    te: 'trailers',
  }
  const bodies = {
    'longer than allowed': Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1]),
    'compressed without saying how': Buffer.from([1, 0, 0, 0, 2, 1, 2]),
    'cut short': Buffer.from([0, 0, 0, 1, 0, 1, 2]),
    'half a head': Buffer.from([0, 0]),
  }
  for (const [name, body] of Object.entries(bodies)) {
    const session = http2.connect(`http://${net.listener.address}`)
    const stream = session.request(headers)
    stream.on('error', () => undefined)
    stream.resume()
    stream.end(body)
    await once(stream, 'close')
    session.destroy()
    link.send(Uint8Array.of(1))
    await here.until(Object.keys(bodies).indexOf(name) + 1)
  }
  t.is(here.closes, 0)
})

test('addresses that cannot be had are one clear line', async t => {
  await using net = await cluster(() => undefined)
  const { address } = net.listener
  const listen = (where: string): Promise<unknown> => net.server.listen(where, () => undefined)
  const usage = { instanceOf: UsageError }
  await t.throwsAsync(listen(address), {
    ...usage,
    message: `Cannot listen on ${address}: the port is in use`,
  })
  await t.throwsAsync(listen('192.0.2.1:0'), {
    ...usage,
    message: 'Cannot listen on 192.0.2.1:0: this machine has no such address',
  })
  await t.throwsAsync(listen('nonsense'), { ...usage, message: /not an address \(HOST:PORT\)$/ })
  await t.throwsAsync(listen('no-such-host.invalid:0'), { ...usage, message: /no such host$/ })
})

test('both versions of IP and names are served and dialled', async t => {
  await using net = await cluster(() => undefined)
  for (const where of ['[::1]:0', 'localhost:0', '0.0.0.0:0']) {
    const listener = await net.server.listen(where, serving =>
      serving.call(twice, async request => Buffer.concat([request, request])),
    )
    t.regex(listener.address, /:[1-9]\d*$/)
    t.is((await net.client.call(listener.address, twice, Uint8Array.of(1), soon)).length, 2, where)
    await listener.close()
  }
})

// What the generated client of the health service has.
interface Unary {
  (request: object, reply: (error: { code: status } | null, value: unknown) => void): void
}

test('health and reflection answer tools', async t => {
  const net = await cluster(serving => serving.call(adminStatus, () => Promise.reject(new FsError('EAGAIN'))))
  const Health = makeGenericClientConstructor(healthService, 'Health')
  const health = new Health(net.listener.address, credentials.createInsecure())
  const check = (name: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      ;(health['check'] as unknown as Unary).call(health, { service: name }, (error, value) => {
        if (error === null) resolve((value as { status: string }).status)
        else reject(Object.assign(new Error('no answer'), error))
      })
    })
  t.is(await check(''), 'SERVING')
  t.is(await check('cairn.v1.Admin'), 'SERVING')
  await t.throwsAsync(check('cairn.v1.Blocks'), { code: status.NOT_FOUND } as object)
  health.close()

  const folder = fileURLToPath(
    new URL('../../../../node_modules/@grpc/reflection/build/proto/', import.meta.url),
  )
  const proto = loadSync('grpc/reflection/v1/reflection.proto', { includeDirs: [folder], keepCase: true })
  const client = new Client(net.listener.address, credentials.createInsecure())
  const method = (proto['grpc.reflection.v1.ServerReflection'] as Record<string, unknown>)[
    'ServerReflectionInfo'
  ] as MethodDefinition<object, { list_services_response: { service: { name: string }[] } }>
  const stream = client.makeBidiStreamRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
  )
  stream.write({ list_services: '' })
  const [reply] = (await once(stream, 'data')) as [
    { list_services_response: { service: { name: string }[] } },
  ]
  const names = reply.list_services_response.service.map(({ name }) => name)
  t.deepEqual(names.sort(), ['cairn.v1.Admin', 'grpc.health.v1.Health'])
  stream.end()
  client.close()
  await net[Symbol.asyncDispose]()
})
