import test from 'ava'
import fc from 'fast-check'
import { errno, type ErrnoName, FsError } from '#src/core/errors.ts'
import { type Ino, rootIno } from '#src/core/ids.ts'
import { fileTimeMaxSeconds, fileTimeMinSeconds } from '#src/core/limits.ts'
import { nameFromText } from '#src/core/name.ts'
import { keptBytes } from '#src/core/read-bytes.ts'
import { opcode, type OpcodeName } from '#src/fuse/codec/abi.ts'
import type { AttrAnswer } from '#src/fuse/filesystem.ts'
import { operations } from '#src/fuse/session/operations.ts'
import { body, message } from '../support/fuse-messages.ts'
import { MemoryFileSystem } from '../support/memory-filesystem.ts'
import { initBody, SessionHarness } from '../support/session-harness.ts'

const begun = (fs = new MemoryFileSystem()): Promise<SessionHarness> => SessionHarness.begun(fs)

/** No reply at all: the kernel waits for none. */
const silent: readonly OpcodeName[] = ['FORGET', 'BATCH_FORGET', 'INTERRUPT', 'NOTIFY_REPLY']

test('INIT takes what is offered of what is wanted, and no write-back cache', async t => {
  const harness = new SessionHarness(new MemoryFileSystem())
  const reply = await harness.ask(message('INIT', { body: initBody(45) }))
  const facts = await harness.session.begun
  t.is(reply.data.length, 64)
  t.deepEqual([reply.data.readUInt32LE(0), reply.data.readUInt32LE(4)], [7, 45])
  const flags = BigInt(reply.data.readUInt32LE(12)) | (BigInt(reply.data.readUInt32LE(32)) << 32n)
  t.is(flags, facts.flags)
  t.is(flags & (1n << 16n), 0n)
  t.deepEqual(
    [reply.data.readUInt32LE(20), reply.data.readUInt32LE(24), reply.data.readUInt16LE(28)],
    [1 << 20, 1, 256],
  )
  t.true(facts.canInvalidateAllNames)
})

test('an older kernel gets its own version; one too old, or of another language, EPROTO', async t => {
  const older = new SessionHarness(new MemoryFileSystem())
  const reply = await older.ask(message('INIT', { body: initBody(31, (1n << 22n) | (1n << 40n)) }))
  t.is(reply.data.readUInt32LE(4), 31)
  t.like(await older.session.begun, {
    minor: 31,
    flags: 1n << 22n,
    canInvalidateAllNames: false,
    directIoMmap: false,
  })
  for (const bytes of [initBody(30), body(8, 0, 0, 0), initBody(45, 0n), Buffer.alloc(3)]) {
    const harness = new SessionHarness(new MemoryFileSystem())
    t.true((await harness.ask(message('INIT', { body: bytes }))).errno > 0)
    await t.throwsAsync(harness.session.begun, { instanceOf: FsError })
  }
})

test('a request before INIT, and a second INIT, are errors', async t => {
  const harness = new SessionHarness(new MemoryFileSystem())
  t.is((await harness.ask(message('STATFS'))).errno, errno.EIO)
  const other = await begun()
  t.is((await other.ask(message('INIT', { body: initBody(45) }))).errno, errno.EIO)
  t.is((await other.ask(message('STATFS'))).errno, 0)
})

const wrong: readonly (readonly [string, OpcodeName | number, Buffer, ErrnoName])[] = [
  ['an unknown operation', 60, body(), 'ENOSYS'],
  ['an operation beyond the table', 4096, body(), 'ENOSYS'],
  ['a hole of the table', 7, body(), 'ENOSYS'],
  ['ACCESS', 'ACCESS', body(0, 0), 'ENOSYS'],
  ['POLL', 'POLL', body(0n, 0n, 0, 0), 'ENOSYS'],
  ['IOCTL', 'IOCTL', body(0n, 0, 0, 0n, 0, 0), 'ENOTTY'],
  ['no name', 'LOOKUP', body(), 'EIO'],
  ['a name without end', 'LOOKUP', Buffer.from('name'), 'EIO'],
  ['an empty name', 'LOOKUP', body(''), 'EINVAL'],
  ['. as a name', 'UNLINK', body('.'), 'EINVAL'],
  ['.. as a name', 'RMDIR', body('..'), 'EINVAL'],
  ['a path', 'MKDIR', body(0, 0, 'a/b'), 'EINVAL'],
  ['a long name', 'LOOKUP', body('n'.repeat(256)), 'ENAMETOOLONG'],
  ['a long symlink', 'SYMLINK', body('s', 't'.repeat(4096)), 'ENAMETOOLONG'],
  ['a rename without its second name', 'RENAME', body(1n, 'a'), 'EIO'],
  ['unknown rename flags', 'RENAME2', body(1n, 16, 0, 'a', 'b'), 'EINVAL'],
  ['a short structure', 'GETATTR', Buffer.alloc(15), 'EIO'],
  ['a write with less data than it says', 'WRITE', body(1n, 0n, 10, 0, 0n, 0, 0, Buffer.alloc(9)), 'EIO'],
  ['a write at 2^60', 'WRITE', body(1n, 1n << 60n, 1, 0, 0n, 0, 0, Buffer.alloc(1)), 'EFBIG'],
  [
    'a write that ends beyond 2^53',
    'WRITE',
    body(1n, (1n << 53n) - 1n, 1, 0, 0n, 0, 0, Buffer.alloc(1)),
    'EFBIG',
  ],
  ['a huge read', 'READ', body(1n, 0n, (1 << 20) + 1, 0, 0n, 0, 0), 'EINVAL'],
  ['a huge listing', 'READDIR', body(1n, 0n, 0xffff_ffff, 0, 0n, 0, 0), 'EINVAL'],
  ['an unknown fallocate mode', 'FALLOCATE', body(1n, 0n, 1n, 8, 0), 'EOPNOTSUPP'],
  ['a hole punched without KEEP_SIZE', 'FALLOCATE', body(1n, 0n, 1n, 2, 0), 'EOPNOTSUPP'],
  ['an unknown whence', 'LSEEK', body(1n, 0n, 5, 0), 'EINVAL'],
  ['a lock backwards', 'SETLK', body(1n, 1n, 5n, 4n, 1, 0, 0, 0), 'EINVAL'],
  ['a lock beyond the end', 'SETLK', body(1n, 1n, 0n, 1n << 63n, 1, 0, 0, 0), 'EINVAL'],
  ['an unknown lock type', 'SETLKW', body(1n, 1n, 0n, 1n, 9, 0, 0, 0), 'EINVAL'],
  ['copy_file_range flags', 'COPY_FILE_RANGE_64', body(1n, 0n, 1n, 1n, 0n, 1n, 1n), 'EINVAL'],
  ['xattr flags', 'SETXATTR', body(0, 4, 0, 0, 'user.a'), 'EINVAL'],
  ['an xattr to create and replace', 'SETXATTR', body(0, 3, 0, 0, 'user.a'), 'ENODATA'],
  ['an xattr of less data than it says', 'SETXATTR', body(5, 0, 0, 0, 'user.a', Buffer.alloc(4)), 'EIO'],
  ['a long xattr name', 'GETXATTR', body(0, 0, `user.${'n'.repeat(251)}`), 'ERANGE'],
  [
    'too many nanoseconds',
    'SETATTR',
    body(1 << 4, 0, 0n, 0n, 0n, 0n, 0n, 0n, 1e9, 0, 0, 0, 0, 0, 0, 0),
    'EINVAL',
  ],
]

for (const [what, operation, bytes, code] of wrong) {
  test(`${what} gives ${code}`, async t => {
    const harness = await begun()
    const reply = await harness.ask(message(operation, { body: bytes, unique: 12 }))
    t.deepEqual([reply.errno, reply.unique, reply.data.length], [errno[code], 12, 0])
  })
}

test('a time that nanoseconds in 64 bits cannot express becomes the last or first that they can', async t => {
  const harness = await begun()
  for (const [seconds, shown] of [
    [1n << 40n, fileTimeMaxSeconds],
    [(1n << 63n) - 1n, fileTimeMaxSeconds],
    [-(1n << 63n), fileTimeMinSeconds],
    [fileTimeMaxSeconds - 1n, fileTimeMaxSeconds - 1n],
  ] as const) {
    const times = body(1 << 4, 0, 0n, 0n, 0n, seconds, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0)
    const reply = await harness.ask(message('SETATTR', { body: times }))
    t.is(reply.errno, 0)
    t.is(reply.data.readBigInt64LE(16 + 24), shown)
  }
})

test('. and .. lead from the number of a directory to itself and to its parent', async t => {
  const harness = await begun()
  const made = await harness.ask(message('MKDIR', { body: body(0o755, 0, 'd') }))
  const node = made.data.readBigUInt64LE(0)
  for (const [name, leadsTo] of [
    ['.', node],
    ['..', rootIno],
  ] as const) {
    const reply = await harness.ask(message('LOOKUP', { node, body: body(name) }))
    t.deepEqual([reply.errno, reply.data.readBigUInt64LE(0)], [0, leadsTo])
  }
})

test('the kernel calls the root 1, whatever its inode: in requests, and in what leads to it', async t => {
  const root = 57n as Ino
  const seen: bigint[] = []
  const fs = new MemoryFileSystem()
  const own = fs.getattr.bind(fs)
  const rooted = Object.assign(fs, { root })
  rooted.getattr = (ino, handle) => {
    seen.push(ino)
    return own(rootIno, handle)
  }
  rooted.lookupParent = () => {
    const { attr } = own(rootIno, undefined) as AttrAnswer
    return { attr: { ...attr, ino: root }, attrTtlMs: 0, nameTtlMs: 0 }
  }
  rooted.forget = ino => seen.push(ino)
  const harness = await begun(rooted)
  t.is((await harness.ask(message('GETATTR', { node: 1n, body: body(0, 0, 0n) }))).errno, 0)
  const up = await harness.ask(message('LOOKUP', { node: 5n, body: body('..') }))
  t.is(up.data.readBigUInt64LE(0), 1n)
  t.is(up.data.readBigUInt64LE(40), root, 'stat shows it as it is')
  void harness.receive(message('BATCH_FORGET', { body: body(2, 0, 1n, 1n, 6n, 1n) }))
  t.deepEqual(seen, [root, root, 6n])
})

test('a read beyond 2^53 is the end of the file', async t => {
  const reply = await (await begun()).ask(message('READ', { body: body(1n, 1n << 60n, 10, 0, 0n, 0, 0) }))
  t.deepEqual([reply.errno, reply.data.length], [0, 0])
})

test('a message whose length is not its own, or whose extensions reach into it, is EIO', async t => {
  const harness = await begun()
  t.is((await harness.ask(message('STATFS', { length: 41 }))).errno, errno.EIO)
  t.is((await harness.ask(message('LOOKUP', { body: body('abcdefg'), extensions: 1 }))).errno, errno.EIO)
  t.is((await harness.ask(message('LOOKUP', { body: body('abcdefg'), extensions: 65535 }))).errno, errno.EIO)
  t.is(
    (await harness.ask(message('MKDIR', { body: body(0o755, 0, 'd', body(8, 32)), extensions: 1 }))).errno,
    0,
  )
})

test('any bytes at all get one answer or none, and the session goes on', async t => {
  const harness = await begun()
  const anything = fc.record({
    operation: fc.oneof(fc.constantFrom(...Object.values(opcode)), fc.nat({ max: 5000 })),
    node: fc.oneof(fc.constant(1n), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
    bytes: fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.constantFrom(0, 0, 0, 1, 97), { maxLength: 200 }).map(list => Uint8Array.from(list)),
    ),
    extensions: fc.constantFrom(0, 0, 0, 1, 9, 65535),
  })
  await fc.assert(
    fc.asyncProperty(anything, async ({ operation, node, bytes, extensions }) => {
      harness.replies.length = 0
      const whole = message(operation, { node, body: Buffer.from(bytes), extensions, unique: 4 })
      await harness.receive(whole)
      await new Promise(setImmediate)
      const none = silent.some(name => opcode[name] === operation)
      // A lock that has to wait is answered later: nobody else holds one here.
      t.is(harness.replies.length, none ? 0 : 1)
      t.true(harness.replies.every(({ errno, unique }) => errno >= 0 && errno < 512 && unique === 4))
      t.is((await harness.ask(message('GETATTR', { body: body(0, 0, 0n) }))).errno, 0)
    }),
    { numRuns: 500 },
  )
})

test('every truncation of a good request is refused without harm', async t => {
  const good: readonly (readonly [OpcodeName, Buffer])[] = [
    ['CREATE', body(0o102, 0o644, 0, 0, 'file')],
    ['RENAME2', body(1n, 0, 0, 'old', 'new')],
    ['SETXATTR', body(3, 0, 0, 0, 'user.a', Buffer.from('abc'))],
    ['WRITE', body(1n, 0n, 3, 0, 0n, 0, 0, Buffer.from('abc'))],
    ['SETLKW', body(1n, 1n, 0n, 1n, 1, 0, 0, 0)],
  ]
  for (const [operation, bytes] of good) {
    const harness = await begun()
    for (let length = 0; length < bytes.length; length++) {
      const reply = await harness.ask(message(operation, { body: bytes.subarray(0, length) }))
      t.is(reply.errno, errno.EIO, `${operation} of ${length} bytes`)
    }
  }
})

test('what is shorter than a header is dropped with a log line', async t => {
  const harness = await begun()
  for (let length = 0; length < 40; length++) t.is(harness.receive(Buffer.alloc(length)), undefined)
  t.is(harness.replies.length, 0)
  t.is(harness.logged.length, 40)
})

test('BATCH_FORGET forgets each; one that says more than it holds is dropped whole', async t => {
  const forgotten: [bigint, number][] = []
  const fs = new MemoryFileSystem()
  fs.forget = (ino, count) => forgotten.push([ino, count])
  const harness = await begun(fs)
  void harness.receive(message('BATCH_FORGET', { body: body(3, 0, 5n, 1n, 6n, 2n) }))
  t.deepEqual(forgotten, [])
  void harness.receive(message('BATCH_FORGET', { body: body(2, 0, 5n, 1n, 6n, 2n) }))
  void harness.receive(message('FORGET', { node: 7n, body: body(3n) }))
  t.deepEqual(forgotten, [
    [5n, 1],
    [6n, 2],
    [7n, 3],
  ])
  t.is(harness.replies.length, 0)
})

/** A root whose flock is held by somebody, so that SETLKW waits. */
async function waiting(): Promise<{
  harness: SessionHarness
  lock: (unique: number) => Promise<void> | undefined
}> {
  const harness = await begun()
  const range = (unique: number, owner: bigint): Buffer =>
    message('SETLKW', { unique, body: body(1n, owner, 0n, 1n, 1, 0, 1, 0) })
  mustSucceed(await harness.ask(range(2, 1n)))
  harness.replies.length = 0
  return { harness, lock: unique => harness.receive(range(unique, 2n)) }
}

function mustSucceed(reply: { readonly errno: number }): void {
  if (reply.errno !== 0) throw new Error(`errno ${reply.errno}`)
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
}

test('INTERRUPT ends a wait, whether it comes before or after its request', async t => {
  const { harness, lock } = await waiting()
  void lock(10)
  await turns()
  t.is(harness.replies.length, 0)
  void harness.receive(message('INTERRUPT', { unique: 11, body: body(10n) }))
  void harness.receive(message('INTERRUPT', { unique: 13, body: body(12n) }))
  void lock(12)
  await turns()
  t.deepEqual(
    harness.replies.map(({ unique, errno }) => [unique, errno]),
    [
      [10, errno.EINTR],
      [12, errno.EINTR],
    ],
  )
})

test('any number of INTERRUPTs for nothing is forgotten', async t => {
  const { harness, lock } = await waiting()
  for (let unique = 0; unique < 2000; unique++) {
    void harness.receive(message('INTERRUPT', { unique: 1, body: body(BigInt(unique)) }))
  }
  void harness.receive(message('INTERRUPT', { unique: 1, body: body(2n ** 64n - 1n) }))
  void harness.receive(message('INTERRUPT', { unique: 1, body: body(1) }))
  void lock(20)
  await turns()
  t.is(harness.replies.length, 0)
})

test('a wait is taken back without an answer, and begun anew here or by a successor', async t => {
  const { harness, lock } = await waiting()
  const unlock = (owner: bigint): Buffer =>
    message('SETLKW', { unique: 30, body: body(1n, owner, 0n, 1n, 2, 0, 1, 0) })
  void lock(10)
  void lock(12)
  await turns()
  t.deepEqual(harness.session.unanswered, ['SETLKW', 'SETLKW'])
  harness.session.yieldLasting()
  await turns()
  t.deepEqual(harness.session.unanswered, [])
  t.is(harness.session.yielded.length, 2)
  t.is(harness.replies.length, 0)

  // There is no successor: they wait again, and a signal reaches them.
  harness.session.takeBack()
  await turns()
  t.deepEqual(harness.session.yielded, [])
  t.deepEqual(harness.session.unanswered, ['SETLKW', 'SETLKW'])
  void harness.receive(message('INTERRUPT', { unique: 11, body: body(10n) }))
  await turns()
  t.deepEqual(
    harness.replies.splice(0).map(({ unique, errno }) => [unique, errno]),
    [[10, errno.EINTR]],
  )

  // There is one. A signal that came before is answered here.
  void lock(14)
  void harness.receive(message('INTERRUPT', { unique: 15, body: body(14n) }))
  harness.session.yieldLasting()
  await turns()
  t.deepEqual(
    harness.replies.splice(0).map(({ unique, errno }) => [unique, errno]),
    [[14, errno.EINTR]],
  )
  const [yielded, ...more] = harness.session.yielded
  t.deepEqual(more, [])
  const facts = await harness.session.begun
  const successor = new SessionHarness(new MemoryFileSystem())
  const { fileSystem } = harness.session
  if (fileSystem === undefined || yielded === undefined) throw new Error('there is nothing to go on with')
  successor.session.resume(facts, fileSystem)
  void successor.receive(yielded)
  await turns()
  t.is(successor.replies.length, 0)
  mustSucceed(await harness.ask(unlock(1n)))
  await turns()
  t.deepEqual(
    successor.replies.map(({ unique, errno }) => [unique, errno]),
    [[12, 0]],
  )
})

test('when the device goes, waits end and answers go nowhere', async t => {
  const { harness, lock } = await waiting()
  void lock(10)
  harness.session.close()
  await turns()
  t.is(harness.replies.length, 0)
})

test('what nobody waited for is taken back', async t => {
  const fs = new MemoryFileSystem()
  const harness = await begun(fs)
  harness.outcome = 'gone'
  const create = (name: string): Buffer => message('CREATE', { body: body(0o102, 0o644, 0, 0, name) })
  void harness.receive(create('a'))
  await turns()
  const node = fs.nodes.get(rootIno)?.children.get(nameFromText('a'))?.node
  t.like(node, { lookups: 0, opens: 0 })
  t.is(fs.opens.size, 0)
  harness.outcome = 'sent'
  t.is((await harness.ask(create('a'))).errno, 0)
  t.like(node, { lookups: 1, opens: 1 })
})

test('an answer that the kernel refuses is followed by EIO', async t => {
  const harness = await begun()
  harness.outcome = 'refused'
  t.is((await harness.ask(message('STATFS'))).errno, errno.EIO)
})

test('a bug is EIO with a log line, and observers hear of every operation', async t => {
  const fs = new MemoryFileSystem()
  fs.statfs = () => {
    throw new TypeError('broken')
  }
  fs.read = () => keptBytes([Buffer.alloc(11)])
  const observed: unknown[] = []
  const harness = await SessionHarness.begun(fs, (...seen) => observed.push(seen))
  t.is((await harness.ask(message('STATFS'))).errno, errno.EIO)
  t.is((await harness.ask(message('READ', { body: body(1n, 0n, 10, 0, 0n, 0, 0) }))).errno, errno.EIO)
  t.is(harness.logged.filter(({ level }) => level === 'error').length, 2)
  t.is((await harness.ask(message('LOOKUP', { body: body('none') }))).errno, errno.ENOENT)
  t.deepEqual(observed, [
    ['STATFS', 0, 'EIO', rootIno],
    ['READ', 0, 'EIO', rootIno],
    ['LOOKUP', 0, undefined, rootIno],
  ])
})

test('the buffer of a write is in use until its answer, other buffers are not', async t => {
  let finish: () => void = () => undefined
  const fs = new MemoryFileSystem({
    before: () =>
      new Promise(resolve => {
        finish = resolve
      }),
  })
  const harness = await begun(fs)
  t.is(harness.receive(message('LOOKUP', { body: body('a') })), undefined)
  const writing = harness.receive(message('WRITE', { body: body(1n, 0n, 1, 0, 0n, 0, 0, Buffer.alloc(1)) }))
  t.true(writing instanceof Promise)
  finish()
  await writing
  t.is(harness.replies.length, 1)
})

test('every opcode has a row, but for those that the session answers and those of other transports', t => {
  const own = ['INIT', 'INTERRUPT', 'DESTROY', 'NOTIFY_REPLY', 'SETUPMAPPING', 'REMOVEMAPPING']
  const missing = Object.entries(opcode).filter(([, code]) => operations[code] === undefined)
  t.deepEqual(missing.map(([name]) => name).sort(), own.sort())
})
