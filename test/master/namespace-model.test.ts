import test from 'ava'
import fc from 'fast-check'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDirectory, S_IFDIR, S_IFREG } from '#src/core/attr.ts'
import { stampDatabase } from '#src/master/backup/take-backup.ts'
import { compareWithCopy, copySchema } from '#src/master/fsck/compare-copy.ts'
import { fsck } from '#src/master/fsck/fsck.ts'
import type { CommandOp } from '#src/wire/commands.ts'
import { RenameMode } from '#src/wire/gen/cairn/v1/session.ts'
import { Fixture } from './store-fixture.ts'

/** A tree as plainly as it can be said. */
interface Thing {
  readonly entries?: Map<string, Thing>
  links: number
}

const part = fc.constantFrom('a', 'b', 'c')
const path = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(part) },
  { weight: 3, arbitrary: fc.tuple(part, part) },
  { weight: 2, arbitrary: fc.tuple(part, part, part) },
)
const action = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('mkdir' as const), path }) },
  fc.record({ kind: fc.constant('mkfile' as const), path }),
  fc.record({ kind: fc.constant('link' as const), path, to: path }),
  fc.record({ kind: fc.constant('unlink' as const), path, open: fc.boolean() }),
  fc.record({ kind: fc.constant('rmdir' as const), path }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('rename' as const),
      path,
      to: path,
      mode: fc.constantFrom(
        RenameMode.RENAME_MODE_REPLACE,
        RenameMode.RENAME_MODE_NOREPLACE,
        RenameMode.RENAME_MODE_EXCHANGE,
      ),
    }),
  },
)
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

interface Place {
  readonly dir: Map<string, Thing>
  readonly name: string
  readonly found: Thing | undefined
}

class Model {
  readonly root: Thing = { entries: new Map(), links: 1 }

  place(names: readonly string[]): Place | undefined {
    let at: Thing | undefined = this.root
    for (const name of names.slice(0, -1)) at = at?.entries?.get(name)
    const name = names.at(-1) as string
    return at?.entries === undefined ? undefined : { dir: at.entries, name, found: at.entries.get(name) }
  }

  /** Whether `dir` is that of `thing` or of something below it. */
  #contains(thing: Thing, dir: Map<string, Thing>): boolean {
    if (thing.entries === undefined) return false
    return thing.entries === dir || [...thing.entries.values()].some(child => this.#contains(child, dir))
  }

  /** The errno that Linux gives, and the change if there is none. */
  apply(a: Action, at: Place, to: Place | undefined): string {
    switch (a.kind) {
      case 'mkdir':
      case 'mkfile':
        if (at.found) return 'EEXIST'
        at.dir.set(at.name, a.kind === 'mkdir' ? { entries: new Map(), links: 1 } : { links: 1 })
        return 'none'
      case 'unlink':
        if (!at.found) return 'ENOENT'
        if (at.found.entries) return 'EISDIR'
        at.found.links -= 1
        at.dir.delete(at.name)
        return 'none'
      case 'rmdir':
        if (!at.found) return 'ENOENT'
        if (!at.found.entries) return 'ENOTDIR'
        if (at.found.entries.size > 0) return 'ENOTEMPTY'
        at.dir.delete(at.name)
        return 'none'
      case 'link':
        if (!at.found || !to) return 'skip'
        if (to.found) return 'EEXIST'
        if (at.found.entries) return 'EPERM'
        at.found.links += 1
        to.dir.set(to.name, at.found)
        return 'none'
      case 'rename':
        return to ? this.#rename(a.mode, at, to) : 'skip'
    }
  }

  #rename(mode: RenameMode, at: Place, to: Place): string {
    const [source, target] = [at.found, to.found]
    const exchange = mode === RenameMode.RENAME_MODE_EXCHANGE
    if (!source) return 'ENOENT'
    if (mode === RenameMode.RENAME_MODE_NOREPLACE && target) return 'EEXIST'
    if (exchange && !target) return 'ENOENT'
    if (source === target) return 'none'
    if (this.#contains(source, to.dir)) return 'EINVAL'
    if (target && this.#contains(target, at.dir)) return exchange ? 'EINVAL' : 'ENOTEMPTY'
    if (!exchange && target) {
      if (source.entries && !target.entries) return 'ENOTDIR'
      if (!source.entries && target.entries) return 'EISDIR'
      if (target.entries && target.entries.size > 0) return 'ENOTEMPTY'
      target.links -= 1
    }
    at.dir.delete(at.name)
    to.dir.set(to.name, source)
    if (exchange && target) at.dir.set(at.name, target)
    return 'none'
  }
}

function toOp(f: Fixture, a: Action, ino: (names: readonly string[]) => bigint): CommandOp {
  const parent = ino(a.path.slice(0, -1))
  const name = a.path.at(-1) as string
  switch (a.kind) {
    case 'mkdir':
      return f.createOp(parent, name, S_IFDIR | 0o755)
    case 'mkfile':
      return f.createOp(parent, name, S_IFREG | 0o644)
    case 'unlink':
      return f.unlinkOp(parent, name, { open: a.open })
    case 'rmdir':
      return f.unlinkOp(parent, name, { directory: true })
    case 'link':
      return f.linkOp(ino(a.path), ino(a.to.slice(0, -1)), a.to.at(-1) as string)
    case 'rename':
      return f.renameOp([parent, name], [ino(a.to.slice(0, -1)), a.to.at(-1) as string], { mode: a.mode })
  }
}

/** Names, types, link counts, and which names are one file. */
function describe(thing: Thing, seen: Map<unknown, number>): unknown {
  const id = seen.get(thing) ?? seen.size
  seen.set(thing, id)
  if (thing.entries === undefined) return `file ${id} of ${thing.links}`
  const below = [...thing.entries].sort(([a], [b]) => (a < b ? -1 : 1))
  const directories = below.filter(([, child]) => child.entries !== undefined).length
  return [`dir of ${2 + directories}`, ...below.map(([name, child]) => [name, describe(child, seen)])]
}

function describeStore(f: Fixture, ino: bigint, parent: bigint, seen: Map<unknown, number>): unknown {
  const id = seen.get(ino) ?? seen.size
  seen.set(ino, id)
  const { mode, nlink } = f.attr(ino)
  if (!isDirectory(mode)) return `file ${id} of ${nlink}`
  const answer = f.ask({
    $case: 'readDir',
    value: { ino, after: 0n, limit: 0, attrs: true, removing: false },
  })
  if (answer.$case !== 'readDir' || answer.value.parent !== parent) throw new Error('.. leads elsewhere')
  const names = f.list(ino).sort()
  return [
    `dir of ${nlink}`,
    ...names.map(name => [name, describeStore(f, f.lookup(ino, name)?.ino ?? 0n, ino, seen)]),
  ]
}

test('beside a copy of some moment, names that were made, moved and removed since are no differences', t => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-model-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  let copies = 0
  fc.assert(
    fc.property(fc.array(action, { maxLength: 30, size: 'max' }), fc.nat(30), (actions, moment) => {
      using f = new Fixture()
      const model = new Model()
      const ino = (names: readonly string[]): bigint =>
        names.reduce<bigint>((at, name) => f.lookup(at, name)?.ino ?? 0n, f.root)
      const file = join(folder, `${copies++}.db`)
      for (const [at, a] of actions.entries()) {
        if (at === Math.min(moment, actions.length - 1)) {
          f.store.db.prepare('VACUUM INTO ?').run(file)
          f.time += 120_000_000_000n
          stampDatabase(file, { taken: f.time, program: 'test' })
        }
        const place = model.place(a.path)
        const to = 'to' in a ? model.place(a.to) : undefined
        if (
          place === undefined ||
          (a.kind === 'link' && !(place.found && to)) ||
          (a.kind === 'rename' && !to)
        )
          continue
        f.fails(toOp(f, a, ino))
        model.apply(a, place, to)
      }
      if (actions.length === 0) return
      f.store.db.prepare(`ATTACH ? AS ${copySchema}`).run(file)
      t.deepEqual(compareWithCopy(f.store), { lines: [], ofBlocks: 0 })
    }),
    { numRuns: 100 },
  )
})

test('any names made, moved and removed give the tree, and the errnos, of a plain model', t => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40, size: 'max' }), actions => {
      using f = new Fixture()
      const model = new Model()
      const ino = (names: readonly string[]): bigint =>
        names.reduce<bigint>((at, name) => f.lookup(at, name)?.ino ?? 0n, f.root)
      for (const a of actions) {
        const at = model.place(a.path)
        const to = 'to' in a ? model.place(a.to) : undefined
        if (at === undefined || (a.kind === 'link' && !(at.found && to)) || (a.kind === 'rename' && !to))
          continue
        const op = toOp(f, a, ino)
        t.is(f.fails(op), model.apply(a, at, to), JSON.stringify(a))
        t.deepEqual(describeStore(f, f.root, f.root, new Map()), describe(model.root, new Map()))
      }
      t.deepEqual(fsck(f.store).problems, [])
      // What was unlinked while open goes when it is closed.
      for (const orphan of f.store.orphans.all())
        f.run({ $case: 'closeOrphan', value: { ino: orphan.ino, unsent: false } })
      t.is(f.store.db.prepare('SELECT count(*) FROM inodes WHERE nlink = 0').pluck().get(), 0)
      t.deepEqual(fsck(f.store).problems, [])
    }),
    { numRuns: 100 },
  )
})
