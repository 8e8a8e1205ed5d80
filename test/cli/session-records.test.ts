import test, { type ExecutionContext } from 'ava'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SessionRecords } from '#src/cli/local/session-records.ts'
import { recordCluster as cluster, recordHost as host } from './session-record-fixture.ts'

const fixture = fileURLToPath(new URL('./session-record-fixture.js', import.meta.url))

function root(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-sessions-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

/** A process with a session of that number. */
async function process(t: ExecutionContext, folder: string, session: number): Promise<ChildProcess> {
  const child = spawn(globalThis.process.execPath, [fixture, folder, String(session)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await new Promise(resolve => child.stdout.once('data', resolve))
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

async function dead(records: SessionRecords, of: Uint8Array = cluster): Promise<bigint[]> {
  const found: bigint[] = []
  await records.endDead(of, async key => void found.push(key.session))
  return found
}

test('only sessions whose process has ended are dead: not those that run, and not those that are stopped', async t => {
  const folder = root(t)
  const running = await process(t, folder, 1)
  const stopped = await process(t, folder, 2)
  const killed = await process(t, folder, 3)
  stopped.kill('SIGSTOP')
  await kill(killed)
  const records = await SessionRecords.open(host, folder)
  records.note({ cluster, session: 4n, epoch: 1n, secret: Buffer.from('secret') })
  t.deepEqual(await dead(records), [3n])
  t.deepEqual(await dead(records), [], 'what was told is forgotten')
  await kill(running)
  t.deepEqual(await dead(records), [1n])
  records.close()
  t.is(readdirSync(folder).length, 1, 'the stopped one is left')
})

test('what the master could not be told of is kept; what belongs to another cluster or machine is left alone', async t => {
  const folder = root(t)
  await kill(await process(t, folder, 1))
  const records = await SessionRecords.open(host, folder)
  await t.throwsAsync(
    records.endDead(cluster, () => Promise.reject(new Error('away'))),
    { message: 'away' },
  )
  t.deepEqual(await dead(records, Buffer.from('another')), [])
  const elsewhere = await SessionRecords.open('another machine', folder)
  t.deepEqual(await dead(elsewhere), [])
  elsewhere.close()
  t.deepEqual(await dead(records), [1n])
  records.close()
  t.deepEqual(readdirSync(folder), [])
})

test('a record that a crash of the machine left damaged is no proof of anything', async t => {
  const folder = root(t)
  await kill(await process(t, folder, 1))
  const [name = ''] = readdirSync(folder)
  writeFileSync(join(folder, name, 'session.json'), '{"session":')
  const records = await SessionRecords.open(host, folder)
  t.deepEqual(await dead(records), [])
  records.close()
})
