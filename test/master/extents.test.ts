import test from 'ava'
import fc from 'fast-check'
import { S_IFREG } from '#src/core/attr.ts'
import { blockKey, ino as toIno } from '#src/core/ids.ts'
import { fileBytesMax } from '#src/core/limits.ts'
import { stepDoomed, stepGoals } from '#src/master/extents/steps.ts'
import { fsck } from '#src/master/fsck/fsck.ts'
import { attrOf, blockId, Fixture } from './store-fixture.ts'

/** Bytes of a file as a reader would put them together: extents over zeros. */
function read(f: Fixture, ino: bigint, contents: ReadonlyMap<string, string>, limit = 0): string {
  const { size } = f.attr(ino)
  const result = Array.from({ length: Number(size) }, () => '.')
  for (let at = 0n; at < size; ) {
    const answer = f.ask({ $case: 'getExtents', value: { ino, offset: at, length: size - at, limit } })
    if (answer.$case !== 'extents') throw new Error(answer.$case)
    const { extents, blocks, end } = answer.value
    for (const { offset, length, block, blockOffset } of extents) {
      const id = Buffer.from(blocks[block]?.id ?? []).toString('hex')
      const data = contents.get(id)
      if (data === undefined) throw new Error(`no content of block ${id}`)
      for (let i = 0; i < Number(length); i += 1) result[Number(offset) + i] = data.charAt(blockOffset + i)
    }
    at = end
  }
  return result.join('')
}

const fileBytes = 48
const offset = fc.nat(fileBytes)
const length = fc.integer({ min: 1, max: 20 })
const file = fc.nat(1)
/** Few letters, so that blocks come again. */
const content = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 6 })

const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      file,
      parts: fc.array(fc.record({ gap: fc.nat(6), content, skip: fc.nat(5) }), {
        minLength: 1,
        maxLength: 4,
      }),
      offset,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('truncate' as const), file, offset }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('punch' as const), file, offset, length, grow: fc.boolean() }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('clone' as const), file, to: file, offset, at: offset, length }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('step' as const), budget: fc.integer({ min: 1, max: 4 }) }),
  },
)
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

/** Two files as strings, a hole being dots. */
class Model {
  readonly files = ['', '']

  write(i: number, at: number, data: string): void {
    const old = (this.files[i] ?? '').padEnd(at, '.')
    this.files[i] = old.slice(0, at) + data + old.slice(at + data.length)
  }

  truncate(i: number, size: number): void {
    this.files[i] = (this.files[i] ?? '').slice(0, size).padEnd(size, '.')
  }
}

function perform(
  f: Fixture,
  model: Model,
  inos: readonly bigint[],
  contents: Map<string, string>,
  a: Action,
): void {
  if (a.kind === 'step') {
    f.store.transaction(() => stepDoomed(f.store, a.budget, f.time))
    return
  }
  const ino = inos[a.file] as bigint
  const now = model.files[a.file] as string
  if (a.kind === 'truncate') {
    f.setAttr(ino, { size: BigInt(a.offset) })
    model.truncate(a.file, a.offset)
  } else if (a.kind === 'punch') {
    const grow = a.grow ? a.offset + a.length : 0
    f.run(f.punchOp({ ino, offset: BigInt(a.offset), length: BigInt(a.length), grow: a.grow }))
    const size = Math.max(now.length, grow)
    model.write(a.file, a.offset, '.'.repeat(a.length))
    model.truncate(a.file, size)
  } else if (a.kind === 'write') {
    let at = a.offset
    const extents = a.parts.map(part => {
      const skip = Math.min(part.skip, part.content.length - 1)
      at += part.gap
      const extent = {
        offset: at,
        length: part.content.length - skip,
        content: part.content,
        blockOffset: skip,
      }
      at += extent.length
      contents.set(blockId(part.content).toString('hex'), part.content)
      model.write(a.file, extent.offset, part.content.slice(skip))
      return extent
    })
    f.commit(ino, extents)
  } else clone(f, model, inos, a)
}

/** Goes on until all is done, as a client does. */
function clone(f: Fixture, model: Model, inos: readonly bigint[], a: Action & { kind: 'clone' }): void {
  const source = model.files[a.file] as string
  const wanted = Math.max(0, Math.min(a.length, source.length - a.offset))
  const overlaps = a.file === a.to && a.at < a.offset + wanted && a.offset < a.at + wanted
  if (overlaps) return
  for (let done = 0; done < wanted; ) {
    const result = f.run(
      f.cloneOp({
        from: inos[a.file] as bigint,
        to: inos[a.to] as bigint,
        fromOffset: BigInt(a.offset + done),
        toOffset: BigInt(a.at + done),
        length: BigInt(wanted - done),
      }),
    )
    if (result.$case !== 'clone' || result.value.bytes === 0n) throw new Error('a clone does not get on')
    done += Number(result.value.bytes)
  }
  if (wanted > 0) model.write(a.to, a.at, source.slice(a.offset, a.offset + wanted))
}

for (const rowsPerCommand of [2, 10_000]) {
  test(`any edits of files read like edits of strings, ${rowsPerCommand} rows a command`, t => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 30, size: 'max' }), actions => {
        using f = new Fixture({ rowsPerCommand })
        const inos = ['a', 'b'].map(name => f.create(f.root, name, S_IFREG | 0o644).attr.ino)
        const model = new Model()
        const contents = new Map<string, string>()
        for (const a of actions) {
          perform(f, model, inos, contents, a)
          inos.forEach((ino, i) => t.is(read(f, ino, contents), model.files[i] as string))
        }
        inos.forEach((ino, i) => t.is(read(f, ino, contents, 1), model.files[i] as string))
        t.deepEqual(fsck(f.store).problems, [])
        while (f.store.transaction(() => stepDoomed(f.store, 3, f.time))) t.pass()
        inos.forEach((ino, i) => t.is(read(f, ino, contents), model.files[i] as string))
        inos.forEach((ino, i) => {
          t.is(f.attr(ino).allocated, BigInt((model.files[i] as string).replaceAll('.', '').length))
        })
        t.deepEqual(fsck(f.store).problems, [])
        for (const name of ['a', 'b']) f.unlink(f.root, name)
        while (f.store.transaction(() => stepDoomed(f.store, 3, f.time))) t.pass()
        t.is(f.store.blocks.live.count, 0n)
        t.is(f.store.db.prepare('SELECT count(*) FROM extents').pluck().get(), 0)
        t.deepEqual(fsck(f.store).problems, [])
      }),
      { numRuns: 80 },
    )
  })
}

test('extents that continue each other in one block are one row', t => {
  using f = new Fixture()
  const ino = toIno(f.create(f.root, 'a', S_IFREG).attr.ino)
  f.commit(ino, [{ offset: 0, length: 6, content: 'abcdef' }])
  f.commit(ino, [{ offset: 2, length: 2, content: 'xy' }])
  t.is(f.store.extents.count(ino), 3)
  f.commit(ino, [{ offset: 2, length: 2, content: 'abcdef', blockOffset: 2 }])
  t.is(f.store.extents.count(ino), 1)
  t.is(f.store.blocks.owner(blockId('abcdef'))?.refs, 1)
  t.is(f.store.blocks.owner(blockId('xy'))?.refs, 0)
  t.deepEqual(fsck(f.store).problems, [])
})

test('an extent is not joined to one that is being removed', t => {
  using f = new Fixture({ rowsPerCommand: 2 })
  const ino = toIno(f.create(f.root, 'a', S_IFREG).attr.ino)
  const contents = new Map(['abcdef', 'xy'].map(text => [blockId(text).toString('hex'), text]))
  f.commit(ino, [{ offset: 0, length: 6, content: 'abcdef' }])
  for (const offset of [1, 3]) f.commit(ino, [{ offset, length: 1, content: 'xy' }])
  f.run(f.punchOp({ ino, offset: 0n, length: 5n }))
  f.run(f.punchOp({ ino, offset: 5n, length: 1n }))
  t.is(f.store.extents.count(ino), 5)
  f.commit(ino, [{ offset: 5, length: 1, content: 'abcdef', blockOffset: 5 }])
  t.is(read(f, ino, contents), '.....f')
  f.store.transaction(() => stepDoomed(f.store, 100, f.time))
  t.is(read(f, ino, contents), '.....f')
  t.is(f.attr(ino).allocated, 1n)
  t.deepEqual(fsck(f.store).problems, [])
})

test('a block without references is condemned, a reference revives it, one that is being deleted is a new block', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  const key = f.commit(ino, [{ offset: 0, length: 3, content: 'abc' }]).keys[0] as bigint
  f.time = 2_000_000n
  f.setAttr(ino, { size: 0n })
  t.like(f.store.blocks.byKey(key), { refs: 0, state: 1, since: 2_000_000n })
  t.is(f.commit(ino, [{ offset: 0, length: 3, content: 'abc' }]).keys[0], key)
  t.like(f.store.blocks.byKey(key), { refs: 1, state: 0 })

  f.setAttr(ino, { size: 0n })
  f.store.transaction(() => f.store.blocks.beginDeleting(blockKey(key), 3n))
  const pinned = f.commit(ino, [{ offset: 0, length: 3, content: 'abc' }], {
    blocks: [{ key, id: Buffer.alloc(0), length: 3, receipts: [] }],
  })
  t.deepEqual(pinned.again, [0])
  t.is(f.attr(ino).size, 0n)
  const renewed = f.commit(ino, [{ offset: 0, length: 3, content: 'abc' }]).keys[0]
  t.not(renewed, key)
  t.deepEqual(fsck(f.store).problems, [])
})

test('a commit of which a block must be put again changes nothing', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  f.lost.add(blockId('bcd').toString('hex'))
  const reply = f.commit(ino, [
    { offset: 0, length: 3, content: 'abc' },
    { offset: 9, length: 3, content: 'bcd' },
  ])
  t.deepEqual(reply.again, [1])
  t.is(reply.attr?.size, 0n)
  t.is(f.store.blocks.owner(blockId('abc')), undefined)
})

test('a commit can set the size, mtime as shown, and clears setuid when asked', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG | 0o6755).attr
  f.time = 5_000_000n
  const attr = f.commit(ino, [{ offset: 0, length: 3, content: 'abc' }], {
    size: 10n,
    mtime: { now: false, value: 4_000_000n },
    killSuidgid: true,
  }).attr
  t.like(attr, { size: 10n, mtime: 4_000_000n, ctime: 5_000_000n, mode: S_IFREG | 0o755, allocated: 3n })
  const atime = f.commit(ino, [], { atime: { now: false, value: 4_500_000n }, time: 6n }).attr
  t.like(atime, { atime: 4_500_000n, ctime: 5_000_000n })
  t.is(f.commit(ino, [], { size: 2n }).attr?.allocated, 2n)
})

test('commits that make no sense are refused', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  const one = { offset: 0, length: 3, content: 'abc' }
  t.is(f.fails(f.commitOp(ino, [one, { ...one, offset: 2 }])), 'EINVAL')
  t.is(f.fails(f.commitOp(ino, [{ ...one, blockOffset: 1 }])), 'EINVAL')
  t.is(f.fails(f.commitOp(ino, [{ ...one, length: 0 }])), 'EINVAL')
  t.is(f.fails(f.commitOp(ino, [one], { blocks: [] })), 'EINVAL')
  t.is(f.fails(f.commitOp(ino, [one], { size: 2n })), 'EINVAL')
  t.is(f.fails(f.commitOp(ino, [{ ...one, offset: fileBytesMax - 2 }])), 'EFBIG')
  t.is(f.fails(f.commitOp(f.root, [one])), 'EISDIR')
  t.is(f.fails(f.commitOp(99n, [one])), 'ESTALE')
  const block = { key: 0n, id: blockId('abc'), length: 99_999, receipts: [] }
  t.is(f.fails(f.commitOp(ino, [one], { blocks: [block] })), 'EINVAL')
  t.is(f.fails(f.commitOp(ino, [one], { blocks: [{ ...block, length: 3, id: Buffer.alloc(31) }] })), 'EINVAL')
})

test('a write at a huge offset costs one extent; beyond the largest file it is EFBIG', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  f.commit(ino, [{ offset: fileBytesMax - 3, length: 3, content: 'abc' }])
  t.like(f.attr(ino), { size: BigInt(fileBytesMax), allocated: 3n })
  t.is(f.fails(f.setAttrOp(ino, { size: BigInt(fileBytesMax) + 1n })), 'EFBIG')
  t.is(f.fails(f.setAttrOp(ino, { size: 2n ** 64n - 1n })), 'EFBIG')
  t.is(f.fails(f.punchOp({ ino, offset: 2n ** 63n, length: 2n ** 63n })), 'EFBIG')
})

test('a range cannot be cloned onto itself', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  f.commit(ino, [{ offset: 0, length: 6, content: 'abcdef' }])
  const range = { from: ino, to: ino, fromOffset: 0n, length: 4n }
  t.is(f.fails(f.cloneOp({ ...range, toOffset: 3n })), 'EINVAL')
  t.is(attrOf(f.run(f.cloneOp({ ...range, toOffset: 4n }))).size, 8n)
  t.is(f.fails(f.cloneOp({ ...range, toOffset: BigInt(fileBytesMax) - 1n })), 'EFBIG')
})

test('fallocate needs space, and grows or not', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  const range = { ino, offset: 0n, length: 100n, allocateOnly: true }
  t.is(attrOf(f.run(f.punchOp(range))).size, 0n)
  t.is(attrOf(f.run(f.punchOp({ ...range, grow: true }))).size, 100n)
  f.space = 99
  t.is(f.fails(f.punchOp(range)), 'ENOSPC')
  t.is(f.fails(f.punchOp({ ...range, length: 0n })), 'EINVAL')
})

test('a block is kept at the highest goal of its files, and a lower goal of its only file lowers it', t => {
  using f = new Fixture({ rowsPerCommand: 1 })
  const [a, b] = ['a', 'b'].map(name => f.create(f.root, name, S_IFREG).attr.ino) as [bigint, bigint]
  for (const ino of [a, b]) f.commit(ino, [{ offset: 0, length: 3, content: 'abc' }])
  f.commit(a, [{ offset: 5, length: 3, content: 'xyz' }])
  const wanted = (content: string): number | undefined => f.store.blocks.owner(blockId(content))?.wanted
  const finish = (): void => {
    while (f.store.transaction(() => stepGoals(f.store, 1))) t.pass()
  }
  f.setAttr(a, { copies: 5 })
  finish()
  t.deepEqual([wanted('abc'), wanted('xyz')], [5, 5])
  f.setAttr(a, { copies: 1 })
  finish()
  t.deepEqual([wanted('abc'), wanted('xyz')], [5, 1])
  t.is(f.fails(f.setAttrOp(a, { copies: 0 })), 'EINVAL')
})
