/** Whatever a mount of an export sends, nothing outside changes, and no answer is about it. */
import test from 'ava'
import { fsck } from '#src/master/fsck/fsck.ts'
import { HostileBytes, nested } from '../support/hostile-bytes.ts'
import { create } from './engine-ops.ts'
import { Cluster, directory, laptop } from './exports-fixture.ts'
import { hostileCall } from './hostile-calls.ts'

const rounds = 3000

/** All that the tables say of these inodes. */
function everythingOf(cluster: Cluster, inos: readonly bigint[]): string {
  const { db } = cluster.fixture.store
  const list = inos.join()
  const rows = [
    `SELECT * FROM inodes WHERE ino IN (${list})`,
    `SELECT * FROM dirents WHERE parent IN (${list}) OR ino IN (${list})`,
    `SELECT * FROM extents WHERE ino IN (${list})`,
    `SELECT * FROM xattrs WHERE ino IN (${list})`,
    `SELECT * FROM orphans WHERE ino IN (${list})`,
  ].map(query => db.prepare(query).safeIntegers().all())
  return JSON.stringify(rows, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))
}

for (const squash of ['none', 'root'])
  test(`of an export with squash ${squash}`, async t => {
    const cluster = await Cluster.make()
    const { all, sub, outside, secret, fixture, nodes } = cluster
    const inside = ['f', 'd', 'l'].map((name, index) => {
      const mode = [0o100666, 0o040777, 0o120777][index] ?? 0
      const op = name === 'd' ? directory(name, { parent: sub, mode, umask: 0 }) : undefined
      const extra = { parent: sub, mode, umask: 0, target: Buffer.from(name === 'l' ? 'f' : '') }
      return all.call(op ?? create(name, extra), 'entry').attr?.ino ?? 0n
    })
    all.up({ $case: 'release', value: { inos: inside } })
    cluster.export({ rules: { squash } })
    const hidden = [1n, outside, secret]
    const before = everythingOf(cluster, hidden)
    const hostile = new HostileBytes(7)
    const inos = [...hidden, sub, ...inside]
    let mount = cluster.mount(laptop)
    let answers = 0
    for (let round = 1; round <= rounds; round++) {
      if (mount.closed !== undefined) mount = cluster.mount(laptop)
      mount.raw(nested(1, nested(2, hostileCall(hostile, BigInt(round), inos))))
      mount.yieldAll(hostile.below(2) === 0)
      for (const item of mount.items) {
        if (item.$case === 'recall') t.false(hidden.includes(item.value.ino))
        if (item.$case !== 'reply') continue
        answers += 1
        const { leases, result } = item.value
        for (const { ino } of leases) t.false(hidden.includes(ino))
        if (result?.$case !== 'entry' && result?.$case !== 'attr' && result?.$case !== 'rename') continue
        t.false(hidden.includes(result.value.attr?.ino ?? 0n))
      }
      mount.items = []
      if (round % 50 === 0) fixture.pass(250, all, mount, ...nodes)
    }
    t.true(answers > rounds / 2, String(answers))
    t.is(everythingOf(cluster, hidden), before)
    t.deepEqual(all.recalls(), [], 'nobody was asked for a lease of anything outside')
    t.false(fixture.logs.includes('error operation failed unexpectedly'))
    t.deepEqual(fsck(fixture.store).problems, [])
  })
