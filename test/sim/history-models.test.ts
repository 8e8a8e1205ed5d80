import test from 'ava'
import { check, type Happening, type Model } from '#src/sim/history/checker.ts'
import { fileModel, type FileOp } from '#src/sim/history/file-model.ts'
import { type LockOp, lockModel } from '#src/sim/history/lock-model.ts'
import { type ModeOp, modeModel } from '#src/sim/history/mode-model.ts'
import { type NamesOp, namesModel } from '#src/sim/history/names-model.ts'

/** Each after the one before it. */
const inOrder = <Op>(...ops: readonly Op[]): Happening<Op>[] =>
  ops.flatMap((op, id): Happening<Op>[] => [
    { kind: 'call', id, op },
    { kind: 'answer', id },
  ])

const isFine = <State, Op>(model: Model<State, Op>, history: readonly Happening<Op>[]): boolean =>
  check(model, history).kind === 'fine'

// ---- files

const write = (session: string, from: number, count: number, value: number, answered = true): FileOp => ({
  kind: 'write',
  session,
  from,
  count,
  value,
  synced: false,
  answered,
})
const append = (session: string, count: number, value: number): FileOp => ({
  kind: 'append',
  session,
  count,
  value,
  synced: false,
  answered: true,
})
const read = (session: string, cell: number, found: number | 'end'): FileOp => ({
  kind: 'read',
  session,
  cell,
  found,
})
const sync = (session: string, ...since: string[]): FileOp => ({ kind: 'sync', session, since })
const truncate = (session: string, size: number): FileOp => ({
  kind: 'truncate',
  session,
  size,
  answered: true,
})
const size = (session: string, found: number): FileOp => ({ kind: 'size', session, found })
const death = (session: string): FileOp => ({ kind: 'death', session })

const files: readonly (readonly [string, boolean, readonly FileOp[]])[] = [
  [
    'what was written is read',
    true,
    [write('a', 0, 2, 7), read('b', 0, 7), read('b', 1, 7), read('b', 2, 'end')],
  ],
  ['a stale read', false, [write('a', 0, 2, 7), write('b', 0, 1, 8), read('a', 0, 7)]],
  ['a hole is zeros', true, [write('a', 2, 1, 7), read('b', 1, 0), size('b', 3)]],
  ['appends follow each other', true, [append('a', 2, 1), append('b', 1, 2), read('a', 2, 2), size('a', 3)]],
  ['an append over another', false, [append('a', 2, 1), append('b', 1, 2), read('a', 1, 2)]],
  [
    'cut off and grown again is zeros',
    true,
    [write('a', 0, 3, 1), truncate('a', 1), truncate('b', 3), read('a', 1, 0), read('a', 0, 1)],
  ],
  [
    'what was cut off comes back',
    false,
    [write('a', 0, 3, 1), truncate('a', 1), truncate('b', 3), read('a', 1, 1)],
  ],
  ['what was not synced goes with its session', true, [write('a', 0, 1, 1), death('a'), read('b', 0, 'end')]],
  ['or stays', true, [write('a', 0, 1, 1), death('a'), read('b', 0, 1)]],
  ['but not both', false, [write('a', 0, 1, 1), death('a'), read('b', 0, 'end'), read('b', 0, 1)]],
  [
    'each cell for itself',
    true,
    [write('a', 0, 2, 1), sync('a'), write('a', 0, 2, 2), death('a'), read('b', 0, 1), read('b', 1, 2)],
  ],
  ['what was synced stays', false, [write('a', 0, 1, 1), sync('a'), death('a'), read('b', 0, 'end')]],
  [
    'what others have seen stays',
    false,
    [write('a', 0, 1, 1), read('b', 0, 1), death('a'), read('b', 0, 'end')],
  ],
  ['the death of another takes nothing', false, [write('a', 0, 1, 1), death('b'), read('c', 0, 'end')]],
  [
    'something else than was ever there',
    false,
    [write('a', 0, 1, 1), write('a', 0, 1, 2), death('a'), read('b', 0, 3)],
  ],
  [
    'a size that was there',
    true,
    [write('a', 0, 1, 1), sync('a'), write('a', 1, 3, 2), death('a'), size('b', 1), read('b', 0, 1)],
  ],
  [
    'a truncation is stored at once',
    false,
    [write('a', 0, 3, 1), sync('a'), truncate('a', 1), death('a'), size('b', 3)],
  ],
  [
    'below it, what was written may be lost',
    true,
    [truncate('a', 3), write('a', 0, 2, 1), truncate('a', 2), death('a'), read('b', 0, 0)],
  ],
  [
    'a sync says that nothing is lost',
    false,
    [write('a', 0, 1, 1), death('a'), sync('b', 'a'), read('b', 0, 'end')],
  ],
  [
    'a sync of who was told of the loss does not',
    true,
    [write('a', 0, 1, 1), death('a'), sync('b'), read('b', 0, 'end')],
  ],
]

for (const [name, right, ops] of files)
  test(`file, ${right ? 'right' : 'wrong'}: ${name}`, t => {
    t.is(isFine(fileModel, inOrder(...ops)), right)
  })

test('a write that nobody was answered happens in parts, and the death of its session undoes it', t => {
  const lost: Happening<FileOp>[] = [
    { kind: 'call', id: 100, op: write('a', 0, 2, 5, false) },
    { kind: 'moment', op: death('a') },
    { kind: 'end', id: 100 },
  ]
  const then = (...ops: FileOp[]) =>
    isFine(fileModel, [...inOrder(write('a', 0, 2, 1), sync('a')), ...lost, ...inOrder(...ops)])
  t.true(then(read('b', 0, 5), read('b', 1, 1)))
  t.true(then(read('b', 0, 1), read('b', 1, 1)))
  t.false(then(read('b', 0, 1), read('b', 0, 5)))
})

// ---- names

const root = '1'
const create = (session: string, name: string, ino: string, dir = root): NamesOp => ({
  kind: 'create',
  id: 0,
  session,
  dir,
  name,
  exclusive: true,
  answer: { ino },
})
const mkdir = (session: string, name: string, ino: string, dir = root): NamesOp => ({
  kind: 'mkdir',
  id: 0,
  session,
  dir,
  name,
  answer: { ino },
})
const found = (session: string, name: string, ino: string, dir = root): NamesOp => ({
  kind: 'lookup',
  session,
  dir,
  name,
  answer: { ino, is: 'file' },
})
const foundDir = (session: string, name: string, ino: string): NamesOp => ({
  kind: 'lookup',
  session,
  dir: root,
  name,
  answer: { ino, is: 'dir' },
})
const absent = (session: string, name: string, dir = root): NamesOp => ({
  kind: 'lookup',
  session,
  dir,
  name,
  answer: { error: 'ENOENT' },
})
const unlink = (session: string, name: string, dir = root): NamesOp => ({
  kind: 'unlink',
  session,
  dir,
  name,
  answer: {},
})
const rmdir = (session: string, name: string): NamesOp => ({
  kind: 'rmdir',
  session,
  dir: root,
  name,
  answer: {},
})
const rename = (
  session: string,
  name: string,
  toName: string,
  more: { dir?: string; toDir?: string; error?: string; how?: 'replace' | 'noreplace' | 'exchange' } = {},
): NamesOp => ({
  kind: 'rename',
  session,
  dir: more.dir ?? root,
  name,
  toDir: more.toDir ?? root,
  toName,
  how: more.how ?? 'replace',
  answer: more.error === undefined ? {} : { error: more.error },
})
const refused = (op: NamesOp, error: string): NamesOp => ({ ...op, answer: { error } }) as NamesOp
const links = (ino: string, count: number): NamesOp => ({ kind: 'links', ino, answer: { links: count } })
const link = (session: string, ino: string, name: string): NamesOp => ({
  kind: 'link',
  session,
  ino,
  dir: root,
  name,
  answer: {},
})
const ended = (session: string): NamesOp => ({ kind: 'death', session })
const synced = (session: string): NamesOp => ({ kind: 'sync', session, answer: {} })

const names: readonly (readonly [string, boolean, readonly NamesOp[]])[] = [
  [
    'made, seen, removed, gone',
    true,
    [create('a', 'x', '5'), found('b', 'x', '5'), unlink('b', 'x'), absent('a', 'x')],
  ],
  ['a name that is no more', false, [create('a', 'x', '5'), unlink('b', 'x'), found('a', 'x', '5')]],
  ['a name that is not seen', false, [create('a', 'x', '5'), absent('b', 'x')]],
  ['made exclusively twice', false, [create('a', 'x', '5'), create('b', 'x', '6')]],
  ['refused what exists', true, [create('a', 'x', '5'), refused(create('b', 'x', ''), 'EEXIST')]],
  ['refused what does not', false, [refused(create('b', 'x', ''), 'EEXIST')]],
  [
    'renamed over',
    true,
    [
      create('a', 'x', '5'),
      create('a', 'y', '6'),
      rename('b', 'x', 'y'),
      found('a', 'y', '5'),
      absent('a', 'x'),
      links('6', 0),
    ],
  ],
  [
    'gone in the middle of a rename',
    false,
    [create('a', 'x', '5'), create('a', 'y', '6'), rename('b', 'x', 'y'), absent('a', 'y')],
  ],
  [
    'exchanged',
    true,
    [
      create('a', 'x', '5'),
      create('a', 'y', '6'),
      rename('b', 'x', 'y', { how: 'exchange' }),
      found('a', 'y', '5'),
      found('a', 'x', '6'),
    ],
  ],
  [
    'two names',
    true,
    [
      create('a', 'x', '5'),
      link('b', '5', 'y'),
      links('5', 2),
      unlink('a', 'x'),
      links('5', 1),
      found('a', 'y', '5'),
    ],
  ],
  ['links that are not counted', false, [create('a', 'x', '5'), link('b', '5', 'y'), links('5', 1)]],
  ['a directory below itself', false, [mkdir('a', 'd', '2'), rename('b', 'd', 'x', { toDir: '2' })]],
  ['is refused', true, [mkdir('a', 'd', '2'), rename('b', 'd', 'x', { toDir: '2', error: 'EINVAL' })]],
  [
    'a directory that is not empty',
    false,
    [
      mkdir('a', 'd', '2'),
      create('a', 'x', '5', '2'),
      { kind: 'rmdir', session: 'b', dir: root, name: 'd', answer: {} },
    ],
  ],
  [
    'in a directory that is gone',
    true,
    [
      mkdir('a', 'd', '2'),
      { kind: 'rmdir', session: 'b', dir: root, name: 'd', answer: {} },
      refused(create('a', 'x', '', '2'), 'ENOENT'),
    ],
  ],
  [
    'made in a directory that is gone',
    false,
    [
      mkdir('a', 'd', '2'),
      { kind: 'rmdir', session: 'b', dir: root, name: 'd', answer: {} },
      create('a', 'x', '5', '2'),
    ],
  ],
  [
    'a list',
    true,
    [
      create('a', 'x', '5'),
      { kind: 'list', session: 'b', dir: root, answer: { entries: [{ name: 'x', ino: '5', is: 'file' }] } },
    ],
  ],
  [
    'a list that lacks a name',
    false,
    [create('a', 'x', '5'), { kind: 'list', session: 'b', dir: root, answer: { entries: [] } }],
  ],
  [
    'the last files go with their session',
    true,
    [create('a', 'x', '5'), create('a', 'y', '6'), ended('a'), found('b', 'x', '5'), absent('b', 'y')],
  ],
  [
    'in order',
    false,
    [create('a', 'x', '5'), create('a', 'y', '6'), ended('a'), absent('b', 'x'), found('b', 'y', '6')],
  ],
  [
    'not what others have seen',
    false,
    [create('a', 'x', '5'), found('b', 'x', '5'), ended('a'), absent('b', 'x')],
  ],
  ['nor what was synced', false, [create('a', 'x', '5'), synced('a'), ended('a'), absent('b', 'x')]],
  [
    'nor a directory that was synced',
    false,
    [mkdir('a', 'd', '2'), synced('a'), ended('a'), absent('b', 'd')],
  ],
  [
    'a directory goes with what is in it',
    true,
    [mkdir('a', 'd', '2'), create('a', 'x', '5', '2'), ended('a'), absent('b', 'd')],
  ],
  [
    'but not without it',
    false,
    [
      mkdir('a', 'd', '2'),
      create('a', 'x', '5', '2'),
      ended('a'),
      absent('b', 'd'),
      found('b', 'x', '5', '2'),
    ],
  ],
  [
    'a removed directory comes back, empty',
    true,
    [
      mkdir('a', 'd', '2'),
      create('a', 'x', '5', '2'),
      synced('a'),
      unlink('a', 'x', '2'),
      synced('a'),
      rmdir('a', 'd'),
      ended('a'),
      foundDir('b', 'd', '2'),
      absent('b', 'x', '2'),
    ],
  ],
  [
    'its removal stays, then so does what came before',
    false,
    [
      mkdir('a', 'd', '2'),
      create('a', 'y', '6'),
      synced('a'),
      unlink('a', 'y'),
      rmdir('a', 'd'),
      ended('a'),
      absent('b', 'd'),
      found('b', 'y', '6'),
    ],
  ],
  [
    'removals and renames go likewise, the last ones first',
    true,
    [
      create('a', 'x', '5'),
      create('a', 'y', '6'),
      synced('a'),
      rename('a', 'x', 'y'),
      unlink('a', 'y'),
      ended('a'),
      found('b', 'x', '5'),
      found('b', 'y', '6'),
      links('5', 1),
      links('6', 1),
    ],
  ],
  [
    'a rename that stays though the removal after it goes',
    true,
    [
      create('a', 'x', '5'),
      synced('a'),
      rename('a', 'x', 'y'),
      unlink('a', 'y'),
      ended('a'),
      found('b', 'y', '5'),
    ],
  ],
  [
    'not the other way round',
    false,
    [
      create('a', 'x', '5'),
      create('a', 'y', '6'),
      synced('a'),
      rename('a', 'x', 'z'),
      unlink('a', 'y'),
      ended('a'),
      absent('b', 'y'),
      found('b', 'x', '5'),
    ],
  ],
  [
    'nor a removal that others have seen',
    false,
    [
      create('a', 'x', '5'),
      synced('a'),
      unlink('a', 'x'),
      absent('b', 'x'),
      ended('a'),
      found('b', 'x', '5'),
    ],
  ],
  [
    'nor a removal that was synced',
    false,
    [create('a', 'x', '5'), unlink('a', 'x'), synced('a'), ended('a'), found('b', 'x', '5')],
  ],
  [
    'nor what was made before something that waits for the master',
    false,
    [create('a', 'x', '5'), link('a', '5', 'y'), ended('a'), absent('b', 'x')],
  ],
]

for (const [name, right, ops] of names)
  test(`names, ${right ? 'right' : 'wrong'}: ${name}`, t => {
    t.is(isFine(namesModel(root), inOrder(...ops)), right)
  })

test('what an unanswered call made shows its number later, and only one', t => {
  const made: Happening<NamesOp>[] = [
    {
      kind: 'call',
      id: 100,
      op: { kind: 'create', id: 9, session: 'a', dir: root, name: 'x', exclusive: true, answer: undefined },
    },
    { kind: 'end', id: 100 },
  ]
  const then = (...ops: NamesOp[]) => isFine(namesModel(root), [...made, ...inOrder(...ops)])
  t.true(then(found('b', 'x', '7'), links('7', 1)))
  t.true(then(absent('b', 'x')))
  t.false(then(found('b', 'x', '7'), found('b', 'x', '8')))
  t.false(then(absent('b', 'x'), found('b', 'x', '7')))
  // By who has it open, and was not told under which name.
  t.true(then(links('7', 1), found('b', 'x', '7')))
  t.false(then(links('7', 1), found('b', 'x', '8')))
  t.false(then(links('7', 2)))
  t.false(then(absent('b', 'x'), links('7', 1)))
  t.true(then(link('b', '7', 'y'), links('7', 2), found('b', 'x', '7')))
  t.false(then(absent('b', 'x'), link('b', '7', 'y')))
})

// ---- locks

const lock = (owner: string, taken = true, exclusive = true): LockOp => ({
  kind: 'lock',
  owner,
  session: owner.slice(0, 1),
  exclusive,
  taken,
})
const unlock = (owner: string): LockOp => ({ kind: 'unlock', owner })

const locks: readonly (readonly [string, boolean, readonly LockOp[]])[] = [
  ['one after the other', true, [lock('a1'), unlock('a1'), lock('b1')]],
  ['two at once', false, [lock('a1'), lock('b1')]],
  ['busy', true, [lock('a1'), lock('b1', false), unlock('a1'), lock('b1')]],
  ['busy for nothing', false, [lock('b1', false)]],
  ['shared', true, [lock('a1', true, false), lock('b1', true, false), lock('c1', false)]],
  ['after the death of who had it', true, [lock('a1'), { kind: 'death', session: 'a' }, lock('b1')]],
  ['after the death of another', false, [lock('a1'), { kind: 'death', session: 'c' }, lock('b1')]],
]

for (const [name, right, ops] of locks)
  test(`locks, ${right ? 'right' : 'wrong'}: ${name}`, t => {
    t.is(isFine(lockModel, inOrder(...ops)), right)
  })

// ---- modes

const chmod = (session: string, mode: number): ModeOp => ({ kind: 'chmod', session, mode })
const look = (session: string, found: number): ModeOp => ({ kind: 'look', session, found })
const lost = (session: string): ModeOp => ({ kind: 'death', session })

const modes: readonly (readonly [string, boolean, readonly ModeOp[]])[] = [
  ['a file that was made is as it was made', true, [look('a', 0o644)]],
  ['what was set is seen by others', true, [chmod('a', 0o600), look('b', 0o600)]],
  ['an old mode is not', false, [chmod('a', 0o600), look('b', 0o644)]],
  ['nor by who set it', false, [chmod('a', 0o600), chmod('a', 0o400), look('a', 0o600)]],
  ['a promise may be lost with its session', true, [chmod('a', 0o600), lost('a'), look('b', 0o644)]],
  ['it need not be', true, [chmod('a', 0o600), lost('a'), look('b', 0o600)]],
  [
    'the last of several promises may be lost',
    true,
    [chmod('a', 0o600), chmod('a', 0o400), lost('a'), look('b', 0o600)],
  ],
  [
    'what another has seen is not lost',
    false,
    [chmod('a', 0o600), look('b', 0o600), lost('a'), look('b', 0o644)],
  ],
  [
    'nor what another has changed',
    false,
    [chmod('a', 0o600), chmod('b', 0o400), lost('b'), look('c', 0o644)],
  ],
  ['the end of another session takes nothing', false, [chmod('a', 0o600), lost('b'), look('b', 0o644)]],
]
for (const [what, right, ops] of modes)
  test(`modes: ${what}`, t => {
    t.is(isFine(modeModel, inOrder(...ops)), right)
  })
