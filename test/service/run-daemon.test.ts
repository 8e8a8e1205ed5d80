import test from 'ava'
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

interface Ended {
  readonly code: number | null
  readonly stderr: string
}

interface Daemon {
  readonly child: ChildProcess
  readonly up: Promise<void>
  readonly ended: Promise<Ended>
}

function daemon(what: string): Daemon {
  const module = fileURLToPath(new URL('./daemon-fixture.js', import.meta.url))
  const child = spawn(process.execPath, [module, what], { stdio: ['ignore', 'pipe', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString()
  })
  const up = new Promise<void>(resolve => child.stdout.once('data', () => resolve()))
  const ended = new Promise<Ended>(resolve => child.on('close', code => resolve({ code, stderr })))
  return { child, up, ended }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} stops a daemon in order`, async t => {
    const { child, up, ended } = daemon('run')
    await up
    child.kill(signal)
    t.is((await ended).code, 0)
  })
}

test('a second signal ends a daemon that does not stop', async t => {
  const { child, up, ended } = daemon('stuck')
  await up
  child.kill('SIGTERM')
  await new Promise(resolve => child.stderr?.once('data', resolve))
  child.kill('SIGTERM')
  t.is((await ended).code, 143)
})

test('what the operator did wrong is one line and exit code 2', async t => {
  const { code, stderr } = await daemon('usage').ended
  t.is(code, 2)
  t.is(stderr, 'cairn: no such folder\n')
})

for (const what of ['bug', 'timer-bug']) {
  test(`a ${what} is logged with its stack and exit code 70`, async t => {
    const { code, stderr } = await daemon(what).ended
    t.is(code, 70)
    const record = JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as { error: { stack: string } }
    t.regex(record.error.stack, /daemon-fixture/)
  })
}
