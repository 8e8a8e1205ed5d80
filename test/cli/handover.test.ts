import test from 'ava'
import { ino } from '#src/core/ids.ts'
import type { Name } from '#src/core/name.ts'
import { lineOf, type MountState, parseSaid } from '#src/cli/handover/messages.ts'

const large = (1n << 64n) - 1n
const attr = {
  ...{ ino: ino(7n), mode: 0o100644, nlink: 0, uid: 1, gid: 2, rdev: 0, size: 2 ** 50, allocated: 4096 },
  ...{ atime: 1n, mtime: 2n, ctime: 3n, btime: 4n },
}

const state: MountState = {
  terms: { master: '10.0.0.1:9420', path: '/mnt/files', options: ['ro'], export: '' },
  session: {
    welcomed: {
      facts: {
        version: 1,
        cluster: Uint8Array.of(1, 2),
        blockBytes: 4096,
        copies: 3,
        minCopies: 2,
        dedupDomain: new Uint8Array(16).fill(3),
      },
      identity: { session: 5n, epoch: 1n },
      secret: Uint8Array.of(255),
      root: ino(1n),
      rules: { readOnly: false, judged: true, noSetuid: false, noDevices: true, noShortCircuit: true },
      leaseMs: 30_000,
      heartbeatMs: 5000,
    },
    incarnation: 2,
    lastId: 1234n,
    time: 1_700_000_000_000_000_000n,
  },
  files: {
    inodes: [
      {
        ino: ino(7n),
        lease: 'write',
        ...{ directory: false, removed: true, orphaned: true, forfeited: false, forgotten: false },
        attr,
        ownXattrs: new Map([['user.ä\xff' as Name, Uint8Array.of(0, 9)]]),
        losses: { count: 3, unheard: true, last: { code: 'ENOSPC', message: 'full' } },
      },
    ],
    handles: [
      {
        ...{ handle: 9n, ino: ino(7n), directIo: true, incarnation: 2, heard: 1 },
        how: {
          ...{ read: true, write: true, append: false, truncate: false },
          ...{ sync: false, noAtime: false, killSuidgid: false },
        },
      },
    ],
    directories: [{ handle: 3n, ino: ino(1n) }],
    locks: [
      {
        ino: ino(7n),
        holder: { owner: large, flock: false },
        handle: 9n,
        ranges: [{ kind: 'read', start: 0n, end: (1n << 63n) - 1n, pid: 77 }],
        lost: false,
      },
    ],
  },
  driver: {
    facts: {
      ...{ minor: 45, flags: 1n << 42n, maxReadahead: 131_072, maxWrite: 1 << 20 },
      ...{ directIoMmap: true, canInvalidateAllNames: true },
    },
    mount: { id: '40', device: '0:50', path: '/mnt/files', type: 'fuse.cairn', source: '10.0.0.1:9420' },
    requests: [Buffer.from('request')],
    notifications: [Uint8Array.of(1)],
  },
}

test('a state arrives as it was sent', t => {
  const arrived = parseSaid(lineOf({ say: 'state', state }), 'state').state
  t.deepEqual(arrived, {
    ...state,
    driver: { ...state.driver, requests: [Uint8Array.from(Buffer.from('request'))] },
  })
})

test('what is absent arrives as absent', t => {
  const [inode] = state.files.inodes
  if (inode === undefined) throw new Error('no inode')
  const plain = {
    ...inode,
    attr: undefined,
    ownXattrs: undefined,
    losses: { count: 0, unheard: false, last: undefined },
  }
  const files = { ...state.files, inodes: [plain] }
  const arrived = parseSaid(lineOf({ say: 'state', state: { ...state, files } }), 'state').state
  t.like(arrived.files.inodes[0], { ino: ino(7n), attr: undefined, ownXattrs: undefined })
})

/** Every place in a message, with what is there. */
function* placesOf(
  value: unknown,
  path: readonly (string | number)[] = [],
): Generator<readonly (string | number)[]> {
  if (path.length > 0) yield path
  if (typeof value !== 'object' || value === null) return
  for (const key of Object.keys(value))
    yield* placesOf((value as Record<string, unknown>)[key], [
      ...path,
      Array.isArray(value) ? Number(key) : key,
    ])
}

function changedAt(message: unknown, path: readonly (string | number)[], to: unknown): unknown {
  const copy = structuredClone(message)
  let at = copy as Record<string | number, unknown>
  for (const key of path.slice(0, -1)) at = at[key] as Record<string | number, unknown>
  const last = path.at(-1) ?? ''
  if (to === undefined) Reflect.deleteProperty(at, last)
  else at[last] = to
  return copy
}

/** Where there may be nothing: these fields are optional, or one of a list's. */
const maybe = new Set(['attr', 'ownXattrs', 'last', 'dedupDomain', 'noShortCircuit'])

test('a message with anything missing or of another kind is refused', t => {
  const message = JSON.parse(lineOf({ say: 'state', state })) as unknown
  let tried = 0
  for (const path of placesOf(message)) {
    const last = path.at(-1)
    const within = path.some(key => key === 'ownXattrs')
    for (const to of [undefined, null, { strange: 1 }, -1, 'no']) {
      // A list may be shorter, and text be any.
      if (to === undefined && (typeof last === 'number' || maybe.has(String(last)))) continue
      const texts = ['terms', 'message', 'mount', 'path', 'id', 'device', 'type', 'source']
      if (to === 'no' && (within || path.some(key => texts.includes(String(key))))) continue
      const line = JSON.stringify(changedAt(message, path, to))
      t.throws(
        () => parseSaid(line, 'state'),
        { name: 'UsageError' },
        `${path.join('.')}: ${JSON.stringify(to)}`,
      )
      tried++
    }
  }
  t.true(tried > 300, String(tried))
})

test('what is not expected is refused, with the reason where there is one', t => {
  t.throws(() => parseSaid('{"say":"taken"}', 'go'), { message: "it said 'taken', not 'go'" })
  t.throws(() => parseSaid('{"say":"refused","why":"no room"}', 'prepared'), { message: 'no room' })
  t.throws(() => parseSaid('{"say":"hello"}', 'prepared'), { message: /malformed/ })
  t.throws(() => parseSaid('nonsense', 'prepared'), { message: /no JSON/ })
  // A newer program may have more to say before the formats were compared.
  t.is(parseSaid('{"say":"prepared","format":2,"program":"2.0.0","more":1}', 'prepared').format, 2)
})
