import test, { type ExecutionContext } from 'ava'
import { errno } from '#src/core/errors.ts'
import { type BlockId, blockIdToBytes } from '#src/core/ids.ts'
import { KiB } from '#src/core/units.ts'
import { GrpcNetwork } from '#src/wire/grpc/grpc-network.ts'
import {
  makeReadToken,
  noSession,
  readerOf,
  readKey,
  readTokenBytes,
  type ReadTerms,
} from '#src/wire/read-token.ts'
import { Tls } from '#src/wire/tls/tls.ts'
import { TestAuthority } from '../wire/tls/authority-fixture.js'
import { grantFor, metaOf, TestClient, testBlock, tokenFor } from './support/test-client.ts'
import { checksums, now, quietLog, startNode, type TestNode, wireReadKey } from './support/test-node.ts'

/** An attacker that speaks the protocol, and reads blocks that it knows by name. */
const small = testBlock(3 * KiB, 1)
const large = testBlock(300 * KiB, 2)
const blocks = [small, large]
const seconds = Number(now / 1_000_000_000n)
const inTenMinutes = seconds + 600
const key = readKey(wireReadKey.id, wireReadKey.key)
const hourNs = 3_600_000_000_000n

async function world(t: ExecutionContext): Promise<{ node: TestNode; client: TestClient }> {
  const node = await startNode(t, 1n)
  const client = new TestClient(node.network, node.address).hello()
  for (const block of blocks) t.is((await client.put(block, [node]))[0]?.error, undefined)
  return { node, client }
}

test('a block is read with its token alone: by one who has it, from file and row, whole or in part', async t => {
  const { client } = await world(t)
  for (const block of blocks) {
    t.true((await client.get(block.id, 0, block.length)).data.equals(block.data))
    t.is((await client.get(block.id, 5, 1)).offset, 0)
  }
  // Of a block in a file whoever reads it itself gets the checksums, and no less needs the right to.
  t.is((await client.get(large.id, 0, large.length, tokenFor(large.id), true)).data.length, 0)
})

const flipped = (token: Buffer, at: number): Buffer => {
  const changed = Buffer.from(token)
  changed[at] = (changed[at] ?? 0) ^ 1
  return changed
}

const of = (block: typeof small) => blockIdToBytes(block.id)
const otherCluster = readKey(wireReadKey.id, Buffer.alloc(32, 12))
const wrong: Record<string, (block: typeof small, other: typeof small) => Buffer> = {
  'no token': () => Buffer.alloc(0),
  zeros: () => Buffer.alloc(readTokenBytes),
  'the token of another block': (_, other) => tokenFor(other.id),
  'of another session': block => makeReadToken(key, readerOf(4n, 1n), inTenMinutes, of(block)),
  'of another epoch': block => makeReadToken(key, readerOf(3n, 2n), inTenMinutes, of(block)),
  'of an administrator or a node': block => makeReadToken(key, noSession, inTenMinutes, of(block)),
  'of another certificate': block =>
    makeReadToken(key, readerOf(3n, 1n, 'ab'.repeat(16)), inTenMinutes, of(block)),
  expired: block => tokenFor(block.id, seconds - 1),
  'made to last longer': block => flipped(tokenFor(block.id), 8),
  'of another cluster': block => makeReadToken(otherCluster, readerOf(3n, 1n), inTenMinutes, of(block)),
  'of a key that nobody has': block =>
    makeReadToken(readKey(78n, wireReadKey.key), readerOf(3n, 1n), inTenMinutes, of(block)),
  'cut short': block => tokenFor(block.id).subarray(0, readTokenBytes - 1),
  'too long': block => Buffer.concat([tokenFor(block.id), Buffer.alloc(1)]),
  guessed: block => flipped(tokenFor(block.id), readTokenBytes - 1),
  'the code of a grant to put it': block => {
    const { mac } = grantFor(1n, block)
    return Buffer.concat([tokenFor(block.id).subarray(0, 12), mac.subarray(0, 16)])
  },
  'the whole code of a grant': block => Buffer.from(grantFor(1n, block).mac),
}

for (const [what, make] of Object.entries(wrong))
  test(`nothing is read with a wrong token: ${what}`, async t => {
    const { client } = await world(t)
    const stale = what === 'expired' || what === 'of a key that nobody has' || what === 'zeros'
    const code = stale ? 'ESTALE' : 'EACCES'
    for (const [block, other] of [
      [small, large],
      [large, small],
    ] as const)
      for (const local of [false, true])
        await t.throwsAsync(client.get(block.id, 0, 100, make(block, other), local), { code })
    // Many small ones in one question: what may not be read is left out, as what is not there.
    const both = await client.getSmall([small.id, small.id], [make(small, large), tokenFor(small.id)])
    t.deepEqual([...both.got.keys()], [1])
    // The stream goes on: who asks rightly gets an answer.
    t.true((await client.get(small.id, 0, small.length)).data.equals(small.data))
  })

test('on terms that forbid it the files of blocks are not given to read: the data comes, and it is in the audit log', async t => {
  const lines: (object | undefined)[] = []
  const warn = (_: string, fields?: object): void => void lines.push(fields)
  const log = { ...quietLog, warn, child: () => ({ ...quietLog, warn }) }
  const node = await startNode(t, 1n, { log })
  const client = new TestClient(node.network, node.address).hello()
  for (const block of blocks) t.is((await client.put(block, [node]))[0]?.error, undefined)
  const on = (block: typeof small, change: Partial<ReadTerms> = {}): Buffer =>
    makeReadToken(key, readerOf(3n, 1n), inTenMinutes, of(block), { ...terms, ...change })
  const terms = { export: 5n, bytesPerSecond: 0, mayReadFiles: false }
  t.true((await client.get(large.id, 0, large.length, on(large), true)).data.equals(large.data))
  t.is((await client.get(large.id, 0, large.length, on(large, { mayReadFiles: true }), true)).data.length, 0)
  t.true(
    lines.some(fields =>
      /does not allow/.test(
        JSON.stringify(fields, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)),
      ),
    ),
  )
  for (let at = 12; at < 29; at++)
    await t.throwsAsync(client.get(small.id, 0, 1, flipped(on(small), at)), { code: 'EACCES' }, `byte ${at}`)
  const plain = tokenFor(small.id)
  const without = Buffer.concat([on(small).subarray(0, 12), on(small).subarray(29)])
  const added = Buffer.concat([plain.subarray(0, 12), on(small).subarray(12, 29), plain.subarray(12)])
  for (const token of [without, added])
    await t.throwsAsync(client.get(small.id, 0, 1, token), { code: 'EACCES' })
})

test("terms of a token that is not good are nobody's: many small ones are paced by those that are", async t => {
  const { client } = await world(t)
  const token = makeReadToken(key, readerOf(3n, 1n), inTenMinutes, of(small), {
    ...{ export: 5n, bytesPerSecond: 256 * KiB, mayReadFiles: false },
  })
  const forged = flipped(token, 13)
  const { got } = await client.getSmall([small.id, small.id], [forged, token])
  t.deepEqual([...got.keys()], [1])
  // Beyond the rate a read waits, with signs of life, and comes.
  const all = await Promise.all(
    [1, 2, 3].map(() => client.getSmall(Array<BlockId>(16).fill(small.id), Array<Buffer>(16).fill(token))),
  )
  for (const each of all) t.is(each.got.size, 16)
})

test('a refusal does not tell whether a block is there', async t => {
  const { client } = await world(t)
  const none = Buffer.alloc(0)
  t.is((await client.getSmall([small.id, small.id], [])).got.size, 0)
  await t.throwsAsync(client.get(testBlock(10, 3).id, 0, 1, none), { code: 'EACCES' })
  await t.throwsAsync(client.get(small.id, 0, 1, none), { code: 'EACCES' })
  await t.throwsAsync(client.get(testBlock(10, 3).id, 0, 1), { code: 'ENOENT' })
})

test('who has no session is not believed to be a node: that takes the key', async t => {
  const { node } = await world(t)
  const client = new TestClient(node.network, node.address).hello(0n, 0n)
  await t.throwsAsync(client.get(small.id, 0, 1, Buffer.alloc(0)), { code: 'EACCES' })
  await t.throwsAsync(client.get(small.id, 0, 1), { code: 'EACCES' })
  const own = node.authority.ownToken(of(small))
  t.true((await client.get(small.id, 0, small.length, own)).data.equals(small.data))
})

test('the right to read is not the right to write', async t => {
  const { node, client } = await world(t)
  const block = testBlock(1000, 4)
  const token = tokenFor(block.id)
  for (const mac of [token, Buffer.concat([token.subarray(12), Buffer.alloc(16)]), token.subarray(12)]) {
    const grant = { ...grantFor(1n, block), mac }
    const [outcome] = await client.putRaw({ block: metaOf(block), grant, data: block.data })
    t.is(outcome?.error?.errno, errno.EACCES)
  }
  t.is(node.store.totals.blocks, blocks.length)
})

test('who tries wrong tokens and grants is in the audit log, once a minute, and no block is', async t => {
  const lines: { readonly message: string; readonly fields: object | undefined }[] = []
  const warn = (message: string, fields?: object): void => void lines.push({ message, fields })
  const node = await startNode(t, 1n, { log: { ...quietLog, warn } })
  const client = new TestClient(node.network, node.address).hello()
  const shown = (_: string, value: unknown): unknown => (typeof value === 'bigint' ? value.toString() : value)
  const denied = (): string[] =>
    lines.filter(({ message }) => message === 'Denied').map(({ fields }) => JSON.stringify(fields, shown))
  for (let seed = 0; seed < 50; seed++)
    await t.throwsAsync(client.get(testBlock(10, seed).id, 0, 1, tokenFor(small.id)), { code: 'EACCES' })
  await client.getSmall([small.id, large.id], [tokenFor(large.id), tokenFor(small.id)])
  t.is(denied().length, 1)
  for (let seed = 0; seed < 5; seed++) {
    const block = testBlock(1000, 100 + seed)
    const grant = { ...grantFor(1n, block), mac: Buffer.alloc(32) }
    await client.putRaw({ block: metaOf(block), grant, data: block.data })
  }
  t.is(denied().length, 2)
  for (const line of denied()) {
    t.regex(line, /"audit":true.*"session":"3"/)
    t.notRegex(line, /[0-9a-f]{64}/)
  }
})

test('keys rotate: what was given out is good until it expires, and no longer', async t => {
  const { node, client } = await world(t)
  const { authority } = node
  const keyOf = (id: bigint, from: bigint) => ({
    ...{ id, key: Buffer.alloc(32, Number(id)), from },
    until: from + 2n * hourNs,
  })
  const token = (id: bigint, at: bigint) =>
    makeReadToken(
      readKey(id, Buffer.alloc(32, Number(id))),
      readerOf(3n, 1n),
      Number(at / 1_000_000_000n) + 600,
      of(small),
    )
  const old = tokenFor(small.id)
  authority.noteReadKeys([keyOf(81n, now), keyOf(82n, now + hourNs)])
  t.true((await client.get(small.id, 0, small.length, old)).data.equals(small.data))
  t.true((await client.get(small.id, 0, small.length, token(81n, now))).data.equals(small.data))
  const later = now + 2n * hourNs - 1_000_000_000n
  authority.noteTime(later)
  authority.noteReadKeys([keyOf(82n, now + hourNs), keyOf(83n, later)])
  await t.throwsAsync(client.get(small.id, 0, 1, old), { code: 'ESTALE' }, 'rotated out twice')
  await t.throwsAsync(client.get(small.id, 0, 1, tokenFor(small.id, seconds + 100_000)), { code: 'ESTALE' })
  for (const id of [81n, 82n, 83n])
    t.true((await client.get(small.id, 0, small.length, token(id, later))).data.equals(small.data), `${id}`)
})

test('a session that has ended reads nothing more', async t => {
  const { node, client } = await world(t)
  node.authority.sessionsEnded([3n])
  await t.throwsAsync(client.get(small.id, 0, 1), { code: 'ESTALE' })
  node.authority.noteSessions(10n, [3n])
  t.is((await client.get(small.id, 0, 1)).data.length, small.length)
  node.authority.noteSessions(10n, [])
  await t.throwsAsync(client.get(small.id, 0, 1), { code: 'ESTALE' })
})

test('a node that has not heard its master since it started reads out nothing', async t => {
  const node = await startNode(t, 1n, { accepted: false })
  const client = new TestClient(node.network, node.address).hello()
  await t.throwsAsync(client.get(small.id, 0, 1), { code: 'EAGAIN' })
})

test('with TLS a token is good with the certificate alone that it was given to', async t => {
  const authority = await TestAuthority.make()
  const node = await startNode(t, 1n, { tls: new Tls(await authority.issue({ role: 'chunkserver' })) })
  const connect = async (id: string): Promise<TestClient> => {
    const tls = new Tls(await authority.issue({ role: 'mount', id }))
    const network = new GrpcNetwork({ log: quietLog, tls })
    t.teardown(() => network.close())
    return new TestClient(network, node.address).hello()
  }
  const [mine, other] = ['11'.repeat(16), '22'.repeat(16)]
  const client = await connect(mine)
  t.is((await client.put(small, [node]))[0]?.error, undefined)
  const token = makeReadToken(key, readerOf(3n, 1n, mine), inTenMinutes, of(small))
  t.true((await client.get(small.id, 0, small.length, token)).data.equals(small.data))
  const thief = await connect(other)
  await t.throwsAsync(thief.get(small.id, 0, 1, token), { code: 'EACCES' })
  await t.throwsAsync(thief.get(small.id, 0, 1), { code: 'EACCES' }, 'nor is one of a cluster without TLS')
})

test('with TLS nobody but a node passes for one: neither to read, nor to store what he says that he has verified', async t => {
  const authority = await TestAuthority.make()
  const node = await startNode(t, 1n, { tls: new Tls(await authority.issue({ role: 'chunkserver' })) })
  const connect = async (role: 'mount' | 'admin' | 'chunkserver'): Promise<TestClient> => {
    const network = new GrpcNetwork({ log: quietLog, tls: new Tls(await authority.issue({ role })) })
    t.teardown(() => network.close())
    // As who has no session.
    return new TestClient(network, node.address).hello(0n, 0n)
  }
  const [mount, admin, peer] = [await connect('mount'), await connect('admin'), await connect('chunkserver')]
  const large = testBlock(300 * KiB, 21)
  const wrong = Buffer.from(large.data).fill(0x66, 1000, 2000)
  /** Wrong bytes under a right name, with the checksums of those. */
  const forged = { ...large, data: wrong, checksums: checksums.make(large.id, wrong) }
  for (const [role, client] of Object.entries({ mount, admin })) {
    const [outcome] = await client.put(forged, [node], 5n, { verifyId: false })
    t.is(outcome?.error?.errno, errno.EIO, role)
    t.is(node.store.totals.blocks, 0, role)
  }
  t.is(
    (await mount.put(large, [node], 5n, { verifyId: false }))[0]?.error,
    undefined,
    'what is right is stored',
  )
  // What is there already is not replaced by it, either.
  t.is((await mount.put(forged, [node], 6n, { verifyId: false }))[0]?.error?.errno, errno.EIO)
  const token = makeReadToken(key, noSession, inTenMinutes, of(large))
  for (const client of [admin, peer])
    t.true((await client.get(large.id, 0, large.length, token)).data.equals(large.data))
  await t.throwsAsync(mount.get(large.id, 0, 1, token), { code: 'EACCES' }, 'a stolen token of a node')
})
