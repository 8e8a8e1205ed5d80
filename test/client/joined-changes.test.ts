import test from 'ava'
import { JoinedChanges } from '#src/client/session/joined-changes.ts'
import { PendingCalls } from '#src/client/session/pending-calls.ts'
import type { SetAttr } from '#src/wire/gen/cairn/v1/session.ts'

const change = (ino: bigint, time: bigint, more: Partial<SetAttr>): SetAttr => ({
  ...{ ino, time, atime: undefined, mtime: undefined, ctime: undefined, killSuidgid: false },
  ...more,
})

function begin(first: SetAttr) {
  const joined = new JoinedChanges()
  const call = new PendingCalls().add({ $case: 'setAttr', value: first }, 0, () => undefined, true)
  const answer = Promise.resolve('answer')
  joined.note(call, first, answer)
  return { joined, call, answer }
}

test('changes of one inode are one, with the times that each has given', t => {
  const { joined, call, answer } = begin(change(7n, 10n, { uid: 1, gid: 2, atime: { now: true, value: 0n } }))
  t.is(joined.join(change(7n, 20n, { mode: 0o640, killSuidgid: true })), answer)
  t.is(joined.join(change(7n, 30n, { uid: 5, mtime: { now: false, value: 3n } })), answer)
  t.is(joined.join(change(8n, 40n, { mode: 0 })), undefined)
  t.deepEqual(call.op, {
    $case: 'setAttr',
    value: change(7n, 30n, {
      mode: 0o640,
      uid: 5,
      gid: 2,
      atime: { now: false, value: 10n },
      mtime: { now: false, value: 3n },
      killSuidgid: true,
    }),
  })
})

test('what changes the inode, or may, comes between', t => {
  const create = (parent: bigint) => ({
    ...{ parent, name: new Uint8Array(1), mode: 0, umask: 0, uid: 0, gid: 0, rdev: 0, ino: 99n, time: 0n },
    ...{ target: new Uint8Array(0), exclusive: true, tmpfile: false, writeLease: true },
  })
  const between = (passed: (joined: JoinedChanges) => void): boolean => {
    const { joined } = begin(change(7n, 10n, { uid: 1 }))
    passed(joined)
    return joined.join(change(7n, 20n, { gid: 1 })) === undefined
  }
  t.false(between(joined => joined.passed({ $case: 'create', value: create(8n) })))
  t.true(between(joined => joined.passed({ $case: 'create', value: create(7n) })))
  t.false(between(joined => joined.passed({ $case: 'setAttr', value: change(8n, 1n, { mode: 0 }) })))
  t.true(between(joined => joined.passed({ $case: 'setAttr', value: change(7n, 1n, { size: 0n }) })))
  t.true(between(joined => joined.passed({ $case: 'getAttr', value: { ino: 9n } })))
  t.true(between(joined => joined.clear()))
})
