import { Call } from '#src/wire/gen/cairn/v1/session.ts'
import type { HostileBytes } from '../support/hostile-bytes.ts'
import { sha } from './engine-fixture.ts'

/** Any operation: what is wrong in it must not trouble the compiler either. */
interface AnyOp {
  readonly $case: string
  readonly value: Readonly<Record<string, unknown>>
}

/** An encoded call of the right form with wrong values: inodes that are there, numbers at the edges, odd names. */
export function hostileCall(hostile: HostileBytes, id: bigint, inos: readonly bigint[]): Uint8Array {
  const ino = (): bigint => (hostile.below(6) === 0 ? u64() : hostile.pick(inos))
  const u64 = (): bigint => BigInt.asUintN(64, hostile.number())
  const s64 = (): bigint => BigInt.asIntN(64, hostile.number())
  const u32 = (): number => Number(BigInt.asUintN(32, hostile.number()))
  const near = (): bigint => BigInt(hostile.below(9000))
  const far = (): bigint => (hostile.below(4) === 0 ? u64() : near())
  const flag = (): boolean => hostile.below(2) === 0
  const kind = (): 0 | 1 | 2 => hostile.pick([0, 1, 2])
  const name = (): Buffer =>
    Buffer.from(hostile.pick(['f', 'd', 'l', 'x', '', '.', '..', 'a/b', 'n\0', 'n'.repeat(300)]))
  const xattr = (): Buffer =>
    Buffer.from(hostile.pick(['user.a', 'trusted.b', 'security.c', 'system.posix_acl_access', 'odd', '']))
  const block = (): Buffer =>
    hostile.below(4) === 0 ? hostile.bytes(hostile.below(40)) : sha(`x${hostile.below(3)}`)
  const time = () => hostile.pick([undefined, { now: true, value: 0n }, { now: false, value: s64() }])
  const lock = () => ({ kind: kind(), flock: flag(), owner: u64(), start: far(), end: far(), pid: u32() })
  const mode = (): number => hostile.pick([0o100644, 0o040755, 0o120777, 0o010600, 0o106755, 0, u32()])
  const some = <T>(make: () => T): T[] => Array.from({ length: hostile.below(3) }, make)
  const extent = () => ({
    offset: far(),
    length: far(),
    block: hostile.below(3),
    blockOffset: hostile.below(5000),
  })
  const receipt = () => ({
    node: u64(),
    generation: u64(),
    session: u64(),
    epoch: u64(),
    expiry: s64(),
    incarnation: u64(),
    mac: hostile.bytes(32),
  })
  const stored = () => ({
    key: hostile.below(2) === 0 ? 0n : u64(),
    id: block(),
    length: hostile.below(3000),
    receipts: some(receipt),
  })

  const op = hostile.pick<() => AnyOp>([
    () => ({ $case: 'lookup', value: { parent: ino(), name: name() } }),
    () => ({
      $case: 'readDir',
      value: { ino: ino(), after: u64(), limit: u32(), attrs: flag(), removing: false },
    }),
    () => ({
      $case: 'readTree',
      value: { inos: some(ino), limit: u32(), below: flag(), removing: flag() },
    }),
    () => ({ $case: 'readLink', value: { ino: ino() } }),
    () => ({ $case: 'getXattr', value: { ino: ino(), name: xattr() } }),
    () => ({ $case: 'getExtents', value: { ino: ino(), offset: far(), length: far(), limit: u32() } }),
    () => ({ $case: 'getExtentsOf', value: { inos: some(ino) } }),
    () => ({ $case: 'locate', value: { ids: some(block) } }),
    () => ({ $case: 'acquire', value: { ino: ino(), kind: kind(), open: flag() } }),
    () => ({
      $case: 'plan',
      value: {
        ino: ino(),
        blocks: some(() => ({ id: block(), length: u32(), ino: ino() })),
        exclude: some(u64),
        have: some(u64),
      },
    }),
    () => ({ $case: 'setLock', value: { ino: ino(), lock: lock(), wait: flag() } }),
    () => ({ $case: 'getLock', value: { ino: ino(), lock: lock() } }),
    () => ({
      $case: 'reclaim',
      value: {
        leases: some(() => ({ ino: ino(), kind: kind(), open: flag() })),
        locks: some(() => ({ ino: ino(), lock: lock() })),
        last: flag(),
      },
    }),
    () => ({ $case: 'reportDamage', value: { id: block(), node: u64(), what: 'x' } }),
    () => ({ $case: 'reserveSpace', value: { bytes: u64() } }),
    () => ({ $case: 'reserveInos', value: { count: u32() } }),
    () => ({
      $case: 'create',
      value: {
        parent: ino(),
        name: name(),
        mode: mode(),
        umask: u32(),
        uid: u32(),
        gid: u32(),
        rdev: u32(),
        target: name(),
        exclusive: flag(),
        tmpfile: flag(),
        time: s64(),
        writeLease: flag(),
        ino: hostile.below(3) === 0 ? ino() : 0n,
      },
    }),
    () => ({ $case: 'link', value: { ino: ino(), parent: ino(), name: name(), time: s64() } }),
    () => ({
      $case: 'unlink',
      value: {
        parent: ino(),
        name: name(),
        directory: flag(),
        expected: hostile.pick([0n, ino()]),
        open: flag(),
        time: s64(),
      },
    }),
    () => ({
      $case: 'rename',
      value: {
        parent: ino(),
        name: name(),
        newParent: ino(),
        newName: name(),
        mode: kind(),
        expected: hostile.pick([0n, ino()]),
        expectedTarget: hostile.pick([0n, ino()]),
        targetOpen: flag(),
        time: s64(),
      },
    }),
    () => ({
      $case: 'setAttr',
      value: {
        ino: ino(),
        mode: hostile.pick([undefined, mode()]),
        uid: hostile.pick([undefined, u32()]),
        size: hostile.pick([undefined, far()]),
        copies: hostile.pick([undefined, u32()]),
        atime: time(),
        mtime: time(),
        ctime: time(),
        killSuidgid: flag(),
        time: s64(),
      },
    }),
    () => ({
      $case: 'setXattr',
      value: {
        ino: ino(),
        name: xattr(),
        value: hostile.bytes(hostile.below(60)),
        mode: kind(),
        killSgid: flag(),
        time: s64(),
      },
    }),
    () => ({ $case: 'removeXattr', value: { ino: ino(), name: xattr(), time: s64() } }),
    () => ({
      $case: 'commit',
      value: {
        ino: ino(),
        extents: some(extent),
        blocks: some(stored),
        size: hostile.pick([undefined, far()]),
        mtime: time(),
        atime: time(),
        killSuidgid: flag(),
        time: s64(),
      },
    }),
    () => ({
      $case: 'cloneRange',
      value: {
        from: ino(),
        fromOffset: far(),
        to: ino(),
        toOffset: far(),
        length: far(),
        time: s64(),
        killSuidgid: flag(),
      },
    }),
    () => ({
      $case: 'punchRange',
      value: {
        ino: ino(),
        offset: far(),
        length: far(),
        grow: flag(),
        allocateOnly: flag(),
        time: s64(),
        killSuidgid: flag(),
      },
    }),
    () => ({ $case: 'closeOrphan', value: { ino: ino(), unsent: false } }),
    () => ({ $case: 'endSession', value: { session: u64(), epoch: u64(), secret: hostile.bytes(16) } }),
  ])()
  return Call.encode(Call.fromPartial({ id, op: op as never })).finish()
}
