/** A mount of an export, and everything that it may not see or do, whatever it says. */
import test from 'ava'
import { namedInodes } from '#src/master/exports/named-inodes.ts'
import type { ErrnoName } from '#src/core/errors.ts'
import { wireVersionDomains } from '#src/core/limits.ts'
import { CreateExportRequest, ReleaseIdentityRequest } from '#src/wire/gen/cairn/v1/admin.ts'
import { type Hello, LeaseKind, LockKind } from '#src/wire/gen/cairn/v1/session.ts'
import { type Mount, type Op, sha } from './engine-fixture.ts'
import { acquire, chmod, commit, create, getAttr, lookup, plan, unlink, writeFile } from './engine-ops.ts'
import {
  callsNaming,
  Cluster,
  directory,
  fails,
  getExtents,
  laptop,
  link,
  readDir,
  rename,
  setLock,
  stranger,
  tower,
  xattr,
} from './exports-fixture.ts'

test('a mount of an export has its folder as the root, and sees what is below', async t => {
  const cluster = await Cluster.make()
  cluster.all.call(create('seen', { parent: cluster.sub }), 'entry')
  cluster.export()
  const mount = cluster.mount(laptop)
  t.like(mount.items[0], { $case: 'welcome', value: { root: cluster.sub, readOnly: false, export: 'sub' } })
  const listed = cluster.patiently(mount, readDir(cluster.sub), cluster.all)
  t.is(listed, 'readDir')
  const { entries, parent } = mount.call(readDir(cluster.sub), 'readDir')
  t.deepEqual(
    entries.map(entry => Buffer.from(entry.name).toString()),
    ['seen'],
  )
  t.is(parent, cluster.sub, 'as the root of everything is its own parent')
  t.is(cluster.patiently(mount, lookup('seen', cluster.sub), cluster.all), 'entry')
  const folder = mount.call(directory('folder', { parent: cluster.sub }), 'entry').attr?.ino ?? 0n
  t.is(mount.call(readDir(folder), 'readDir').parent, cluster.sub)
  const file = mount.call(create('file', { parent: folder }), 'entry').attr?.ino ?? 0n
  t.is(fails(mount, getAttr(file)), 'attr')
  t.is(fails(mount, { $case: 'statFs', value: {} }), 'statFs')
  t.is(fails(cluster.all, getAttr(1n)), 'attr', 'who is in no export sees everything')
})

const show = (value: unknown): string =>
  JSON.stringify(value, (_, field: unknown) => {
    if (typeof field === 'bigint') return field.toString()
    return field
  })

test('an inode outside answers every call as one that never was, and stays as it is', async t => {
  const cluster = await Cluster.make()
  cluster.all.call(create('file', { parent: cluster.sub }), 'entry')
  cluster.export()
  const { sub, outside, secret } = cluster
  const mount = cluster.mount(laptop)
  const before = { ...cluster.all.call(getAttr(secret), 'attr').attr }
  const never = 1n << 40n
  t.deepEqual(
    [...new Set(callsNaming(never, sub).map(op => op.$case))].sort(),
    Object.entries(namedInodes)
      .flatMap(([call, fields]) => (Object.keys(fields).length > 0 ? [call] : []))
      .sort(),
    'every call that names an inode',
  )
  for (const hidden of [1n, outside, secret]) {
    const calls = callsNaming(hidden, sub)
    for (const [index, op] of calls.entries()) {
      const twin = callsNaming(never, sub)[index] ?? op
      const ids = [mount.send(op), mount.send(twin)]
      for (let round = 0; round < 3; round++) cluster.all.yieldAll()
      const [got, wanted] = ids.map(id => mount.answer(id))
      const plain = (reply: typeof got, ino: bigint): string =>
        show({ leases: reply?.leases, result: reply?.result }).replaceAll(
          new RegExp(`\\b${ino}\\b`, 'g'),
          'N',
        )
      if (op.$case === 'plan') t.is(got?.result?.$case, 'plan')
      else t.is(plain(got, hidden), plain(wanted, never), show(op))
      t.deepEqual(mount.recalls(), [], 'nor is anything asked of it')
    }
  }
  t.deepEqual({ ...cluster.all.call(getAttr(secret), 'attr').attr }, before)
  t.is(cluster.patiently(cluster.all, acquire(secret, 'write')), 'acquire', 'nobody else has a lease on it')
  t.is(cluster.patiently(cluster.all, setLock(secret, LockKind.LOCK_KIND_WRITE)), 'done', 'nor a lock')
  t.true(cluster.fixture.logs.includes('warn Denied'))
})

test('what leaves the folder is gone for its mounts, and what comes to it is there; of several names one will do', async t => {
  const cluster = await Cluster.make()
  cluster.export()
  const { sub, outside, all } = cluster
  const mount = cluster.mount(laptop)
  const folder = mount.call(directory('folder', { parent: sub }), 'entry').attr?.ino ?? 0n
  const deep = mount.call(create('deep', { parent: folder }), 'entry').attr?.ino ?? 0n
  const file = mount.call(create('file', { parent: sub }), 'entry').attr?.ino ?? 0n
  mount.call(acquire(deep, 'write'), 'acquire')

  t.is(cluster.patiently(all, rename(sub, 'folder', outside, 'folder'), mount), 'rename')
  t.deepEqual(
    mount.recalls().map(({ ino }) => ino),
    [deep],
    'what it had of what is below it gives up',
  )
  for (const ino of [folder, deep]) t.is(fails(mount, getAttr(ino)), 'ESTALE')
  t.is(cluster.patiently(all, rename(outside, 'folder', sub, 'back'), mount), 'rename')
  mount.yieldAll()
  for (const ino of [folder, deep]) t.is(cluster.patiently(mount, getAttr(ino), all), 'attr')

  t.is(cluster.patiently(all, link(file, outside, 'second'), mount), 'entry')
  t.is(cluster.patiently(all, unlink('file', { parent: sub }), mount), 'remove')
  t.is(cluster.patiently(mount, getAttr(file), all), 'ESTALE', 'its only name is outside')
  t.is(cluster.patiently(all, link(file, sub, 'again'), mount), 'entry')
  t.is(cluster.patiently(mount, getAttr(file), all), 'attr')
})

test('a file that is removed outside is not kept for who had it open when it was inside', async t => {
  const cluster = await Cluster.make()
  cluster.export()
  const { sub, outside, all, fixture } = cluster
  const mount = cluster.mount(laptop)
  const open = (text: string): bigint => {
    const ino = mount.call(create(text, { parent: sub }), 'entry').attr?.ino ?? 0n
    mount.call({ $case: 'acquire', value: { ino, kind: LeaseKind.LEASE_KIND_WRITE, open: true } }, 'acquire')
    return ino
  }
  const yielding = (op: Op): void => {
    const id = all.send(op)
    for (let round = 0; round < 4; round++) mount.yieldAll(true)
    t.not(all.answer(id)?.result?.$case, 'error')
  }
  const [moved, kept] = [open('moved'), open('kept')]
  yielding(rename(sub, 'moved', outside, 'moved'))
  yielding(unlink('moved', { parent: outside }))
  t.is(fixture.store.inodes.find(moved), undefined)
  t.is(fails(mount, getAttr(moved)), 'ESTALE')
  yielding(unlink('kept', { parent: sub }))
  t.is(
    fails(mount, getAttr(kept)),
    'attr',
    'one that was removed where it saw it is its own until it is closed',
  )
  t.is(fails(cluster.mount(laptop), getAttr(kept)), 'ESTALE', 'and no other mount of the export has it')
})

test('hashes and keys of blocks tell nothing of what is stored elsewhere', async t => {
  const cluster = await Cluster.make()
  cluster.export()
  const { sub, nodes, secretId, all, fixture } = cluster
  const mount = cluster.mount(laptop)
  const file = mount.call(create('file', { parent: sub }), 'entry').attr?.ino ?? 0n
  t.deepEqual(mount.call({ $case: 'locate', value: { ids: [secretId, sha('never')] } }, 'locate').blocks, [])
  const [known, unknown] = [secretId, sha('never')].map(
    id => mount.call(plan(file, id, 1000), 'plan').blocks[0],
  )
  t.is(known?.key, 0n, 'it must be sent')
  t.is(known?.targets.length, unknown?.targets.length)
  t.is(fails(mount, plan(file, secretId, 999)), 'plan', 'nor its length')
  const key = fixture.store.blocks.owner(secretId)?.key ?? 0n
  const claimed = mount.call(commit(file, { key, id: secretId, length: 1000, receipts: [] }), 'commit')
  t.deepEqual(claimed.again, [0], 'its key is no way to it')
  t.is(
    fails(mount, { $case: 'reportDamage', value: { id: secretId, node: nodes[0]?.node ?? 0n, what: 'x' } }),
    'done',
  )
  t.deepEqual(fixture.store.badCopies.all(), [])

  const ownId = writeFile(mount, nodes, file, 'own')
  const own = mount.call(getExtents(file), 'extents').blocks
  t.deepEqual(
    own.map(block => block.key),
    [0n],
  )
  t.is(mount.call({ $case: 'locate', value: { ids: [ownId] } }, 'locate').blocks.length, 1)
  const ahead = mount.call(
    { $case: 'getExtentsOf', value: { inos: [file, cluster.secret] } },
    'extentsOf',
  ).files
  t.deepEqual(
    ahead.map(({ ino, extents }) => [ino, extents?.blocks.map(block => block.key)]),
    [[file, [0n]]],
  )
  const { directories } = mount.call(
    {
      $case: 'readTree',
      value: { inos: [cluster.sub, cluster.outside], limit: 0, below: true, removing: false },
    },
    'readTree',
  )
  t.is(directories[0]?.ino, cluster.sub)
  t.is(directories[0]?.parent, cluster.sub, 'nothing is above')
  t.false(directories.some(({ ino }) => ino === cluster.outside))
  const pinned = mount.call(plan(file, ownId, 1000), 'plan').blocks[0]
  t.is(pinned?.targets.length, 0, 'what it stored itself it need not send again')
  t.not(pinned?.key, fixture.store.blocks.owner(ownId)?.key)
  const again = { key: pinned?.key ?? 0n, id: ownId, length: 1000, receipts: [] }
  t.deepEqual(mount.call(commit(file, again), 'commit').again, [])

  t.is(all.call(plan(file, secretId, 1000), 'plan').blocks[0]?.key, key, 'who sees everything has it')
})

/** The nodes that hold the block of a file, its copies as the database counts them, and what the commit said of it. */
function storedBy(cluster: Cluster, mount: Mount, file: bigint, text: string, sentTo: number) {
  const { nodes, fixture } = cluster
  const id = mount.idOf(text)
  const [planned] = mount.call(plan(file, id, 1000), 'plan').blocks
  const receipts = (planned?.targets ?? []).slice(0, sentTo).map(target => {
    const node = nodes.find(each => each.node === target.node)
    if (node === undefined) throw new Error('no such node')
    return { node, receipt: node.put(target, id, 1000), grant: target.grant }
  })
  const sent = receipts.map(({ receipt }) => receipt)
  const { again } = mount.call(commit(file, { key: 0n, id, length: 1000, receipts: sent }), 'commit')
  const held = mount.call(getExtents(file), 'extents').blocks[0]?.locations ?? []
  return {
    id: id.toString('hex'),
    key: fixture.store.blocks.owner(id)?.key,
    again,
    planned: planned?.targets.length,
    // A receipt for an instance that was there before names that one.
    fresh: receipts.every(({ receipt, grant }) => receipt.generation === grant?.generation),
    held: held.map(({ node }) => node).sort(),
    sent: sent.map(({ node }) => node).sort(),
  }
}

test('content that another export or a mount of everything has is new to an export: nothing that it is told differs', async t => {
  const cluster = await Cluster.make()
  cluster.export()
  cluster.export({ name: 'other', path: Buffer.from('/outside'), identities: [stranger] })
  const { sub, outside, fixture } = cluster
  const [one, two] = [cluster.mount(laptop), cluster.mount(stranger)]
  const file = (mount: Mount, parent: bigint, text: string): bigint => {
    const id = mount.send(create(text, { parent }))
    for (let round = 0; round < 4; round++) for (const other of [cluster.all, one, two]) other.yieldAll()
    const { result } = mount.answer(id) ?? {}
    return result?.$case === 'entry' ? (result.value.attr?.ino ?? 0n) : 0n
  }
  const [mine, theirs, never] = [
    file(one, sub, 'mine'),
    file(two, outside, 'theirs'),
    file(one, sub, 'never'),
  ]
  t.not(storedBy(cluster, two, theirs, 'shared text', 3).key, undefined)
  const live = () => fixture.store.blocks.live
  const before = live()
  const there = storedBy(cluster, one, mine, 'the secret', 3)
  const between = live()
  const unknown = storedBy(cluster, one, never, 'content of nobody', 3)
  const after = live()
  for (const { again, planned, fresh, held, sent } of [there, unknown]) {
    t.deepEqual(again, [])
    t.is(planned, 3)
    t.true(fresh)
    t.deepEqual(held, sent, 'copies where it sent them, and nowhere else')
  }
  t.deepEqual(
    [between.count - before.count, between.bytes - before.bytes],
    [after.count - between.count, after.bytes - between.bytes],
    'it takes as much room',
  )
  t.not(there.key, fixture.store.blocks.owner(cluster.secretId)?.key)
  const again = file(one, sub, 'again')
  const few = storedBy(cluster, one, again, 'shared text', 1)
  t.deepEqual(few.again, [0], "another's copies do not count for what it has not sent often enough")
})

test('exports that are shared have one block for the same content, which each still must send', async t => {
  const cluster = await Cluster.make()
  const shared = { rules: { dedup: 'shared' } }
  cluster.export(shared)
  cluster.export({ name: 'other', path: Buffer.from('/outside'), identities: [stranger], ...shared })
  const { sub, outside, fixture } = cluster
  const [one, two] = [cluster.mount(laptop), cluster.mount(stranger)]
  t.deepEqual(one.domain, two.domain)
  t.is(one.domain.length, 16, 'and is not what mounts of everything store in')
  const mine = one.call(create('mine', { parent: sub }), 'entry').attr?.ino ?? 0n
  const theirs = two.call(create('theirs', { parent: outside }), 'entry').attr?.ino ?? 0n
  const first = storedBy(cluster, one, mine, 'text', 3)
  const [planned] = two.call(plan(theirs, two.idOf('text'), 1000), 'plan').blocks
  t.is(planned?.key, 0n, 'to have it, it must be sent')
  t.is(storedBy(cluster, two, theirs, 'text', 3).key, first.key)
  t.is(fixture.store.blocks.byKey(first.key ?? 0n)?.refs, 2)

  t.is(cluster.set({ rules: { dedup: 'own' } }), undefined)
  fixture.identity = laptop
  one.reattach()
  t.deepEqual(one.domain, two.domain, 'a session keeps the one it began with: blocks may be on their way')
  const later = cluster.mount(laptop)
  t.notDeepEqual(later.domain, two.domain)
  fixture.restart()
  fixture.identity = laptop
  later.reattach()
  const own = later.domain
  t.is(own.length, 16)
  cluster.remove()
  cluster.export()
  t.notDeepEqual(cluster.mount(laptop).domain, own, 'an export of the same name has another one')
  t.is(cluster.set({ rules: { dedup: 'all' } }), 'EINVAL')
})

test('a mount of an older version is in no export, and one of before goes on; older nodes get no blocks of a domain', async t => {
  const cluster = await Cluster.make()
  cluster.export()
  const old = { versionMax: wireVersionDomains - 1 }
  const [refused] = cluster.mount(laptop, old).items
  t.true(refused?.$case === 'refused' && /update it/.test(refused.value.error?.message ?? ''))
  t.is(cluster.mount(tower, old).items[0]?.$case, 'welcome', 'who sees everything has no domain')
  const mount = cluster.mount(laptop)
  cluster.fixture.store.db.exec(`UPDATE sessions SET domain = x'' WHERE id = ${mount.session}`)
  cluster.fixture.restart()
  cluster.fixture.identity = laptop
  t.like(mount.reattach(), { $case: 'welcome', value: { session: mount.session } })
  t.is(mount.domain.length, 0)

  const other = await Cluster.make()
  other.export()
  const [oldest] = other.nodes
  oldest?.speak(wireVersionDomains - 1)
  const file = other.mount(laptop).call(create('file', { parent: other.sub }), 'entry').attr?.ino ?? 0n
  const targets = (from: Mount): bigint[] =>
    (from.call(plan(file, from.idOf('x'), 1000), 'plan').blocks[0]?.targets ?? []).map(({ node }) => node)
  t.is(targets(other.mount(laptop)).includes(oldest?.node ?? 0n), false)
  t.is(targets(other.all).includes(oldest?.node ?? 0n), true)
})

test('rules count at once for mounts that are there, and they are told', async t => {
  const cluster = await Cluster.make()
  cluster.export()
  const mount = cluster.mount(laptop)
  const { sub } = cluster
  const file = mount.call(create('file', { parent: sub }), 'entry').attr?.ino ?? 0n
  mount.call(acquire(file, 'write'), 'acquire')
  t.is(cluster.set({ rules: { readOnly: true } }), undefined)
  t.regex(mount.closed ?? '', /rules of the export have changed/)
  cluster.fixture.identity = laptop
  t.like(mount.reattach(), { $case: 'welcome', value: { session: mount.session, readOnly: true } })
  const changes: readonly Op[] = [
    create('new', { parent: sub }),
    chmod(file, 0o600),
    unlink('file', { parent: sub }),
    rename(sub, 'file', sub, 'other'),
    link(file, sub, 'other'),
    xattr(file, 'user.a'),
    plan(file, sha('new'), 1000),
    acquire(file, 'write'),
    { $case: 'reserveSpace', value: { bytes: 1n } },
    { $case: 'reserveInos', value: { count: 1 } },
    commit(file, { key: 0n, id: sha('new'), length: 1000, receipts: [] }),
  ]
  for (const op of changes) t.is(fails(mount, op), 'EROFS', op.$case)
  t.is(fails(mount, getAttr(file)), 'attr')
  t.is(cluster.set({ rules: { readOnly: false } }), undefined)
  cluster.fixture.identity = laptop
  t.like(mount.reattach(), { $case: 'welcome', value: { readOnly: false } })
  t.is(fails(mount, chmod(file, 0o600)), 'attr')

  cluster.remove()
  cluster.fixture.identity = laptop
  t.like(mount.reattach(), { $case: 'refused', value: { sessionDead: true } })
})

test('who is bound to an export has no other way in, neither when it is removed nor by another name', async t => {
  const cluster = await Cluster.make()
  const before = cluster.mount(laptop)
  cluster.export()
  t.not(before.closed, undefined, 'what it had of everything is over')
  const refused = (identity: string | undefined, hello: Partial<Hello> = {}): boolean =>
    cluster.mount(identity, hello).items[0]?.$case === 'refused'
  const root = (identity: string | undefined, hello: Partial<Hello> = {}): bigint => {
    const [first] = cluster.mount(identity, hello).items
    return first?.$case === 'welcome' ? first.value.root : 0n
  }
  cluster.export({ name: 'other', path: Buffer.from('/outside'), identities: [] })
  t.is(root(laptop, { export: 'sub' }), cluster.sub)
  t.true(refused(laptop, { export: 'other' }))
  t.true(refused(laptop, { export: 'none' }))
  t.is(root(stranger), 1n)
  t.is(root(stranger, { export: 'other' }), cluster.outside, 'who sees everything may see less')
  t.is(root(undefined, { export: 'other' }), cluster.outside)

  cluster.set({ add: [stranger], drop: [laptop] })
  t.true(refused(laptop), 'it was bound')
  t.is(root(stranger), cluster.sub)
  t.deepEqual(cluster.list().unbound, [laptop])
  cluster.set({ name: 'other', add: [stranger] })
  t.true(refused(stranger), 'which of two?')
  t.is(root(stranger, { export: 'other' }), cluster.outside)
  cluster.set({ add: ['*'] })
  t.is(root(undefined), cluster.sub, 'everybody whom no export names')
  t.true(refused(laptop))
  cluster.remove()
  for (const identity of [laptop, undefined, tower]) t.true(refused(identity))
  t.is(root(stranger), cluster.outside)
  cluster.fixture.restart()
  t.true(refused(laptop))
  for (const identity of [laptop, '*']) {
    const bytes = ReleaseIdentityRequest.encode({ identity }).finish()
    t.is(cluster.fixture.admin('releaseIdentity', bytes).code, undefined)
  }
  t.is(root(laptop), 1n)
})

test('an identity that joined with the token of an export is bound to it, whether it is there or not', async t => {
  const cluster = await Cluster.make()
  cluster.export({ identities: [] })
  const told = (exports: [string, string][]): void =>
    cluster.fixture.step({ kind: 'identities', good: [laptop, tower], exports: new Map(exports) })
  told([[laptop, 'sub']])
  const mount = cluster.mount(laptop)
  t.like(mount.items[0], { $case: 'welcome', value: { root: cluster.sub } })
  cluster.remove()
  t.not(mount.closed, undefined)
  t.like(cluster.mount(laptop).items[0], { $case: 'refused' })
  t.is(cluster.all.closed, undefined)
})

test('a session of an export goes on as one after a restart of the master, and claims nothing outside', async t => {
  const cluster = await Cluster.make()
  cluster.export()
  const { sub, secret, fixture } = cluster
  const mount = cluster.mount(laptop)
  const file = mount.call(create('file', { parent: sub }), 'entry').attr?.ino ?? 0n
  fixture.restart()
  fixture.identity = laptop
  t.like(mount.reattach(), { $case: 'welcome', value: { session: mount.session, reclaim: true, root: sub } })
  const lease = { kind: LeaseKind.LEASE_KIND_WRITE, open: true, writing: true }
  const leases = [secret, file].map(ino => ({ ino, ...lease }))
  mount.call({ $case: 'reclaim', value: { leases, locks: [], last: true } }, 'done')
  fixture.identity = tower
  cluster.all.reattach()
  cluster.all.call({ $case: 'reclaim', value: { leases: [], locks: [], last: true } }, 'done')
  t.is(fails(cluster.all, acquire(secret, 'write')), 'acquire')
  t.is(cluster.patiently(cluster.all, acquire(file, 'write')), 'nothing', 'but what is inside is its own')
  t.is(fails(mount, getAttr(secret)), 'ESTALE')
})

test('an operator is told what is wrong', async t => {
  const cluster = await Cluster.make()
  const tries = (request: Partial<CreateExportRequest>): string => {
    const whole = CreateExportRequest.fromPartial({ name: 'a', path: Buffer.from('/sub'), ...request })
    return cluster.fixture.admin('createExport', CreateExportRequest.encode(whole).finish()).code ?? 'done'
  }
  const wrong: readonly [Partial<CreateExportRequest>, ErrnoName][] = [
    [{ name: '../a' }, 'EINVAL'],
    [{ path: Buffer.from('/none') }, 'ENOENT'],
    [{ path: Buffer.from('/outside/secret') }, 'ENOTDIR'],
    [{ identities: ['laptop'] }, 'EINVAL'],
    [{ rules: { squash: 'some' } }, 'EINVAL'],
    [{ rules: { squash: 'all', anonUid: 0 } }, 'EINVAL'],
  ]
  for (const [request, code] of wrong) t.is(tries(request), code, show(request))
  t.is(tries({}), 'done')
  t.is(tries({}), 'EEXIST')
  t.is(cluster.set({ name: 'b' }), 'ENOENT')
  t.deepEqual(
    cluster.list().exports.map(({ name: each, path }) => [each, Buffer.from(path).toString()]),
    [['a', '/sub']],
  )
})

test('the master tells a node which of its files are blocks of a dedup domain by their content, never by an id alone', async t => {
  const cluster = await Cluster.make()
  cluster.export()
  const { sub, fixture, secretId } = cluster
  const [node, other] = cluster.nodes
  if (node === undefined || other === undefined) throw new Error('no node')
  const mount = cluster.mount(laptop)
  const ino = mount.call(create('mine', { parent: sub }), 'entry').attr?.ino ?? 0n
  storedBy(cluster, mount, ino, 'mine', 3)
  const [id, length] = [mount.idOf('mine'), 1000]
  const block = fixture.store.blocks.owner(id)
  t.is(block?.length, length)
  t.is(block?.domain.length, 16)
  const asks = (...unproven: { id: Uint8Array; sha256: Uint8Array; length: number }[]): string[] => {
    node.proven.length = 0
    node.unproven = unproven
    node.beat()
    return node.proven
  }
  const right = { id, sha256: sha('mine'), length }
  t.deepEqual(asks(right), [id.toString('hex')])
  t.deepEqual(other.proven, [], 'nobody else hears of it')
  t.deepEqual(asks({ ...right, sha256: sha('other') }), [], 'another content')
  t.deepEqual(asks({ ...right, sha256: id }), [])
  t.deepEqual(asks({ ...right, length: length + 1 }), [])
  t.deepEqual(asks({ ...right, id: sha('none') }), [], 'a block that nobody has')
  t.deepEqual(
    asks({ id: secretId, sha256: secretId, length: 1000 }),
    [],
    'one that the node proves by itself',
  )
  t.deepEqual(asks({ ...right, sha256: sha('other') }, right), [id.toString('hex')])
  t.is(node.closed, undefined)
  // What is no such list ends the connection.
  asks({ ...right, sha256: sha('mine').subarray(1) })
  t.regex(node.closed ?? '', /unproven\.sha256/)
  node.unproven = []
})
