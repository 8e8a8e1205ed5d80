import test from 'ava'
import { fsck } from '#src/master/fsck/fsck.ts'
import { HostileBytes, nested, varint } from '../support/hostile-bytes.ts'
import { ChunkNode, EngineFixture, Mount } from './engine-fixture.ts'
import { chmod, create, getAttr, makeFile, writeFile } from './engine-ops.ts'
import { hostileCall } from './hostile-calls.ts'

/** Fields of SessionUpItem, NodeUp and of the oneof in Call: see proto/. */
const items = [1, 2, 3, 4, 5, 6, 7, 8]
const operations = Array.from({ length: 45 }, (_, index) => index + 8)
const fields = Array.from({ length: 14 }, (_, index) => index + 1)
const rounds = 4000

test('no frame of a mount or a chunkserver, however wrong, stops the engine or damages the metadata', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(name => new ChunkNode(fixture, name))
  const good = new Mount(fixture)
  const ino = makeFile(good, 'f')
  writeFile(good, nodes, ino, 'content')
  const inos = [1n, ino]
  for (const [name, type] of [
    ['d', 0o040755],
    ['l', 0o120777],
    ['p', 0o010644],
  ] as const)
    inos.push(good.call(create(name, { mode: type, target: Buffer.from('f') }), 'entry').attr?.ino ?? 0n)
  const hostile = new HostileBytes(42)
  const call = (id: number): Buffer => {
    if (hostile.below(8) > 0) return nested(1, nested(2, hostileCall(hostile, BigInt(id), inos)))
    const op = nested(hostile.pick(operations), hostile.message(fields))
    return nested(1, nested(2, Buffer.concat([varint(8n), varint(BigInt(id)), op])))
  }
  let mount = new Mount(fixture)
  let closed = 0
  for (let round = 1; round <= rounds; round++) {
    if (mount.closed !== undefined) {
      closed++
      mount = new Mount(fixture)
    }
    const frame =
      hostile.below(4) === 0 ? nested(1, nested(hostile.pick(items), hostile.message(fields))) : call(round)
    mount.raw(hostile.below(8) === 0 ? hostile.mutated(frame) : frame)
    mount.yieldAll()
    mount.items = []
    const node = nodes[round % 3]
    if (round % 5 === 0 && node !== undefined) {
      const wrong = nested(hostile.pick(items), hostile.message(fields))
      fixture.step({ kind: 'frame', connection: node.connection, bytes: wrong })
      if (node.closed !== undefined) node.reattach()
      node.obey()
    }
    if (round % 50 === 0) fixture.pass(250, good, ...nodes)
    good.yieldAll()
    if (good.closed === undefined && round % 100 === 0) {
      const id = good.send(getAttr(1n))
      for (let tries = 0; tries < 5 && good.answer(id) === undefined; tries++) {
        mount.yieldAll()
        fixture.pass(250, good, ...nodes)
      }
    }
  }
  t.true(closed > 100, `${closed} connections were closed`)
  t.is(good.closed, undefined)
  t.false(fixture.logs.includes('error operation failed unexpectedly'))
  t.deepEqual(fsck(fixture.store).problems, [])
})

test('a file of the last moment that there is can still be changed', async t => {
  const mount = new Mount(await EngineFixture.make())
  const ino = makeFile(mount, 'f')
  const last = { now: false, value: 2n ** 63n - 1n }
  const aged = { ino, atime: last, mtime: last, ctime: last, killSuidgid: false, time: 0n }
  t.is(mount.call({ $case: 'setAttr', value: aged }, 'attr').attr?.ctime, last.value)
  t.like(mount.call(chmod(ino, 0o600), 'attr').attr, { mode: 0o100600, ctime: last.value })
})
