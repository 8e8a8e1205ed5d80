import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import type { Op } from '#src/wire/commands.ts'
import type { LeaseHolder, RecallHow } from '#src/client/session/lease-holder.ts'
import { Session } from '#src/client/session/session.ts'
import { LeaseKind } from '#src/wire/gen/cairn/v1/session.ts'
import { ManualEnv, settle } from './manual-env.ts'
import { caseOf, type MasterEnd, ScriptedNetwork } from './scripted-master.ts'

class Holder implements LeaseHolder {
  readonly events: string[] = []
  dirtyBytes = 0
  traffic = { fetchedBytes: 0, storedBytes: 0 }
  kept: 'none' | 'read' | 'write' = 'none'
  leases: ReturnType<LeaseHolder['holdings']>['leases'] = []

  readonly held = new Set<bigint>()

  granted(ino: bigint, lease: string): void {
    this.events.push(`granted ${ino} ${lease}`)
  }

  holds(ino: bigint): boolean {
    return this.held.has(ino)
  }

  async recalled(ino: bigint, to: string, { removing }: RecallHow) {
    this.events.push(`recalled ${ino} to ${to}${removing ? ', removing' : ''}`)
    return { kept: this.kept, open: removing, writing: false }
  }

  distrust(): void {
    this.events.push('distrust')
  }

  sessionDied(): void {
    this.events.push('died')
  }

  holdings() {
    return { leases: this.leases, locks: [] }
  }
}

const mkdir: Op = { $case: 'closeOrphan', value: { ino: 9n, unsent: false } }
const stat: Op = { $case: 'getAttr', value: { ino: 9n } }
const lock: Op = {
  $case: 'setLock',
  value: { ino: 9n, lock: { kind: 2, flock: false, owner: 1n, start: 0n, end: 1n, pid: 1 }, wait: true },
}
const done = { $case: 'done' as const, value: {} }
const attr = {
  $case: 'attr' as const,
  value: {
    attr: {
      ino: 9n,
      mode: 0o100644,
      nlink: 1,
      uid: 0,
      gid: 0,
      rdev: 0,
      size: 0n,
      allocated: 0n,
      atime: 1n,
      mtime: 1n,
      ctime: 1n,
      btime: 1n,
    },
  },
}

const who = {
  address: 'master:1',
  host: 'here',
  mountpoint: '/mnt',
  pid: 1,
  program: 'test',
  zone: '',
  readOnly: false,
  waitMs: 60_000,
  startWaitMs: 10_000,
}

async function attached(more: { waitMs?: number } = {}) {
  const env = new ManualEnv()
  const network = new ScriptedNetwork()
  const holder = new Holder()
  const session = new Session(env, network, { ...who, ...more })
  const started = session.start(holder)
  await settle()
  network.last.welcome()
  await started
  return { env, network, holder, session }
}

/** Breaks the link and lets the session dial again. */
async function reconnected(env: ManualEnv, network: ScriptedNetwork): Promise<MasterEnd> {
  network.last.break(new FsError('ECONNREFUSED'))
  await env.advance(1000)
  return network.last
}

test('calls of one turn share a message and are acknowledged when answered', async t => {
  const { env, network, session } = await attached()
  const both = Promise.all([session.call(mkdir, 'done'), session.call(stat, 'attr')])
  await settle()
  const end = network.last
  t.deepEqual(end.frames.at(-1)?.items.length, 2)
  t.deepEqual(
    end.calls.map(call => call.id),
    [1n, 2n],
  )
  t.is(end.acked, 0n)
  end.reply(2n, attr)
  end.reply(1n, done)
  await both
  await env.advance(6000)
  t.is(end.acked, 2n)
  t.true(end.items.some(item => item.$case === 'heartbeat'))
})

test('what was unanswered is sent again with its id, and nothing that was answered', async t => {
  const { env, network, session } = await attached()
  const first = session.call(mkdir, 'done')
  const second = session.call(stat, 'attr')
  const third = session.call(mkdir, 'done')
  await settle()
  network.last.reply(1n, done)
  await first
  const end = await reconnected(env, network)
  t.is(end.hello.session, 5n)
  t.is(end.hello.epoch, 1n)
  t.is(Buffer.from(end.hello.secret).toString(), 'secret')
  t.is(end.calls.length, 0)
  end.welcome({ resumed: true })
  await settle()
  t.deepEqual(
    end.calls.map(call => call.id),
    [2n, 3n],
  )
  t.is(end.acked, 2n)
  end.reply(3n, done)
  end.reply(2n, attr)
  await Promise.all([second, third])
})

test('a dead session: sent commands are EIO, questions and unsent commands go on in the next', async t => {
  const { env, network, session, holder } = await attached()
  const { key } = session
  const sent = session.call(mkdir, 'done')
  const asked = session.call(stat, 'attr')
  await settle()
  network.last.break()
  const unsent = session.call(mkdir, 'done')
  await env.advance(1000)
  network.last.deliver({
    $case: 'refused',
    value: { error: { errno: 116, message: 'gone' }, sessionDead: true },
  })
  const error = await t.throwsAsync(sent, { instanceOf: FsError })
  t.is(error.code, 'EIO')
  t.true(holder.events.includes('died'))
  t.is(session.leaseLeftMs(), 0)
  await env.advance(1000)
  t.is(network.last.hello.session, 0n)
  network.last.welcome({ session: 6n })
  await settle()
  t.deepEqual(network.last.calls.map(caseOf), ['endSession', 'getAttr', 'closeOrphan'])
  const ended = network.last.calls[0]?.op
  t.like(ended, { value: { session: 5n, epoch: 1n } }, 'the master may wait for it')
  t.deepEqual(ended?.$case === 'endSession' && Buffer.from(ended.value.secret), Buffer.from(key.secret))
  for (const call of network.last.calls) network.last.reply(call.id, caseOf(call) === 'getAttr' ? attr : done)
  await Promise.all([asked, unsent])
  t.is(session.identity.session, 6n)
  t.is(session.incarnation, 2)
  t.is(holder.events.filter(event => event === 'died').length, 1)
})

test('another process goes on with a session that was left, with ids that were not used', async t => {
  const { env, network, session } = await attached()
  const asked = session.call(mkdir, 'done')
  await settle()
  network.last.reply(1n, done)
  await asked
  const before = network.last
  const state = session.suspend()
  t.true(before.closed)
  await env.advance(20_000)
  t.is(network.last, before, 'who has left it dials no more')

  const holder = new Holder()
  const successor = new Session(env, network, { ...who, pid: 2 }, state)
  const started = successor.start(holder)
  await settle()
  t.like(network.last.hello, { session: 5n, epoch: 1n, pid: 2 })
  t.is(network.last.acked, 1n)
  network.last.welcome({ resumed: true })
  await started
  t.is(successor.incarnation, session.incarnation)
  const more = successor.call(mkdir, 'done')
  await settle()
  t.deepEqual(
    network.last.calls.map(({ id }) => id),
    [2n],
  )
  network.last.reply(2n, done)
  await more
  t.deepEqual(holder.events, [])
})

test('a session that was left is gone on with by who left it, and what was asked meanwhile is sent', async t => {
  const { env, network, session } = await attached()
  session.suspend()
  const asked = session.call(stat, 'attr')
  await env.advance(1000)
  session.resume()
  await settle()
  t.is(network.last.hello.session, 5n)
  network.last.welcome({ resumed: true })
  await settle()
  t.deepEqual(
    network.last.calls.map(({ id }) => id),
    [1n],
  )
  network.last.reply(1n, attr)
  await asked
  await env.advance(6000)
  t.true(network.last.items.some(item => item.$case === 'heartbeat'))
})

test('what was posted ends with its session, also if it was not sent', async t => {
  const { env, network, session } = await attached()
  const sent = session.post(mkdir, 'done')
  session.hurry()
  await settle()
  t.deepEqual(network.last.calls.map(caseOf), ['closeOrphan'])
  const unsent = session.post(mkdir, 'done')
  network.last.break()
  await env.advance(1000)
  network.last.deliver({
    $case: 'refused',
    value: { error: { errno: 116, message: 'gone' }, sessionDead: true },
  })
  for (const lost of [sent, unsent]) t.is((await t.throwsAsync(lost, { instanceOf: FsError })).code, 'EIO')
  await env.advance(1000)
  network.last.welcome({ session: 6n })
  await settle()
  t.deepEqual(network.last.calls.map(caseOf), ['endSession'])
})

test('a commit ends with its session, also if it was not sent: what it stores was written under that', async t => {
  const { env, network, session } = await attached()
  network.last.break()
  const commit: Op = {
    $case: 'commit',
    value: {
      ...{ ino: 7n, extents: [], blocks: [], size: undefined, mtime: undefined, atime: undefined },
      ...{ killSuidgid: false, time: 1n, append: false, pages: false },
    },
  }
  const unsent = session.call(commit, 'commit')
  await env.advance(1000)
  network.last.deliver({
    $case: 'refused',
    value: { error: { errno: 116, message: 'gone' }, sessionDead: true },
  })
  t.is((await t.throwsAsync(unsent, { instanceOf: FsError })).code, 'EIO')
  await env.advance(1000)
  network.last.welcome({ session: 6n })
  await settle()
  t.deepEqual(network.last.calls.map(caseOf), ['endSession'])
})

test('the lease counts from the sending of the last heartbeat that was answered', async t => {
  const { env, network, session, holder } = await attached()
  await env.advance(5500)
  const beat = network.last.items.find(item => item.$case === 'heartbeat')
  t.truthy(beat)
  if (beat?.$case !== 'heartbeat') return
  const sentMs = beat.value.sentMs
  await env.advance(4000)
  network.last.deliver({ $case: 'heartbeat', value: { sentMs, time: 1_000_010_000_000n } })
  t.is(session.leaseLeftMs(), Number(sentMs) + 29_000 - env.nowMs)
  network.away = true
  network.last.break()
  await env.advance(26_000)
  t.is(session.leaseLeftMs(), 0)
  t.deepEqual(holder.events, ['distrust'])
})

test('a call waits for a master that is away, and only so long', async t => {
  const { env, network, session, holder } = await attached({ waitMs: 20_000 })
  const sent = session.call(mkdir, 'done')
  await settle()
  network.away = true
  network.last.break()
  const unsent = session.call(mkdir, 'done')
  const outcomes = Promise.allSettled([sent, unsent])
  await env.advance(21_000)
  const codes = (await outcomes).map(outcome =>
    outcome.status === 'rejected' && outcome.reason instanceof FsError ? outcome.reason.code : 'ok',
  )
  t.deepEqual(codes, ['EIO', 'ETIMEDOUT'])
  // The command that was sent keeps its place: its reply shows that what is cached may be wrong.
  network.away = false
  await env.advance(1000)
  network.last.welcome({ resumed: true })
  await settle()
  t.deepEqual(
    network.last.calls.map(call => call.id),
    [1n],
  )
  holder.events.length = 0
  network.last.reply(1n, done)
  t.deepEqual(holder.events, ['distrust'])
})

test('what was posted is sent when the master is back, however late; who waits for it is told that it is away', async t => {
  const { env, network, session } = await attached({ waitMs: 20_000 })
  const sent = session.post(mkdir, 'done')
  session.hurry()
  await settle()
  network.away = true
  network.last.break()
  const unsent = session.post(mkdir, 'done')
  const waiting = t.throwsAsync(session.patiently(Promise.all([sent, unsent])), { code: 'ETIMEDOUT' })
  await env.advance(21_000)
  await waiting
  await env.advance(100_000)
  network.away = false
  await env.advance(30_000)
  network.last.welcome({ resumed: true })
  await settle()
  t.deepEqual(
    network.last.calls.map(({ id, promised }) => [id, promised]),
    [
      [1n, true],
      [2n, true],
    ],
  )
  for (const id of [1n, 2n]) network.last.reply(id, done)
  await session.patiently(Promise.all([sent, unsent]))
})

test('after a restart of the master leases are reclaimed before anything else is sent', async t => {
  const { env, network, session, holder } = await attached()
  holder.leases = Array.from({ length: 4500 }, (_, i) => ({
    ino: BigInt(i + 1) as never,
    lease: 'read' as const,
    open: false,
    writing: false,
  }))
  const call = session.call(mkdir, 'done')
  await settle()
  const end = await reconnected(env, network)
  end.welcome({ reclaim: true })
  await settle()
  t.deepEqual(end.calls.map(caseOf), ['reclaim', 'reclaim', 'reclaim'])
  t.deepEqual(
    end.calls.map(({ op }) => (op?.$case === 'reclaim' ? [op.value.leases.length, op.value.last] : [])),
    [
      [2000, false],
      [2000, false],
      [500, true],
    ],
  )
  for (const { id } of [...end.calls]) end.reply(id, done)
  await settle()
  t.is(caseOf(end.calls.at(-1)), 'closeOrphan')
  t.is(end.calls.at(-1)?.id, 1n)
  end.reply(1n, done)
  await call
})

test('a master that refuses what is reclaimed is asked less and less often', async t => {
  const { env, network } = await attached()
  network.onDial = end => {
    end.welcome({ reclaim: true })
    setImmediate(() => {
      const error = { $case: 'error' as const, value: { errno: 5, message: 'no' } }
      for (const call of end.calls) if (caseOf(call) === 'reclaim') end.reply(call.id, error)
    })
  }
  const dials = network.ends.length
  network.last.break()
  await env.advance(20_000)
  const refused = network.ends.length - dials
  t.true(refused >= 20 && refused <= 50, `${refused} in 20 s`)
  network.onDial = end => end.welcome()
  await env.advance(2000)
  t.false(network.last.closed)
})

test('a recall is answered with what is kept', async t => {
  const { network, holder } = await attached()
  holder.kept = 'read'
  network.last.deliver({
    $case: 'recall',
    value: { id: 3n, ino: 7n, to: LeaseKind.LEASE_KIND_READ, removing: true, sharing: false },
  })
  await settle()
  t.deepEqual(holder.events, ['recalled 7 to read, removing'])
  t.deepEqual(network.last.items.at(-1), {
    $case: 'recallDone',
    value: { id: 3n, ino: 7n, kept: LeaseKind.LEASE_KIND_READ, open: true, writing: false },
  })
})

test('a lease that was given back is not taken from the reply to an older call', async t => {
  const { network, session, holder } = await attached()
  const old = session.call(stat, 'attr')
  await settle()
  session.release([9n as never])
  const fresh = session.call(stat, 'attr')
  await settle()
  const leases = [{ ino: 9n, kind: LeaseKind.LEASE_KIND_READ, alone: false }]
  network.last.reply(1n, attr, leases)
  await old
  await settle()
  t.deepEqual(holder.events, [])
  network.last.reply(2n, attr, leases)
  await fresh
  t.deepEqual(holder.events, ['granted 9 read'])
})

test('a lease is not taken for what an answer just before told without one', async t => {
  const grant = [{ ino: 9n, kind: LeaseKind.LEASE_KIND_READ, alone: false }]
  for (const held of [false, true]) {
    const { network, holder, session } = await attached()
    if (held) holder.held.add(9n)
    const calls = [1, 2, 3].map(() => session.call(stat, 'attr'))
    await settle()
    network.last.reply(1n, attr)
    network.last.reply(2n, attr, grant)
    // Both callers have their answers before this comes.
    await settle()
    network.last.reply(3n, attr, grant)
    await Promise.all(calls)
    t.deepEqual(holder.events, held ? ['granted 9 read', 'granted 9 read'] : ['granted 9 read'])
  }
})

test('a signal ends lock waits at the master, and calls while it is away; nothing else', async t => {
  const { env, network, session } = await attached()
  const abort = new AbortController()
  const waiting = session.call(lock, 'done', abort.signal)
  const asking = session.call(stat, 'attr', abort.signal)
  await settle()
  abort.abort()
  await settle()
  const cancelled = network.last.items.at(-1)
  t.deepEqual(cancelled, { $case: 'cancel', value: { id: 1n } })
  network.last.reply(1n, { $case: 'error', value: { errno: 4, message: '' } })
  t.is((await t.throwsAsync(waiting, { instanceOf: FsError })).code, 'EINTR')
  network.last.reply(2n, attr)
  await asking

  network.away = true
  network.last.break()
  await env.advance(10)
  const later = new AbortController()
  const unsent = session.call(mkdir, 'done', later.signal)
  later.abort()
  t.is((await t.throwsAsync(unsent, { instanceOf: FsError })).code, 'EINTR')
})

test('a call that was given up before it was sent is never sent', async t => {
  const { env, network, session } = await attached()
  const abort = new AbortController()
  const call = session.call(mkdir, 'done', abort.signal)
  abort.abort()
  t.is((await t.throwsAsync(call, { instanceOf: FsError })).code, 'EINTR')
  const late = session.call(mkdir, 'done', abort.signal)
  t.is((await t.throwsAsync(late, { instanceOf: FsError })).code, 'EINTR')
  await env.advance(6000)
  t.deepEqual(network.last.calls, [])
  t.is(network.last.acked, 2n)
})

test('a master that refuses, or is away, at the start is one error', async t => {
  const env = new ManualEnv()
  const network = new ScriptedNetwork()
  const options = {
    address: 'master:1',
    host: 'here',
    mountpoint: '/mnt',
    pid: 1,
    program: 'test',
    zone: '',
    readOnly: false,
    waitMs: 60_000,
    startWaitMs: 5000,
  }
  const refused = new Session(env, network, options).start(new Holder())
  await settle()
  network.last.deliver({
    $case: 'refused',
    value: { error: { errno: 22, message: 'no' }, sessionDead: false },
  })
  t.is((await t.throwsAsync(refused, { instanceOf: FsError })).message, 'no')

  network.away = true
  const away = new Session(env, network, options).start(new Holder())
  const outcome = t.throwsAsync(away, { instanceOf: FsError })
  await env.advance(7000)
  t.is((await outcome).code, 'ETIMEDOUT')
})

test('when the identity is revoked everything fails at once, and nobody is dialled any more', async t => {
  const { env, network, holder, session } = await attached()
  const sent = session.call(mkdir, 'done')
  await settle()
  const question = session.call(stat, 'attr')
  const ends = network.ends.length
  network.last.break(new FsError('EKEYREVOKED', 'the identity laptop is revoked'))
  await t.throwsAsync(sent, { code: 'EIO' })
  await t.throwsAsync(question, { code: 'EKEYREVOKED' })
  await t.throwsAsync(session.call(stat, 'attr'), { code: 'EKEYREVOKED' })
  t.deepEqual(holder.events, ['died'])
  t.is(session.leaseLeftMs(), 0)
  await env.advance(60_000)
  t.is(network.ends.length, ends)
  await session.close()
})

test('a mount that may not go on with what it shows fails at once: with another tree it would show a mixture', async t => {
  const refuse = (end: MasterEnd, code: number, sessionDead: boolean): void =>
    end.deliver({ $case: 'refused', value: { error: { errno: code, message: 'no' }, sessionDead } })
  for (const how of ['refused', 'another tree'] as const) {
    const { env, network, session } = await attached()
    t.is<bigint, bigint>(session.root, 1n)
    const again = await reconnected(env, network)
    refuse(again, 116, true)
    await env.advance(1000)
    t.is(network.last.hello.session, 0n)
    const asked = session.call(stat, 'attr')
    if (how === 'refused') refuse(network.last, 13, false)
    else network.last.welcome({ session: 6n, root: 57n })
    await t.throwsAsync(asked, { code: 'EKEYREVOKED' }, how)
    const ends = network.ends.length
    await env.advance(60_000)
    t.is(network.ends.length, ends, 'nobody is dialled any more')
    await session.close()
  }
})

test('what the export of a mount allows is known from each welcome', async t => {
  const { env, network, session } = await attached()
  t.deepEqual(session.rules, {
    readOnly: false,
    judged: false,
    noSetuid: false,
    noDevices: false,
    noShortCircuit: false,
  })
  const again = await reconnected(env, network)
  again.welcome({ resumed: true, readOnly: true, judged: true })
  t.deepEqual(session.rules, {
    readOnly: true,
    judged: true,
    noSetuid: false,
    noDevices: false,
    noShortCircuit: false,
  })
  network.last.break()
  await session.close()
})

test('a master that says nothing is dialled again', async t => {
  const { env, network } = await attached()
  const before = network.ends.length
  await env.advance(20_000)
  t.true(network.ends.length > before)
  t.is(network.last.hello.session, 5n)
})

test('closing says goodbye and fails what is left', async t => {
  const { network, session } = await attached()
  const call = session.call(stat, 'attr')
  await settle()
  const closing = session.close()
  t.is(network.last.items.at(-1)?.$case, 'goodbye')
  network.last.break()
  await closing
  t.is((await t.throwsAsync(call, { instanceOf: FsError })).code, 'EIO')
})
