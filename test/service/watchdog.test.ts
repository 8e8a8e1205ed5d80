import test from 'ava'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLog } from '#src/service/log.ts'
import { Watchdog } from '#src/service/watchdog.ts'

test.serial('systemd hears of a daemon that answers itself, and of no other', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-watchdog-'))
  const told = join(folder, 'told')
  const path = process.env['PATH'] ?? ''
  process.env['PATH'] = `${folder}:${path}`
  process.env['NOTIFY_SOCKET'] = '/nowhere'
  t.teardown(() => {
    process.env['PATH'] = path
    delete process.env['NOTIFY_SOCKET']
    rmSync(folder, { recursive: true })
  })
  writeFileSync(join(folder, 'systemd-notify'), `#!/bin/sh\necho "$@" >> ${told}\n`)
  chmodSync(join(folder, 'systemd-notify'), 0o755)
  writeFileSync(told, '')
  const lines: string[] = []
  const log = createLog({ level: 'debug', format: 'text', write: line => void lines.push(line) })
  const pings = (): number => readFileSync(told, 'utf8').split('\n').length - 1
  const until = async (done: () => boolean): Promise<void> => {
    for (let waited = 0; !done() && waited < 20_000; waited += 20) await sleep(20)
    t.true(done())
  }

  let state: 'well' | 'failing' | 'silent' = 'well'
  let asked = 0
  const alive = async (): Promise<void> => {
    asked++
    if (state === 'failing') throw new Error('no thread')
    if (state === 'silent') await new Promise(() => undefined)
  }
  Watchdog.start(alive, log, {}).stop()
  Watchdog.start(alive, log, { WATCHDOG_USEC: '60000', WATCHDOG_PID: '1' }).stop()
  const watchdog = Watchdog.start(alive, log, { WATCHDOG_USEC: '60000', WATCHDOG_PID: String(process.pid) })
  await until(() => pings() >= 2)
  t.true(readFileSync(told, 'utf8').startsWith('WATCHDOG=1\n'))
  t.deepEqual(lines, [])

  state = 'failing'
  await until(() => lines.length > 0)
  t.regex(lines[0] ?? '', /WARN .*the daemon does not answer itself.*no thread/)

  state = 'silent'
  const before = asked
  await until(() => asked > before)
  const then = pings()
  await sleep(100)
  // Nor is a second question asked while the first has no answer.
  t.is(asked, before + 1)
  t.is(pings(), then)
  watchdog.stop()
})
