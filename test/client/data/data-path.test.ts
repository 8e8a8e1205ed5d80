import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import { ino } from '#src/core/ids.ts'
import { taken } from '#src/core/read-bytes.ts'
import { KiB, MiB } from '#src/core/units.ts'
import { type Harness, harness, pattern } from './harness.ts'

const file1 = ino(7n)

test('what is written is read at once, and from the cluster after a flush', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  const bytes = pattern(1000 * KiB + 17, 1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  t.true(taken(await env.run(file.read(0, 2 * MiB))).equals(bytes))
  await env.run(file.flush())
  t.is(file.dirtyBytes, 0)
  t.is(data.dirtyBytes, 0)
  t.true(master.contentOf(file1).equals(bytes))
  file.forgetExtents()
  t.true(taken(await env.run(file.read(5, 900 * KiB))).equals(bytes.subarray(5, 5 + 900 * KiB)))
  t.is(taken(await env.run(file.read(bytes.length, 10))).length, 0)
})

test('every block has as many receipts as copies are asked for', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(300 * KiB, 2))))
  await env.run(file.flush())
  t.true(master.commits.length > 0)
  for (const commit of master.commits) for (const block of commit.blocks) t.is(block.receipts.length, 3)
})

test('equal files share blocks however they were written, and nothing is sent for the second', async t => {
  const { env, master, nodes, data } = await harness()
  const bytes = pattern(512 * KiB, 3)
  const first = data.file(file1)
  await env.run(Promise.resolve(first.write(0, bytes)))
  await env.run(first.flush())
  const puts = nodes.nodes.reduce((sum, node) => sum + node.puts, 0)
  const blocks = master.blocks.size
  const second = data.file(ino(8n))
  for (let at = 0; at < bytes.length; at += 24 * KiB)
    await env.run(Promise.resolve(second.write(at, bytes.subarray(at, at + 24 * KiB))))
  await env.run(second.flush())
  t.is(master.blocks.size, blocks)
  t.is(
    nodes.nodes.reduce((sum, node) => sum + node.puts, 0),
    puts,
  )
  t.true(master.contentOf(ino(8n)).equals(bytes))
})

test('appends with a sync each end as one block a window, for at most three times their bytes', async t => {
  const { env, master, nodes, data } = await harness()
  const file = data.file(file1)
  const bytes = pattern(256 * KiB, 4)
  for (let at = 0; at < bytes.length; at += 8 * KiB) {
    await env.run(Promise.resolve(file.write(at, bytes.subarray(at, at + 8 * KiB))))
    await env.run(file.flush())
    t.is(master.fileOf(file1).size, at + 8 * KiB)
  }
  t.true(master.contentOf(file1).equals(bytes))
  t.is(master.fileOf(file1).cells.blocks.size, 1)
  const sent = [...(nodes.nodes[0]?.blocks.values() ?? [])].reduce((sum, block) => sum + block.length, 0)
  t.true(sent <= 3 * bytes.length, `${sent}`)
})

test('dirty bytes are stored at their age without being asked', async t => {
  const { env, master, data } = await harness({ writeBackAgeMs: 5000 })
  void data.file(file1).write(0, pattern(100, 5))
  await env.pass(4900)
  t.is(master.commits.length, 0)
  await env.pass(300)
  t.is(master.fileOf(file1).size, 100)
})

test('hundreds of closed small files share plans and puts', async t => {
  const { env, master, nodes, data } = await harness()
  for (let i = 0; i < 300; i++) {
    const file = data.file(ino(BigInt(100 + i)))
    await env.run(Promise.resolve(file.write(0, pattern(4096, i))))
    file.flushSoon()
  }
  await env.pass(1900)
  t.is(master.commits.length, 0)
  await env.pass(300)
  t.is(master.commits.length, 300)
  t.is(data.dirtyBytes, 0)
  t.true(master.calls.filter(call => call === 'plan').length <= 4)
  for (const node of nodes.nodes.slice(0, 3)) t.true(node.putMessages <= 6, `${node.putMessages}`)
})

test('one file of many that the master refuses to plan costs the others few questions, and no error', async t => {
  const { env, master, data } = await harness()
  const files = Array.from({ length: 256 }, (_, n) => data.file(ino(BigInt(100 + n))))
  for (const [n, file] of files.entries()) await env.run(Promise.resolve(file.write(0, pattern(200, n))))
  const removed = ino(150n)
  master.refusePlan = inos => (inos.includes(removed) ? new FsError('ENOENT') : undefined)
  const results = await env.run(Promise.allSettled(files.map(file => file.flush())))
  t.deepEqual(
    results.flatMap(({ status }, n) => (status === 'rejected' ? [n] : [])),
    [50],
  )
  t.is(master.calls.filter(name => name === 'plan').length, 1 + 16 + 16)
})

test('a master that is away fails a joined plan once, for all of it', async t => {
  for (const [code, dies] of [
    ['ETIMEDOUT', false],
    ['EIO', true],
  ] as const) {
    const { env, master, data } = await harness({ giveUpMs: 0 })
    const files = Array.from({ length: 256 }, (_, n) => data.file(ino(BigInt(100 + n))))
    for (const [n, file] of files.entries()) await env.run(Promise.resolve(file.write(0, pattern(200, n))))
    master.refusePlan = () => {
      if (dies) master.identity = { session: 2n, epoch: 1n }
      return new FsError(code)
    }
    const results = await env.run(Promise.allSettled(files.map(file => file.flush())))
    t.is(results.filter(({ status }) => status === 'rejected').length, 256)
    t.is(master.calls.filter(name => name === 'plan').length, 1)
  }
})

test('with thousands of closed small files the oldest are stored early', async t => {
  const { env, master, data } = await harness({ writeBackAgeMs: 60_000 })
  for (let i = 0; i < 5000; i++) {
    const file = data.file(ino(BigInt(100 + i)))
    await env.run(Promise.resolve(file.write(0, pattern(8, i))))
    file.flushSoon()
  }
  await env.pass(900)
  t.true(master.commits.length >= 904, `${master.commits.length} stored`)
  t.true(master.commits.length < 1300, `${master.commits.length} stored`)
  const stored = new Set(master.commits.map(commit => Number(commit.ino)))
  t.true(Math.max(...stored) < 100 + 1300, 'in the order of closing')
})

test('writers wait when memory is full, and all is stored', async t => {
  const { env, master, data } = await harness({ writeBytes: 512 * KiB })
  const file = data.file(file1)
  const bytes = pattern(1 * MiB, 6)
  let waited = 0
  for (let at = 0; at < bytes.length; at += 128 * KiB) {
    const answer = file.write(at, bytes.subarray(at, at + 128 * KiB))
    if (answer === undefined) continue
    waited++
    await env.run(answer)
  }
  t.true(waited > 0)
  await env.run(file.flush())
  t.true(master.contentOf(file1).equals(bytes))
})

test('what had to wait for memory is accepted only if its place still holds', async t => {
  const { env, master, data } = await harness({ writeBytes: 512 * KiB })
  const file = data.file(file1)
  const bytes = pattern(1 * MiB, 7)
  await env.run(Promise.resolve(file.write(0, bytes.subarray(0, 128 * KiB))))
  let accepted = 128 * KiB
  const next = () => file.writeIf(accepted, bytes.subarray(accepted, accepted + 128 * KiB), () => false)
  let answer = next()
  for (; answer === true; answer = next()) accepted += 128 * KiB
  t.false(await env.run(Promise.resolve(answer)))
  await env.run(file.flush())
  t.true(accepted < bytes.length)
  t.true(master.contentOf(file1).equals(bytes.subarray(0, accepted)))
  t.true(await env.run(Promise.resolve(next())), 'there is room again')
})

test('without space, ENOSPC comes at write and what was accepted is stored', async t => {
  const { env, master, data } = await harness()
  master.spaceBytes = 3 * 600 * KiB
  const file = data.file(file1)
  let accepted = 0
  const error = await t.throwsAsync(async () => {
    for (; accepted < 4 * MiB; accepted += 100 * KiB)
      await env.run(Promise.resolve(file.write(accepted, pattern(100 * KiB, accepted))))
  })
  t.is((error as unknown as FsError).code, 'ENOSPC')
  t.true(accepted >= 500 * KiB && accepted <= 600 * KiB, `${accepted}`)
  await env.run(file.flush())
  t.is(master.fileOf(file1).size, accepted)
})

test('a node that is away is replaced; with fewer nodes the block is degraded; with too few it is an error', async t => {
  const { env, master, nodes, data } = await harness({ nodes: 4, giveUpMs: 3000 })
  const file = data.file(file1)
  const down = (index: number): void => {
    const node = nodes.nodes[index]
    if (node !== undefined) node.frozen = true
  }
  down(1)
  await env.run(Promise.resolve(file.write(0, pattern(1000, 1))))
  await env.run(file.flush())
  t.deepEqual(master.commits[0]?.blocks[0]?.receipts.map(receipt => receipt.node).sort(), [1n, 3n, 4n])
  down(2)
  await env.run(Promise.resolve(file.write(1000, pattern(1000, 2))))
  await env.run(file.flush())
  t.is(master.commits[1]?.blocks[0]?.receipts.length, 2)
  down(3)
  await env.run(Promise.resolve(file.write(2000, pattern(1000, 3))))
  const error = await env.run(file.flush()).catch((thrown: unknown) => thrown)
  t.true(error instanceof FsError && error.code === 'EIO')
  t.true(env.logged.some(({ level, message }) => level === 'error' && message.includes('written back')))
  t.is(file.takeError(), undefined)
  // Nothing is dropped: it is stored as soon as nodes are back.
  t.true(file.dirtyBytes > 0)
  for (const node of nodes.nodes) node.frozen = false
  await env.pass(120_000)
  t.is(file.dirtyBytes, 0)
  t.is(master.fileOf(file1).size, 3000)
})

test('an error that nobody waited for is kept until it is asked for', async t => {
  const { env, master, data } = await harness({ giveUpMs: 1000 })
  const file = data.file(file1)
  master.commitError = new FsError('ENOSPC')
  await env.run(Promise.resolve(file.write(0, pattern(100, 1))))
  await env.pass(6000)
  t.is((file.takeError() as FsError).code, 'ENOSPC')
  t.is(file.takeError(), undefined)
  t.is(file.dirtyBytes, 100)
  master.commitError = undefined
  await env.run(file.flush())
  t.is(master.fileOf(file1).size, 100)
})

test('a write that wants the space of another file takes nothing of its errors', async t => {
  const { env, master, data } = await harness()
  master.spaceBytes = 3 * 600 * KiB
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(500 * KiB, 1))))
  master.commitError = new FsError('EIO', 'refused')
  const write = async (): Promise<void> => data.file(ino(8n)).write(0, pattern(200 * KiB, 2))
  t.is((await t.throwsAsync<FsError>(env.run(write()))).code, 'ENOSPC')
  t.true(master.calls.includes('commit'))
  t.is((file.takeError() as FsError | undefined)?.code, 'EIO')
  t.is(file.dirtyBytes, 500 * KiB)
})

test('an mtime that a program sets is not undone by an earlier write', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(100, 1))))
  t.is(file.overlay(master.attrOf(file1)).mtime, env.clock.wall())
  file.mtimeSet()
  t.is(file.overlay(master.attrOf(file1)).mtime, 0n)
  await env.run(file.flush())
  t.is(master.commits[0]?.mtime, undefined)
  await env.run(Promise.resolve(file.write(100, pattern(100, 1))))
  const { mtime, size } = file.overlay(master.attrOf(file1))
  t.is(size, 200)
  await env.run(file.flush())
  t.is(master.fileOf(file1).mtime, mtime)
})

test('an mtime that a program sets is not undone by a commit that is sent again', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  master.faults.again = 1
  await env.run(Promise.resolve(file.write(0, pattern(100, 1))))
  const flush = file.flush()
  while (!master.calls.includes('commit')) await env.pass(0.1)
  file.mtimeSet()
  await env.pass(10)
  master.faults.again = 0
  await env.run(flush)
  t.true(master.calls.filter(name => name === 'commit').length > 1)
  t.is(master.fileOf(file1).size, 100)
  t.is(master.fileOf(file1).mtime, 0n)
})

test('a damaged copy is never served, and reported', async t => {
  const { env, master, nodes, data } = await harness()
  const file = data.file(file1)
  const bytes = pattern(200 * KiB, 1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  for (const node of nodes.nodes.slice(0, 2))
    for (const block of node.blocks.values()) block[70_000] = (block[70_000] ?? 0) ^ 1
  file.forgetExtents()
  t.true(taken(await env.run(file.read(0, bytes.length))).equals(bytes))
  await env.pass(100)
  t.true(master.damage.every(node => node === 1n || node === 2n))
})

test('a random read of 4 KiB fetches one piece', async t => {
  const { env, nodes, data } = await harness({ blockBytes: 1 * MiB })
  const file = data.file(file1)
  const bytes = pattern(1 * MiB, 1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  const at = 700 * KiB
  t.true(taken(await env.run(file.read(at, 4096))).equals(bytes.subarray(at, at + 4096)))
  await env.pass(100)
  t.is(
    nodes.nodes.reduce((sum, node) => sum + node.getBytes, 0),
    64 * KiB,
  )
})

test('a sequential reader is read ahead of', async t => {
  const { env, nodes, data } = await harness({ readAheadBytes: 4 * MiB })
  const file = data.file(file1)
  const bytes = pattern(3 * MiB, 1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  for (let at = 0; at < bytes.length; at += 64 * KiB)
    t.true(taken(await env.run(file.read(at, 64 * KiB))).equals(bytes.subarray(at, at + 64 * KiB)))
  const gets = nodes.nodes.reduce((sum, node) => sum + node.gets, 0)
  t.true(gets <= 24, `${gets} requests for 48 reads`)
  t.is(
    nodes.nodes.reduce((sum, node) => sum + node.getBytes, 0),
    bytes.length,
  )
})

test('readers of the same bytes share one request', async t => {
  const { env, nodes, data } = await harness()
  const file = data.file(file1)
  const bytes = pattern(64 * KiB, 1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  file.forgetExtents()
  const reads = await env.run(Promise.all([file.read(100, 50), file.read(100, 50), file.read(9000, 1)]))
  t.true(taken(reads[0]).equals(bytes.subarray(100, 150)))
  t.is(
    nodes.nodes.reduce((sum, node) => sum + node.gets, 0),
    1,
  )
})

test('an interrupted read is EINTR, and the file goes on', async t => {
  const { env, nodes, data } = await harness()
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(5000, 1))))
  await env.run(file.flush())
  // The tail that is kept for appends would answer.
  file.forgetExtents()
  for (const node of nodes.nodes) node.frozen = true
  const stop = new AbortController()
  const read = file.read(0, 100, stop)
  env.timers.after(10, () => stop.abort())
  t.is((await t.throwsAsync<FsError>(env.run(read))).code, 'EINTR')
  for (const node of nodes.nodes) node.frozen = false
  t.true(taken(await env.run(file.read(0, 5000))).equals(pattern(5000, 1)))
})

test('a file that is being cut is as long as it was, and read only after that, if bytes of it went', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  const size = (): number => file.overlay({ ...master.attrOf(file1), size: 0 }).size
  await env.run(Promise.resolve(file.write(5000, pattern(1000, 1))))
  t.is(size(), 6000)
  await env.run(file.cutTo(2000))
  t.is(size(), 6000)
  let read: Buffer | undefined
  const reading = Promise.resolve(file.read(0, 6000)).then(bytes => {
    read = taken(bytes)
  })
  await env.pass(1)
  t.is(read, undefined)
  await env.run(master.truncate(file1, 2000))
  file.cutEnded()
  t.is(size(), 0, 'from now on the master tells')
  await env.run(reading)
  t.is(read?.length, 2000)
  await env.run(Promise.resolve(file.write(0, pattern(100, 1))))
  await env.run(file.cutTo(2000))
  t.is(size(), 100, 'nor does it get longer before the master says so')
})

test('what a truncation cut off is here again when it did not happen', async t => {
  for (const sealed of [false, true]) {
    const { env, master, data } = await harness()
    const file = data.file(file1)
    const written = pattern(600 * KiB, 1)
    await env.run(Promise.resolve(file.write(0, written)))
    // Windows that are complete are on their way by themselves; one commit may be, too.
    if (sealed) file.flush().catch(() => undefined)
    await env.pass(sealed ? 2 : 0)
    t.true((await env.run(file.cutTo(1000))) > 0)
    t.true(file.cutRefused())
    file.cutEnded()
    const later = pattern(300, 2)
    await env.run(Promise.resolve(file.write(2000, later)))
    later.copy(written, 2000)
    t.is(file.overlay(master.attrOf(file1)).size, written.length)
    t.true((await env.run(Promise.resolve(file.read(0, written.length)).then(taken))).equals(written))
    await env.run(file.flush())
    t.true(master.contentOf(file1).equals(written))
    t.is(file.dirtyBytes, 0)
  }
})

test('files that are removed while they are stored, which fails, take no memory', async t => {
  const { env, master, data } = await harness({ writeBytes: 1024 * KiB })
  const file = data.file(file1)
  for (let round = 0; round < 10; round++) {
    await env.run(Promise.resolve(file.write(0, pattern(200 * KiB, round))))
    master.calls.length = 0
    master.commitError = new FsError('ENOENT')
    const flush = file.flush().catch(() => undefined)
    while (!master.calls.includes('commit')) await env.pass(0.1)
    await env.run(file.discardFrom(0))
    await env.run(flush)
    master.commitError = undefined
  }
  await env.run(Promise.resolve(file.write(0, pattern(1000 * KiB, 1))))
  await env.run(file.flush())
  t.is(file.dirtyBytes, 0)
})

test('what cannot be stored is dropped without a lease, and said: others may store what is newer', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  master.alone = false
  await env.run(Promise.resolve(file.write(0, pattern(100, 1))))
  master.commitError = new FsError('ENOSPC')
  t.is((await t.throwsAsync<FsError>(env.run(file.flush()))).code, 'ENOSPC')
  t.is(file.dirtyBytes, 0)
  master.commitError = undefined
  await env.pass(100_000)
  t.is(master.commits.length, 0)
  t.is((file.takeError() as FsError).code, 'ENOSPC')
})

test('of many blocks that wait for their turn, those that nobody wants any more are let be', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  for (let i = 0; i < 300; i++) await env.run(Promise.resolve(file.write(i * 10_000, pattern(100, i))))
  const flush = file.flush()
  file.abandon(new FsError('EIO', 'the session died'))
  t.is((await t.throwsAsync<FsError>(env.run(flush))).code, 'EIO')
  await env.pass(10_000)
  t.is(master.commits.length, 0)
  t.is(file.dirtyBytes, 0)
})

test('a removed file is forgotten without a word', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(5000, 1))))
  await env.run(file.discardFrom(0))
  t.is(file.dirtyBytes, 0)
  data.release(file1)
  t.is(data.known(file1), undefined)
  await env.pass(10_000)
  t.is(master.commits.length, 0)
})

test('a commit of a session that died is not repeated in the next', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(100, 1))))
  master.commitError = new FsError('EIO', 'the session died')
  const { calls } = master
  const flush = file.flush()
  const die = (): void => {
    if (calls.includes('commit')) master.identity = { session: 2n, epoch: 1n }
    else env.timers.after(0.1, die)
  }
  die()
  t.is((await t.throwsAsync<FsError>(env.run(flush))).code, 'EIO')
  t.is(file.dirtyBytes, 0)
})

test('what is on its way when the session dies is not committed in the next, nor is what that accepts lost with it', async t => {
  for (const again of [0, 1]) {
    const { env, master, data } = await harness()
    const file = data.file(file1)
    master.faults.again = again
    await env.run(Promise.resolve(file.write(0, pattern(5000, 1))))
    const flush = file.flush()
    const lost = t.throwsAsync<FsError>(flush)
    while (!master.calls.includes('commit')) await env.pass(0.1)
    // Of the old session, and before its answer is here.
    await env.pass(1)
    await env.run(Promise.resolve(file.write(9000, pattern(100, 2))))
    file.abandon(new FsError('EIO', 'the session died'))
    master.identity = { session: 2n, epoch: 1n }
    t.is(file.dirtyBytes, 0)
    t.is((await lost).code, 'EIO')
    await env.pass(10)
    master.faults.again = 0
    await env.run(Promise.resolve(file.write(20_000, pattern(70, 3))))
    await env.run(file.flush())
    await env.pass(10_000)
    const offsets = master.commits.flatMap(({ extents }) => extents.map(({ offset }) => offset))
    t.deepEqual(offsets, again === 0 ? [0n, 20_000n] : [20_000n])
    t.is(master.calls.filter(name => name === 'commit').length, 2)
    t.is(file.dirtyBytes, 0)
    t.is(file.takeError(), undefined)
  }
})

test('a write past the largest size is EFBIG and one at a huge offset costs no memory', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  t.is(t.throws<FsError>(() => void file.write(2 ** 52, Buffer.from('x'))).code, 'EFBIG')
  await env.run(Promise.resolve(file.write(8 * 2 ** 40, Buffer.from('x'))))
  t.is(file.overlay(master.attrOf(file1)).size, 8 * 2 ** 40 + 1)
  t.is(await env.run(file.seek(5, 'data')), 8 * 2 ** 40)
  t.is(await env.run(file.seek(5, 'hole')), 5)
})

test('one node of three that breaks a chain costs neither the others nor the write', async t => {
  const { env, master, nodes, data } = await harness({ nodes: 3 })
  const file = data.file(file1)
  const [, second] = nodes.nodes
  if (second !== undefined) second.frozen = true
  await env.run(Promise.resolve(file.write(0, pattern(256 * KiB, 1))))
  const before = env.nowMs
  await env.run(file.flush())
  t.true(env.nowMs - before < 1000, `${env.nowMs - before} ms`)
  t.deepEqual(master.commits[0]?.blocks[0]?.receipts.map(({ node }) => node).sort(), [1n, 3n])
})

test('nodes that are just away are waited for; when the master gives them up, the write fails and stays dirty', async t => {
  const { env, master, nodes, data } = await harness({ nodes: 3 })
  const file = data.file(file1)
  for (const node of nodes.nodes.slice(1)) node.down = true
  master.tooFew = 'EAGAIN'
  await env.run(Promise.resolve(file.write(0, pattern(5000, 1))))
  env.timers.after(50_000, () => nodes.nodes.forEach(node => (node.down = false)))
  await env.run(file.flush())
  t.is(master.fileOf(file1).size, 5000)

  for (const node of nodes.nodes.slice(1)) node.down = true
  await env.run(Promise.resolve(file.write(5000, pattern(5000, 2))))
  env.timers.after(40_000, () => (master.tooFew = 'EIO'))
  const before = env.nowMs
  t.is((await t.throwsAsync<FsError>(env.run(file.flush()))).code, 'EIO')
  t.true(env.nowMs - before > 39_000)
  t.is(file.dirtyBytes, 5000)
})

test('a node that hangs costs its readers a moment, once', async t => {
  const { env, nodes, data } = await harness({ nodes: 4, blockBytes: 64 * KiB, cacheBytes: 8 * KiB })
  const file = data.file(file1)
  const bytes = pattern(40 * 64 * KiB, 1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  for (const hung of nodes.nodes) {
    hung.frozen = true
    file.forgetExtents()
    data.release(file1)
    const cold = data.file(file1)
    const before = env.nowMs
    for (let at = 0; at < bytes.length; at += 64 * KiB)
      t.true(taken(await env.run(cold.read(at, 64 * KiB))).equals(bytes.subarray(at, at + 64 * KiB)))
    t.true(env.nowMs - before < 3000, `${env.nowMs - before} ms with node ${hung.id} hung`)
    hung.frozen = false
    await env.pass(60_000)
  }
})

test('copies race: what a slow one sends later is no damage', async t => {
  const { env, master, nodes, data } = await harness({ blockBytes: 512 * KiB })
  const file = data.file(file1)
  const bytes = pattern(512 * KiB, 1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  // Frames come in pieces, each after up to this long: some copies are quiet in the middle.
  nodes.faults.maxDelayMs = 900
  t.true(taken(await env.run(file.read(0, bytes.length))).equals(bytes))
  await env.pass(60_000)
  t.deepEqual(master.damage, [])
  t.true(nodes.nodes.filter(({ gets }) => gets > 0).length > 1, 'more than one was asked')
})

test('an unmount tries for a while to store what is dirty, and says what it could not', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(5000, 1))))
  master.commitError = new FsError('ENOSPC')
  env.timers.after(20_000, () => (master.commitError = undefined))
  await env.run(data.close())
  t.is(master.fileOf(file1).size, 5000)

  const other = await harness()
  await other.env.run(Promise.resolve(other.data.file(file1).write(0, pattern(5000, 1))))
  other.master.commitError = new FsError('ENOSPC')
  t.is((await t.throwsAsync<FsError>(other.env.run(other.data.close()))).code, 'ENOSPC')
  t.true(other.env.logged.some(({ level, message }) => level === 'error' && /data is lost/.test(message)))
})

test('without room at the master, ENOSPC comes at write though space was granted, and what was accepted is stored', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(100 * KiB, 1))))
  master.diskFull = true
  const write = async (): Promise<void> => file.write(100 * KiB, pattern(4 * KiB, 2))
  t.is((await t.throwsAsync<FsError>(env.run(write()))).code, 'ENOSPC')
  await env.run(file.flush())
  t.is(master.fileOf(file1).size, 100 * KiB)
  master.diskFull = false
  await env.run(write())
  await env.run(file.flush())
  t.is(master.fileOf(file1).size, 104 * KiB)
})

test('when promised space was not there, the next write hears of it, not its close', async t => {
  const { env, master, data } = await harness()
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, pattern(100, 1))))
  master.commitError = new FsError('ENOSPC')
  t.is((await t.throwsAsync<FsError>(env.run(file.flush()))).code, 'ENOSPC')
  master.spaceBytes = 0
  const write = async (): Promise<void> => file.write(100, pattern(100, 2))
  t.is((await t.throwsAsync<FsError>(env.run(write()))).code, 'ENOSPC')
  t.is(file.dirtyBytes, 100)
})

const getsOf = ({ nodes }: Harness): number => nodes.nodes.reduce((sum, node) => sum + node.gets, 0)
const asked = ({ master }: Harness): number => master.calls.filter(call => call === 'getExtents').length

test('the right to read is asked for again before it runs out, once for a block, and nobody refuses', async t => {
  const world = await harness({ cacheBytes: 128 * KiB, blockBytes: 256 * KiB })
  const { env, master, nodes, data } = world
  const bytes = pattern(1 * MiB, 21)
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  const read = async (): Promise<void> => {
    for (let at = 0; at < bytes.length; at += 64 * KiB)
      t.true(taken(await env.run(file.read(at, 64 * KiB))).equals(bytes.subarray(at, at + 64 * KiB)))
    await env.pass(1000)
  }
  // The answer to a commit gives the right to what was committed.
  await read()
  t.is(asked(world), 0)
  file.forgetExtents()
  await read()
  const first = asked(world)
  t.true(first > 0 && first <= 5, `${first} questions`)
  await read()
  t.is(asked(world), first, 'a right lasts for a while')
  await env.pass(master.tokenMs)
  const gets = getsOf(world)
  await read()
  t.true(getsOf(world) > gets, 'it is not all cached')
  t.true(asked(world) > first)
  t.true(asked(world) <= first + 4, `${asked(world)} questions`)
  t.is(nodes.refusedGets, 0)
})

test('a right that a node does not know is asked for again, and no copy is bad by it', async t => {
  const world = await harness({ cacheBytes: 128 * KiB, blockBytes: 256 * KiB })
  const { env, master, nodes, data } = world
  const bytes = pattern(512 * KiB, 22)
  const file = data.file(file1)
  await env.run(Promise.resolve(file.write(0, bytes)))
  await env.run(file.flush())
  t.true(taken(await env.run(file.read(0, bytes.length))).equals(bytes))
  await env.pass(1000)
  nodes.tokenEra++
  t.true(taken(await env.run(file.read(0, bytes.length))).equals(bytes))
  t.true(nodes.refusedGets > 0)
  t.deepEqual(master.damage, [])
})
