import { LeaseKind } from '#src/wire/gen/cairn/v1/session.ts'
import { type ChunkNode, type Mount, type Op } from './engine-fixture.ts'

export const name = (text: string): Uint8Array => Buffer.from(text)

type Value<Case extends Op['$case']> = Extract<Op, { $case: Case }>['value']

export const create = (text: string, extra: Partial<Value<'create'>> = {}): Op => ({
  $case: 'create',
  value: {
    parent: 1n,
    name: name(text),
    mode: 0o100644,
    umask: 0o22,
    uid: 0,
    gid: 0,
    rdev: 0,
    target: new Uint8Array(0),
    exclusive: true,
    tmpfile: false,
    time: 0n,
    writeLease: true,
    ino: 0n,
    ...extra,
  },
})

export const lookup = (text: string, parent = 1n): Op => ({
  $case: 'lookup',
  value: { parent, name: name(text) },
})

export const unlink = (text: string, extra: Partial<Value<'unlink'>> = {}): Op => ({
  $case: 'unlink',
  value: { parent: 1n, name: name(text), directory: false, expected: 0n, open: false, time: 0n, ...extra },
})

export const acquire = (ino: bigint, kind: 'read' | 'write'): Op => ({
  $case: 'acquire',
  value: { ino, kind: kind === 'read' ? LeaseKind.LEASE_KIND_READ : LeaseKind.LEASE_KIND_WRITE, open: false },
})

export const chmod = (ino: bigint, mode: number): Op => ({
  $case: 'setAttr',
  value: { ino, mode, atime: undefined, mtime: undefined, ctime: undefined, killSuidgid: false, time: 0n },
})

export const getAttr = (ino: bigint): Op => ({ $case: 'getAttr', value: { ino } })

export const plan = (
  ino: bigint,
  id: Buffer,
  length: number,
  nodes: { exclude?: bigint[]; have?: bigint[] } = {},
): Op => ({
  $case: 'plan',
  value: { ino, blocks: [{ id, length, ino: 0n }], exclude: [], have: [], ...nodes },
})

export const commit = (
  ino: bigint,
  stored: Value<'commit'>['blocks'][number],
  extra: Partial<Value<'commit'>> = {},
): Op => ({
  $case: 'commit',
  value: {
    ino,
    extents: [{ offset: 0n, length: BigInt(stored.length), block: 0, blockOffset: 0 }],
    blocks: [stored],
    mtime: { now: true, value: 0n },
    atime: undefined,
    killSuidgid: false,
    append: false,
    pages: false,
    time: 0n,
    ...extra,
  },
})

/** Makes a file. Returns its inode. */
export function makeFile(mount: Mount, text: string): bigint {
  const ino = mount.call(create(text), 'entry').attr?.ino
  if (ino === undefined) throw new Error('no attributes')
  return ino
}

/** Writes a block of its own to a file, the whole way. Returns the block's id. */
export function writeFile(
  mount: Mount,
  nodes: readonly ChunkNode[],
  ino: bigint,
  content: string,
  onlyOn: readonly ChunkNode[] = nodes,
): Buffer {
  const id = mount.idOf(content)
  const length = 1000
  const targets = mount.call(plan(ino, id, length), 'plan').blocks[0]?.targets ?? []
  const receipts = targets.flatMap(target => {
    const node = onlyOn.find(other => other.node === target.node)
    return node === undefined ? [] : [node.put(target, id, length)]
  })
  const { again } = mount.call(commit(ino, { key: 0n, id, length, receipts }), 'commit')
  if (again.length > 0) throw new Error('again')
  return id
}
