import test from 'ava'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLog } from '#src/service/log.ts'
import { notifySystemd } from '#src/service/notify-systemd.ts'

test.serial('systemd is told by its own tool, only where it asked, and a failure is a warning', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-notify-'))
  const told = join(folder, 'told')
  const tool = join(folder, 'systemd-notify')
  const path = process.env['PATH'] ?? ''
  const lines: string[] = []
  const log = createLog({ level: 'debug', format: 'text', write: line => void lines.push(line) })
  t.teardown(() => {
    process.env['PATH'] = path
    delete process.env['NOTIFY_SOCKET']
    rmSync(folder, { recursive: true })
  })
  writeFileSync(tool, `#!/bin/sh\necho "$@" >> ${told}\n`)
  chmodSync(tool, 0o755)
  writeFileSync(told, '')
  process.env['PATH'] = `${folder}:${path}`

  delete process.env['NOTIFY_SOCKET']
  await notifySystemd('ready', log)
  t.is(readFileSync(told, 'utf8'), '')

  process.env['NOTIFY_SOCKET'] = '/nowhere'
  await notifySystemd('ready', log)
  t.is(readFileSync(told, 'utf8'), `READY=1 --pid=${process.pid}\n`)
  t.deepEqual(lines, [])

  writeFileSync(tool, '#!/bin/sh\necho "no option $1" >&2\nexit 1\n')
  await notifySystemd('stopping', log)
  process.env['PATH'] = '/nowhere'
  await notifySystemd('stopping', log)
  t.is(lines.length, 2)
  t.regex(lines[0] ?? '', /no option STOPPING=1/)
  for (const line of lines) t.regex(line, /WARN {2}Cannot notify systemd state="STOPPING=1"/)
})
