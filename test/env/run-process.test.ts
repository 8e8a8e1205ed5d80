import test from 'ava'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { must } from '#src/core/assert.ts'
import { FsError } from '#src/core/errors.ts'
import { runProcess } from '#src/env/run-process.ts'
import type { Job } from './process-fixture.ts'

const module = new URL('./process-fixture.js', import.meta.url)
const run = (job: Job) => runProcess<unknown>(module, job)

test('a job is done in a process of its own, and plain values cross both ways', async t => {
  const bytes = Buffer.from([1, 2, 3])
  const done = (await run({ what: 'double', number: 21n, bytes })) as { pid: number; bytes: Uint8Array }
  t.like(done, { number: 42n, isBuffer: true })
  t.true(Buffer.isBuffer(done.bytes))
  t.deepEqual([...done.bytes], [1, 2, 3])
  t.not(done.pid, process.pid)
})

test('what is thrown there has its errno here', async t => {
  const error = await t.throwsAsync(run({ what: 'fail' }), { instanceOf: FsError, message: 'no room for it' })
  t.is(error.code, 'ENOSPC')
})

test('one that ends without an answer is an error that names it', async t => {
  await t.throwsAsync(run({ what: 'die' }), {
    message: 'Process process-fixture ended without an answer: exit code 3',
  })
})

for (const how of ['killed', 'not waited for'] as const)
  test(`it ends with the process that waits for it, which is ${how}`, async t => {
    const middle = fork(module, { serialization: 'advanced', stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    const ended = once(middle, 'exit')
    middle.send({ job: { what: 'start-another' } satisfies Job })
    const [line] = (await once(must(middle.stdout, 'a pipe'), 'data')) as [Buffer]
    const pid = Number(line.toString())
    t.true(existsSync(`/proc/${String(pid)}`))
    // It ends by itself when nobody waits for its own answer.
    if (how === 'killed') middle.kill('SIGKILL')
    else middle.disconnect()
    await ended
    while (existsSync(`/proc/${String(pid)}`)) await sleep(20)
    t.pass()
  })
