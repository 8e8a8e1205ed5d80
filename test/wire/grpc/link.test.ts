import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import type { Link } from '#src/core/network.ts'
import { MiB } from '#src/core/units.ts'
import { Arrivals, cluster, echo, pause } from './harness.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
type BytesLink = Link<Uint8Array, Uint8Array>

/** A server that sends back what it gets. */
const echoing = (link: BytesLink): void => {
  link.onFrame(frame => link.send(frame))
  link.onClose(() => undefined)
}

test('frames come back in order, and an orderly end is seen by both ends, once', async t => {
  let atServer: Arrivals<Uint8Array> | undefined
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      atServer = new Arrivals(link, frame => link.send(frame))
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  const here = new Arrivals(link)
  for (let i = 0; i < 200; i++) link.send(bytes(i))
  const frames = await here.until(200)
  t.deepEqual(
    frames.map(frame => frame[0]),
    Array.from({ length: 200 }, (_, i) => i),
  )
  link.close()
  t.is(await here.closed, undefined)
  t.is(await atServer?.closed, undefined)
  link.close(new FsError('EIO'))
  link.send(bytes(1))
  await pause(20)
  t.is(here.closes, 1)
  t.is(atServer?.closes, 1)
  t.deepEqual(net.log, [])
})

test('frames sent before an orderly close arrive', async t => {
  let atServer: Arrivals<Uint8Array> | undefined
  let accepted: () => void = () => undefined
  const opened = new Promise<void>(resolve => {
    accepted = resolve
  })
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      atServer = new Arrivals(link)
      accepted()
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  for (let i = 0; i < 20; i++) link.send(new Uint8Array(100_000).fill(i))
  link.close()
  await opened
  t.is(await atServer?.closed, undefined)
  t.is(atServer?.frames.length, 20)
})

test("a server's close with an error arrives with its errno and text, after the frames before it", async t => {
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      for (let i = 0; i < 50; i++) link.send(new Uint8Array(50_000).fill(i))
      link.close(new FsError('ESTALE', 'Session 7 is dead: \ud800 100 % 日本'))
    }),
  )
  const here = new Arrivals(net.client.dial(net.listener.address, echo))
  const error = await here.closed
  t.is(error?.code, 'ESTALE')
  t.is(error?.message, 'Session 7 is dead: \ufffd 100 % 日本')
  t.is(here.frames.length, 50)
})

test("a client's close with an error is a lost connection at the server", async t => {
  let atServer: Arrivals<Uint8Array> | undefined
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      atServer = new Arrivals(link)
      link.send(bytes(1))
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  const here = new Arrivals(link)
  await here.until(1)
  link.close(new FsError('EIO', 'mine'))
  t.is((await here.closed)?.message, 'mine')
  t.is((await atServer?.closed)?.code, 'ECONNRESET')
})

test('a close handler does not run within close', async t => {
  await using net = await cluster(serving => serving.stream(echo, echoing))
  const link = net.client.dial(net.listener.address, echo)
  let called = false
  const closed = new Promise<void>(resolve =>
    link.onClose(() => {
      called = true
      resolve()
    }),
  )
  link.close()
  t.false(called)
  await closed
  t.true(called)
})

test('a frame that cannot be decoded closes its link at both ends, and no other', async t => {
  const ends: Arrivals<Uint8Array>[] = []
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      ends.push(new Arrivals(link, frame => link.send(frame)))
    }),
  )
  const bad = net.client.dial(net.listener.address, echo)
  const good = net.client.dial(net.listener.address, echo)
  const [atBad, atGood] = [new Arrivals(bad), new Arrivals(good)]
  good.send(bytes(1))
  await atGood.until(1)
  bad.send(bytes(0xff))
  t.is((await atBad.closed)?.code, 'EPROTO')
  const errors = await Promise.race(ends.map(end => end.closed))
  t.is(errors?.code, 'EPROTO')
  good.send(bytes(2))
  t.is((await atGood.until(2)).length, 2)
})

test('a throwing frame handler closes the link with EPROTO and is logged', async t => {
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      link.onFrame(() => {
        throw new TypeError('a bug')
      })
      link.onClose(() => undefined)
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  const here = new Arrivals(link)
  link.send(bytes(1))
  t.is((await here.closed)?.code, 'EPROTO')
  t.deepEqual(net.log, [{ level: 'error', message: 'A frame handler failed' }])
})

test('a stream that is not accepted closes with the reason', async t => {
  await using net = await cluster(serving =>
    serving.stream(echo, () => {
      throw new FsError('EROFS', 'not now')
    }),
  )
  const error = await new Arrivals(net.client.dial(net.listener.address, echo)).closed
  t.is(error?.code, 'EROFS')
  t.is(error?.message, 'not now')
})

test('a service that is not there is EOPNOTSUPP', async t => {
  await using net = await cluster(() => undefined)
  t.is((await new Arrivals(net.client.dial(net.listener.address, echo)).closed)?.code, 'EOPNOTSUPP')
})

test('dialling nothing and dialling nonsense close with one clear line', async t => {
  await using net = await cluster(() => undefined)
  const { address } = net.listener
  await net.listener.close()
  const nobody = await new Arrivals(net.client.dial(address, echo)).closed
  t.is(nobody?.code, 'ECONNREFUSED')
  t.is(nobody?.message, `Cannot connect to ${address}: connect ECONNREFUSED ${address}`)
  const nonsense = await new Arrivals(net.client.dial('not an address', echo)).closed
  t.is(nonsense?.code, 'EINVAL')
})

test('a peer that came back is reached by the next dial', async t => {
  await using net = await cluster(() => undefined)
  const { address } = net.listener
  await net.listener.close()
  for (let i = 0; i < 3; i++)
    t.is((await new Arrivals(net.client.dial(address, echo)).closed)?.code, 'ECONNREFUSED')
  const again = await net.server.listen(address, serving => serving.stream(echo, echoing))
  const link = net.client.dial(address, echo)
  const here = new Arrivals(link)
  link.send(bytes(5))
  t.deepEqual(Uint8Array.from((await here.until(1))[0] ?? []), bytes(5))
  await again.close()
  t.is(await here.closed, undefined, 'the listener ended it in order')
})

test('back-pressure: a receiver that pauses bounds what the sender gets rid of', async t => {
  let received = 0
  let atServer: BytesLink | undefined
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      atServer = link
      link.onFrame(frame => {
        received += frame.length
      })
      link.onClose(() => undefined)
      link.pause()
      link.send(bytes(1))
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  const here = new Arrivals(link)
  await here.until(1)
  const block = new Uint8Array(MiB).fill(7)
  let sent = 0
  const sending = (async () => {
    while (sent < 64 * MiB) {
      link.send(block)
      sent += block.length
      await link.drained()
    }
  })()
  await pause(300)
  t.true(sent < 24 * MiB, `${sent} bytes sent while the receiver was paused`)
  t.true(link.queuedBytes >= 4 * MiB)
  t.true(received < 4 * MiB, `${received} bytes delivered while paused`)
  atServer?.resume()
  await sending
  while (link.queuedBytes > 0) await pause(5)
  link.close()
  while (received < 64 * MiB) await pause(5)
  t.is(received, 64 * MiB)
})

test('closing wakes who waits for room', async t => {
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      link.onFrame(() => undefined)
      link.onClose(() => undefined)
      link.pause()
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  new Arrivals(link)
  for (let i = 0; i < 32; i++) link.send(new Uint8Array(MiB))
  const waiting = link.drained()
  link.close(new FsError('ECANCELED'))
  await waiting
  t.is(link.queuedBytes, 0)
})

test('every buffer is taken once: when it was sent, when the link ends, or when it had ended', async t => {
  await using net = await cluster(serving =>
    serving.stream(echo, link => {
      link.onFrame(() => undefined)
      link.onClose(() => undefined)
      link.pause()
      link.send(bytes(1))
    }),
  )
  const link = net.client.dial(net.listener.address, echo)
  await new Arrivals(link).until(1)
  const taken: number[] = []
  for (let i = 0; i < 32; i++) link.send(new Uint8Array(MiB), () => taken.push(i))
  while (taken.length === 0) await pause(5)
  t.true(taken.length < 32, 'what the other end has no room for is not taken')
  link.close(new FsError('ECANCELED'))
  link.send(bytes(2), () => taken.push(32))
  await pause(20)
  t.deepEqual(
    taken.sort((a, b) => a - b),
    Array.from({ length: 33 }, (_, i) => i),
  )
})
