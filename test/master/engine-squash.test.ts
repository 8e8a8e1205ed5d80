/** Mounts whose users are not believed to be who they are: root in vain, and everybody as one. */
import test from 'ava'
import type { ExportRules } from '#src/wire/gen/cairn/v1/admin.ts'
import { LeaseKind, LockKind } from '#src/wire/gen/cairn/v1/session.ts'
import { type Mount, type Op, sha } from './engine-fixture.ts'
import { acquire, chmod, commit, create, getAttr, lookup, name, plan, unlink } from './engine-ops.ts'
import {
  Cluster,
  directory,
  fails,
  getExtents,
  laptop,
  link,
  readDir,
  rename,
  setAttr,
  setLock,
  tower,
  xattr,
} from './exports-fixture.ts'

const device = 0o020666
const nobody = 65_534
const other = { uid: 1000, gid: 1000 }

class Squashed {
  readonly cluster: Cluster
  readonly mount: Mount
  readonly sub: bigint

  private constructor(cluster: Cluster, files: Readonly<Record<string, Op>>, rules: ExportRules) {
    this.cluster = cluster
    this.sub = cluster.sub
    for (const [text, op] of Object.entries(files)) {
      const made = cluster.all.call(op, 'entry').attr?.ino ?? 0n
      this.inos.set(text, made)
    }
    cluster.all.up({ $case: 'release', value: { inos: [...this.inos.values()] } })
    cluster.export({ rules })
    this.mount = cluster.mount(laptop)
  }

  readonly inos = new Map<string, bigint>()

  static async make(
    rules: ExportRules,
    files: (sub: bigint) => Readonly<Record<string, Op>>,
  ): Promise<Squashed> {
    const cluster = await Cluster.make()
    return new Squashed(cluster, files(cluster.sub), rules)
  }

  ino(text: string): bigint {
    const found = this.inos.get(text)
    if (found === undefined) throw new Error(text)
    return found
  }
}

const roots = (sub: bigint): Readonly<Record<string, Op>> => ({
  private: create('private', { parent: sub, mode: 0o100600 }),
  public: create('public', { parent: sub, mode: 0o100644 }),
  shared: create('shared', { parent: sub, mode: 0o100666, umask: 0 }),
  closed: directory('closed', { parent: sub, mode: 0o040700 }),
  theirs: create('theirs', { parent: sub, mode: 0o100600, ...other }),
})

const writesTo = (ino: bigint): readonly Op[] => [
  acquire(ino, 'write'),
  commit(ino, { key: 0n, id: sha('x'), length: 1000, receipts: [] }),
  setAttr(ino, { size: 0n }),
  xattr(ino, 'user.a'),
  {
    $case: 'punchRange',
    value: { ino, offset: 0n, length: 1n, grow: false, allocateOnly: false, time: 0n, killSuidgid: false },
  },
]

test('root-squash: root is nobody in particular, and what only root may do nobody does', async t => {
  const squashed = await Squashed.make({ squash: 'root' }, roots)
  const { mount, sub, cluster } = squashed
  t.like(mount.items[0], { $case: 'welcome', value: { judged: true } })
  const [closed, secret, open, shared, theirs] = ['closed', 'private', 'public', 'shared', 'theirs'].map(
    each => squashed.ino(each),
  ) as [bigint, bigint, bigint, bigint, bigint]

  const made = mount.call(create('made', { parent: sub, uid: 0, gid: 0 }), 'entry').attr
  t.like(made, { uid: nobody, gid: nobody }, 'who claims to be root is not')
  t.like(mount.call(create('mine', { parent: sub, ...other }), 'entry').attr, other)

  for (const ino of [secret, open]) {
    for (const op of writesTo(ino)) t.is(fails(mount, op), 'EACCES', op.$case)
    for (const change of [
      { mode: 0o777 },
      { uid: 1000 },
      { gid: 1000 },
      { mtime: { now: false, value: 1n } },
    ])
      t.is(fails(mount, setAttr(ino, change)), 'EPERM')
    t.is(fails(mount, link(ino, sub, 'kept')), 'EPERM')
    t.is(fails(mount, setLock(ino, LockKind.LOCK_KIND_WRITE)), 'EACCES')
  }
  t.is(fails(mount, getExtents(secret)), 'EACCES')
  const ahead: Op = { $case: 'getExtentsOf', value: { inos: [secret, open] } }
  t.deepEqual(
    mount.call(ahead, 'extentsOf').files.map(({ ino }) => ino),
    [open],
  )
  const tree: Op = {
    $case: 'readTree',
    value: { inos: [closed, sub], limit: 0, below: true, removing: false },
  }
  t.deepEqual(
    mount.call(tree, 'readTree').directories.map(({ ino }) => ino),
    [sub],
    'what is in it has rights of its own',
  )
  t.is(fails(mount, setLock(secret, LockKind.LOCK_KIND_READ)), 'EACCES')
  t.is(fails(mount, setLock(open, LockKind.LOCK_KIND_READ)), 'done')
  t.is(fails(mount, getExtents(open)), 'extents')
  t.is(fails(mount, acquire(shared, 'write')), 'acquire')
  t.is(fails(mount, chmod(theirs, 0o640)), 'attr', 'some user there is the owner')
  t.is(fails(mount, setAttr(theirs, { uid: 0 })), 'EPERM')
  t.is(fails(mount, setAttr(theirs, { gid: 0 })), 'EPERM')

  t.is(fails(mount, readDir(closed)), 'EACCES')
  t.is(fails(mount, lookup('x', closed)), 'EACCES')
  t.is(fails(mount, create('x', { parent: closed })), 'EACCES')
  t.is(fails(mount, unlink('private', { parent: sub })), 'EPERM', "the folder's sticky bit: it is root's")
  t.is(fails(mount, rename(sub, 'private', sub, 'mine2')), 'EPERM')
  t.is(fails(mount, unlink('theirs', { parent: sub })), 'remove')
  t.is(fails(mount, create('dev', { parent: sub, mode: device, rdev: 5, writeLease: false })), 'EPERM')
  t.is(fails(mount, xattr(shared, 'trusted.a')), 'EPERM')
  t.is(fails(mount, xattr(shared, 'security.capability')), 'EPERM')

  const behind = cluster.all.send(create('behind', { parent: closed, mode: 0o100666, umask: 0 }))
  for (let round = 0; round < 3; round++) mount.yieldAll()
  const reply = cluster.all.answer(behind)?.result
  const ino = reply?.$case === 'entry' ? (reply.value.attr?.ino ?? 0n) : 0n
  cluster.all.up({ $case: 'release', value: { inos: [ino, closed] } })
  t.is(fails(mount, getAttr(ino)), 'EACCES', 'where no way leads no number does')
  t.is(fails(mount, getExtents(ino)), 'EACCES')
  t.deepEqual(mount.call({ $case: 'getExtentsOf', value: { inos: [ino] } }, 'extentsOf').files, [])
})

test('all-squash: everybody is one user, whatever is claimed', async t => {
  const anon = { anonUid: 3000, anonGid: 3001 }
  const mode = 0o100640
  const squashed = await Squashed.make({ squash: 'all', ...anon }, sub => ({
    own: create('own', { parent: sub, mode, uid: 3000, gid: 5 }),
    group: create('group', { parent: sub, mode, uid: 1000, gid: 3001 }),
    none: create('none', { parent: sub, mode, ...other }),
  }))
  const { mount, sub } = squashed
  const [own, group, none] = ['own', 'group', 'none'].map(each => squashed.ino(each)) as [
    bigint,
    bigint,
    bigint,
  ]
  for (const uid of [0, 1000, 3000])
    t.like(mount.call(create(`by${uid}`, { parent: sub, uid, gid: uid }), 'entry').attr, {
      uid: 3000,
      gid: 3001,
    })
  t.is(fails(mount, getExtents(own)), 'extents')
  t.is(fails(mount, acquire(own, 'write')), 'acquire')
  t.is(fails(mount, getExtents(group)), 'extents')
  for (const op of writesTo(group)) t.is(fails(mount, op), 'EACCES', op.$case)
  t.is(fails(mount, getExtents(none)), 'EACCES')
  t.is(fails(mount, chmod(none, 0o666)), 'EPERM')
  t.is(fails(mount, chmod(own, 0o600)), 'attr')
  t.is(fails(mount, setAttr(own, { gid: 3001 })), 'attr')
  t.is(fails(mount, setAttr(own, { gid: 1000 })), 'EPERM')
  t.is(fails(mount, unlink('none', { parent: sub })), 'EPERM')
  t.is(fails(mount, unlink('by0', { parent: sub })), 'remove')
})

test('an ACL counts as its users and groups, within its mask', async t => {
  const squashed = await Squashed.make({ squash: 'all', anonUid: 3000, anonGid: 3001 }, sub => ({
    user: create('user', { parent: sub, mode: 0o100600, ...other }),
    group: create('group', { parent: sub, mode: 0o100606, umask: 0, ...other }),
  }))
  const { mount, cluster } = squashed
  /** user::rw-, one named entry, group::---, mask, other::rw- or --- */
  const acl = (tag: 2 | 8, id: number, perm: number, mask: number, others: number): Buffer => {
    const named: [number, number, number] = [tag, perm, id]
    const rest: [number, number, number][] = [
      [1, 6, 0xffff_ffff],
      [4, 0, 0xffff_ffff],
      [16, mask, 0xffff_ffff],
      [32, others, 0xffff_ffff],
    ]
    const entries = [...rest, named].sort((a, b) => a[0] - b[0])
    const bytes = Buffer.alloc(4 + 8 * entries.length)
    bytes.writeUInt32LE(2, 0)
    for (const [index, [of, perms, who]] of entries.entries()) {
      bytes.writeUInt16LE(of, 4 + 8 * index)
      bytes.writeUInt16LE(perms, 6 + 8 * index)
      bytes.writeUInt32LE(who, 8 + 8 * index)
    }
    return bytes
  }
  const give = (ino: bigint, value: Buffer): void => {
    const op: Op = {
      $case: 'setXattr',
      value: { ino, name: name('system.posix_acl_access'), value, mode: 0, killSgid: false, time: 0n },
    }
    t.is(cluster.patiently(cluster.all, op, mount), 'attr')
    cluster.all.up({ $case: 'release', value: { inos: [ino] } })
  }
  const [user, group] = [squashed.ino('user'), squashed.ino('group')]
  t.is(fails(mount, getExtents(user)), 'EACCES')
  give(user, acl(2, 3000, 6, 4, 0))
  t.is(fails(mount, getExtents(user)), 'extents')
  t.is(fails(mount, acquire(user, 'write')), 'EACCES', 'the mask takes it')
  give(user, acl(2, 3000, 6, 6, 0))
  t.is(fails(mount, acquire(user, 'write')), 'acquire')
  t.is(fails(mount, acquire(group, 'write')), 'acquire', 'as all others')
  mount.up({ $case: 'release', value: { inos: [group] } })
  give(group, acl(8, 3001, 4, 6, 6))
  t.is(fails(mount, acquire(group, 'write')), 'EACCES', 'one of its group is none of the others')
})

test('who is squashed keeps no change back: no write lease on folders, and writing takes setuid', async t => {
  const squashed = await Squashed.make({ squash: 'root' }, sub => ({
    program: create('program', { parent: sub, mode: 0o104777, umask: 0, ...other }),
  }))
  const { mount, sub, cluster } = squashed
  const reply = mount.reply(create('made', { parent: sub, ...other }))
  const kinds = new Map(reply.leases.map(({ ino, kind }) => [ino, kind]))
  t.is(kinds.get(sub), LeaseKind.LEASE_KIND_READ)
  t.true([...kinds.values()].includes(LeaseKind.LEASE_KIND_WRITE), 'its data it may keep back')
  const program = squashed.ino('program')
  t.is(mount.call(setAttr(program, { size: 0n }), 'attr').attr?.mode, 0o100777)
  t.is(fails(mount, setLock(program, 2)), 'done')
  t.is(cluster.fixture.store.inodes.find(program)?.mode, 0o100777)
})

test('no setuid and no device nodes, for root neither', async t => {
  const squashed = await Squashed.make({ setuid: false, devices: false }, sub => ({
    file: create('file', { parent: sub }),
  }))
  const { mount, sub, cluster } = squashed
  const file = squashed.ino('file')
  t.like(mount.items[0], { $case: 'welcome', value: { noSetuid: true, noDevices: true, judged: false } })
  const refused: readonly Op[] = [
    create('a', { parent: sub, mode: 0o104755 }),
    create('a', { parent: sub, mode: 0o102755 }),
    chmod(file, 0o4755),
    chmod(file, 0o2755),
    xattr(file, 'security.capability'),
    create('a', { parent: sub, mode: device, rdev: 5, writeLease: false }),
    create('a', { parent: sub, mode: 0o060666, rdev: 0, writeLease: false }),
  ]
  for (const op of refused) t.is(fails(mount, op), 'EPERM', op.$case)
  const allowed: readonly Op[] = [
    create('fifo', { parent: sub, mode: 0o010666, writeLease: false }),
    directory('setgid', { parent: sub, mode: 0o042775 }),
    create('whiteout', { parent: sub, mode: 0o020000, rdev: 0, writeLease: false }),
  ]
  for (const op of allowed) t.is(fails(mount, op), 'entry', op.$case)
  cluster.fixture.identity = tower
  const free = cluster.patiently(cluster.all, chmod(file, 0o4755), mount)
  t.is(free, 'attr', 'elsewhere it is allowed')
  t.is(fails(mount, plan(file, sha('x'), 1000)), 'plan')
})
