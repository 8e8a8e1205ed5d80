import { errno } from '#src/core/errors.ts'
import {
  CreateExportRequest,
  ExportReply,
  ListExportsReply,
  ListExportsRequest,
  RemoveExportRequest,
  SetExportRequest,
} from '#src/wire/gen/cairn/v1/admin.ts'
import { type Hello, LeaseKind, LockKind } from '#src/wire/gen/cairn/v1/session.ts'
import { ChunkNode, EngineFixture, Mount, type Op, sha } from './engine-fixture.ts'
import { acquire, commit, create, getAttr, lookup, name, plan, unlink, writeFile } from './engine-ops.ts'

export const [laptop, tower, stranger] = ['1a', '2b', '3c'].map(id => id.repeat(16)) as [
  string,
  string,
  string,
]

export type Value<Case extends Op['$case']> = Extract<Op, { $case: Case }>['value']

const codeOf = (number: number): string =>
  Object.entries(errno).find(([, code]) => code === number)?.[0] ?? String(number)

/** The name of the error, or what came instead. */
export function fails(mount: Mount, op: Op): string {
  const { result } = mount.reply(op)
  return result?.$case === 'error' ? codeOf(result.value.errno) : (result?.$case ?? 'nothing')
}

export const rename = (parent: bigint, from: string, newParent: bigint, to: string): Op => ({
  $case: 'rename',
  value: {
    ...{ parent, name: name(from), newParent, newName: name(to), mode: 0, expected: 0n, expectedTarget: 0n },
    ...{ targetOpen: false, time: 0n, uid: 0, gid: 0 },
  },
})
export const link = (ino: bigint, parent: bigint, text: string): Op => ({
  $case: 'link',
  value: { ino, parent, name: name(text), time: 0n },
})
export const readDir = (ino: bigint): Op => ({
  $case: 'readDir',
  value: { ino, after: 0n, limit: 0, attrs: true, removing: false },
})
export const getExtents = (ino: bigint): Op => ({
  $case: 'getExtents',
  value: { ino, offset: 0n, length: 1n << 40n, limit: 0 },
})
export const setLock = (ino: bigint, kind: LockKind): Op => ({
  $case: 'setLock',
  value: { ino, lock: { kind, flock: false, owner: 1n, start: 0n, end: 9n, pid: 1 }, wait: false },
})
export const setAttr = (ino: bigint, change: Partial<Value<'setAttr'>>): Op => ({
  $case: 'setAttr',
  value: {
    ino,
    atime: undefined,
    mtime: undefined,
    ctime: undefined,
    killSuidgid: false,
    time: 0n,
    ...change,
  },
})
export const xattr = (ino: bigint, text: string): Op => ({
  $case: 'setXattr',
  value: { ino, name: name(text), value: name('v'), mode: 0, killSgid: false, time: 0n },
})
export const directory = (text: string, extra: Partial<Value<'create'>> = {}): Op =>
  create(text, { mode: 0o040755, writeLease: false, ...extra })

/** A cluster with a folder that is exported, and a secret outside of it. */
export class Cluster {
  readonly fixture: EngineFixture
  readonly nodes: readonly ChunkNode[]
  /** Sees everything. */
  readonly all: Mount
  readonly sub: bigint
  readonly outside: bigint
  readonly secret: bigint
  readonly secretId: Buffer

  private constructor(fixture: EngineFixture) {
    this.fixture = fixture
    this.nodes = ['n1', 'n2', 'n3'].map(each => new ChunkNode(fixture, each))
    for (const node of this.nodes) node.beat()
    fixture.identity = tower
    this.all = new Mount(fixture)
    this.sub = this.all.call(directory('sub', { mode: 0o041777, umask: 0 }), 'entry').attr?.ino ?? 0n
    this.outside = this.all.call(directory('outside'), 'entry').attr?.ino ?? 0n
    this.secret = this.all.call(create('secret', { parent: this.outside }), 'entry').attr?.ino ?? 0n
    this.secretId = writeFile(this.all, this.nodes, this.secret, 'the secret')
  }

  static async make(): Promise<Cluster> {
    return new Cluster(await EngineFixture.make())
  }

  export(request: Partial<CreateExportRequest> = {}): void {
    // It holds nothing that others would wait for.
    this.all.up({ $case: 'release', value: { inos: [1n, this.sub, this.outside, this.secret] } })
    const bytes = CreateExportRequest.encode(
      CreateExportRequest.fromPartial({
        name: 'sub',
        path: Buffer.from('/sub'),
        identities: [laptop],
        ...request,
      }),
    ).finish()
    const { code, message } = this.fixture.admin('createExport', bytes)
    if (code !== undefined) throw new Error(message)
  }

  set(request: Partial<SetExportRequest>): string | undefined {
    const whole = SetExportRequest.fromPartial({ name: 'sub', ...request })
    return this.fixture.admin('setExport', SetExportRequest.encode(whole).finish()).code
  }

  remove(): void {
    const bytes = RemoveExportRequest.encode({ name: 'sub' }).finish()
    const reply = ExportReply.decode(this.fixture.admin('removeExport', bytes).bytes ?? new Uint8Array(0))
    if (reply.export?.name !== 'sub') throw new Error('not removed')
  }

  list(): ListExportsReply {
    const { bytes } = this.fixture.admin('listExports', ListExportsRequest.encode({}).finish())
    return ListExportsReply.decode(bytes ?? new Uint8Array(0))
  }

  mount(identity: string | undefined, hello: Partial<Hello> = {}): Mount {
    this.fixture.identity = identity
    return new Mount(this.fixture, hello)
  }

  /** Whoever holds a lease gives it up, until there is an answer. */
  patiently(mount: Mount, op: Op, ...others: Mount[]): string {
    const id = mount.send(op)
    for (let rounds = 0; rounds < 5; rounds++) {
      const reply = mount.answer(id)
      if (reply?.result?.$case === 'error') return codeOf(reply.result.value.errno)
      if (reply?.result !== undefined) return reply.result.$case
      for (const other of others) other.yieldAll()
    }
    return 'nothing'
  }
}

/** A call of each kind that names the inode where it can, all else being inside. */
export const callsNaming = (ino: bigint, sub: bigint): readonly Op[] => [
  lookup('x', ino),
  getAttr(ino),
  readDir(ino),
  { $case: 'readLink', value: { ino } },
  { $case: 'getXattr', value: { ino, name: name('user.a') } },
  { $case: 'listXattr', value: { ino } },
  getExtents(ino),
  acquire(ino, 'read'),
  acquire(ino, 'write'),
  setLock(ino, LockKind.LOCK_KIND_WRITE),
  setLock(ino, LockKind.LOCK_KIND_UNLOCK),
  {
    $case: 'getLock',
    value: { ino, lock: { kind: 2, flock: false, owner: 1n, start: 0n, end: 9n, pid: 1 } },
  },
  { $case: 'settle', value: { ino } },
  { $case: 'closeOrphan', value: { ino, unsent: true } },
  {
    $case: 'reclaim',
    value: {
      leases: [{ ino, kind: LeaseKind.LEASE_KIND_WRITE, open: true, writing: true }],
      locks: [{ ino, lock: { kind: 2, flock: false, owner: 1n, start: 0n, end: 9n, pid: 1 } }],
      last: false,
    },
  },
  plan(ino, sha('new'), 1000),
  { $case: 'getExtentsOf', value: { inos: [ino] } },
  { $case: 'readTree', value: { inos: [ino], limit: 0, below: true, removing: true } },
  create('made', { parent: ino }),
  create('made', { parent: sub, ino }),
  create('', { parent: ino, tmpfile: true }),
  link(ino, sub, 'stolen'),
  unlink('x', { parent: ino }),
  unlink('file', { parent: sub, expected: ino }),
  rename(sub, 'file', ino, 'out'),
  rename(ino, 'secret', sub, 'in'),
  setAttr(ino, { mode: 0o777 }),
  setAttr(ino, { size: 0n }),
  xattr(ino, 'user.a'),
  { $case: 'removeXattr', value: { ino, name: name('user.a'), time: 0n } },
  commit(ino, { key: 0n, id: sha('new'), length: 1000, receipts: [] }, { extents: [], blocks: [], size: 0n }),
  {
    $case: 'punchRange',
    value: {
      ...{ ino, offset: 0n, length: 10n, grow: false, allocateOnly: false, time: 0n, killSuidgid: false },
    },
  },
  {
    $case: 'cloneRange',
    value: { from: ino, fromOffset: 0n, to: sub, toOffset: 0n, length: 9n, time: 0n, killSuidgid: false },
  },
]
