/** A mount whose session has died and is not ended yet, as far as anybody knows: no other process can go on with that. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { handOver, type ServedMount, type Successor } from '#src/cli/handover/hand-over.ts'
import { handoverFormat } from '#src/cli/handover/messages.ts'
import { Files } from '#src/client/files.ts'
import { Session } from '#src/client/session/session.ts'
import { UsageError } from '#src/core/errors.ts'
import { ManualEnv } from '../client/manual-env.ts'
import { MemoryData } from '../client/memory-data.ts'
import { caseOf, ScriptedNetwork } from '../client/scripted-master.ts'

/** Takes the mount that it is given, and ends when it is told to go. */
const source = `
  const socket = new (require('node:net').Socket)({ fd: 3, readable: true, writable: true })
  socket.write(JSON.stringify({ say: 'prepared', format: ${String(handoverFormat)}, program: 'next' }) + '\\n')
  const lines = require('node:readline').createInterface({ input: socket })
  lines.on('line', line => {
    if (JSON.parse(line).say === 'go') process.exit()
    socket.write('{"say":"taken"}\\n')
  })
  lines.on('close', () => process.exit())`

test('while the end of a dead session is unanswered a mount is not handed over: it goes on, and is handed over later', async t => {
  const folder = mkdtempSync(path.join(tmpdir(), 'cairn-handover-'))
  const file = path.join(folder, 'successor.cjs')
  writeFileSync(file, source)
  const deviceFd = openSync('/dev/null', 'r')
  t.teardown(() => {
    closeSync(deviceFd)
    rmSync(folder, { recursive: true })
  })
  const env = new ManualEnv()
  const network = new ScriptedNetwork()
  const session = new Session(env, network, {
    ...{ address: 'master:1', host: 'here', mountpoint: '/mnt', pid: 1, program: 'test', zone: '' },
    ...{ readOnly: false, waitMs: 60_000, startWaitMs: 10_000 },
  })
  const opening = Files.open(
    env,
    session,
    (master, attributes) => new MemoryData(master, attributes, new Map()),
    { readOnly: false, atime: 'noatime', cache: { inodes: 1000, names: 1000 } },
  )
  await env.advance(0)
  network.last.welcome()
  const files = await opening

  const told: string[] = []
  const driver = {
    deviceFd,
    unanswered: [],
    state: { facts: {}, mount: {}, requests: [], notifications: [] },
    pause: () => told.push('pause') > 0,
    resume: () => told.push('resume'),
  }
  const terms = { master: 'master:1', path: '/mnt', options: [], export: '' }
  const mount = { terms, driver, session, files } as unknown as ServedMount
  let beats = 0
  /** Time passes, slowly until the other process has started, and the master answers heartbeats. */
  const attempt = async (): Promise<Successor | Error> => {
    const before = told.length
    const handing = handOver(mount, { node: process.execPath, nodeOptions: [], file }, env)
    let outcome: Successor | Error | undefined
    handing.then(
      successor => (outcome = successor),
      (thrown: unknown) => (outcome = thrown as Error),
    )
    while (outcome === undefined) {
      await sleep(5)
      await env.advance(told.length === before ? 5 : 100)
      const heard = network.last.items.filter(item => item.$case === 'heartbeat')
      for (const { value } of heard.slice(beats))
        network.last.deliver({ $case: 'heartbeat', value: { sentMs: value.sentMs, time: 0n } })
      beats = heard.length
    }
    return outcome
  }

  network.last.break()
  await env.advance(1000)
  const error = { errno: 116, message: 'gone' }
  network.last.deliver({ $case: 'refused', value: { error, sessionDead: true } })
  await env.advance(1000)
  network.last.welcome({ session: 6n })
  await env.advance(0)
  t.deepEqual(session.unanswered.length, 1)
  const refused = await attempt()
  t.true(refused instanceof UsageError)
  t.regex(
    (refused as UsageError).message,
    /^the mount goes on as it was, since another process could not take it: it does not come to rest: the master has not answered endSession/,
  )
  t.is(told.filter(word => word === 'pause').length, told.filter(word => word === 'resume').length)
  t.is(told.at(-1), 'resume', 'requests are read again')
  t.true(session.isAttached)

  // It works as before, and still wants its answer.
  const asked = session.call({ $case: 'closeOrphan', value: { ino: 9n, unsent: false } }, 'done')
  await env.advance(10)
  const call = (name: string) => network.last.calls.find(each => caseOf(each) === name)?.id ?? 0n
  network.last.reply(call('closeOrphan'), { $case: 'done', value: {} })
  await asked
  t.is(session.unanswered.length, 1)
  network.last.reply(call('endSession'), { $case: 'done', value: {} })
  await env.advance(10)
  t.deepEqual(session.unanswered, [])
  const successor = await attempt()
  if (successor instanceof Error) throw successor
  t.is(successor.program, 'next')
  await successor.go()
})
