import test from 'ava'
import { silentLog } from '#src/core/env.ts'
import { isLoopback } from '#src/core/address.ts'
import { UsageError } from '#src/core/errors.ts'
import { checkReach } from '#src/cli/daemons/check-reach.ts'
import { type LogLine, recordingLog } from '../wire/grpc/harness.js'

const elsewhere = [
  '0.0.0.0:0',
  '10.0.0.1:9420',
  '[::]:0',
  '[fd00::1]:9420',
  'master.example:9420',
  '128.0.0.1:1',
]
const here = ['127.0.0.1:0', '127.1.2.3:9420', '[::1]:9420', 'localhost:9420']
const identity = { canServe: true }

test('loopback is what no other machine reaches', t => {
  for (const host of ['127.0.0.1', '127.255.0.1', '::1', 'localhost']) t.true(isLoopback(host), host)
  for (const host of [
    '0.0.0.0',
    '::',
    '127.0.0.1.example',
    'x127.0.0.1',
    '127.1',
    '::ffff:10.0.0.1',
    'localhost.example',
  ])
    t.false(isLoopback(host), host)
})

test('without TLS a daemon serves this machine only, and says in one line how to set up TLS', t => {
  for (const listen of here)
    t.false(checkReach({ listen, metrics: 'off', insecure: 'off' }, undefined, silentLog), listen)
  for (const listen of elsewhere)
    t.throws(() => checkReach({ listen, metrics: 'off', insecure: 'off' }, undefined, silentLog), {
      instanceOf: UsageError,
      message: /^[^\n]*without TLS[^\n]*cairn cluster init[^\n]*--insecure[^\n]*$/,
    })
})

test('with TLS everything is served anywhere, but by a certificate that is good for no server', t => {
  for (const listen of elsewhere)
    for (const page of [{ metrics: listen }, { metrics: 'off', console: listen }]) {
      t.false(checkReach({ listen, insecure: 'off', ...page }, identity, silentLog))
      for (const insecure of ['off', 'on'] as const)
        t.throws(() => checkReach({ listen, insecure, ...page }, { canServe: false }, silentLog), {
          message: /^[^\n]*join again[^\n]*$/,
        })
      t.throws(() => checkReach({ insecure: 'off', ...page }, undefined, silentLog), {
        message: /^[^\n]*without TLS[^\n]*cairn cluster init[^\n]*--insecure[^\n]*$/,
      })
    }
})

test('what is insecure is so only when told, and is logged at every start', t => {
  const lines: LogLine[] = []
  const log = recordingLog(lines)
  t.true(
    checkReach(
      { listen: '0.0.0.0:1', metrics: '0.0.0.0:2', console: '0.0.0.0:3', insecure: 'on' },
      undefined,
      log,
    ),
  )
  t.is(lines.filter(({ level, message }) => level === 'warn' && message.startsWith('INSECURE')).length, 3)
  t.false(checkReach({ listen: '127.0.0.1:1', metrics: 'off', insecure: 'on' }, undefined, log))
  t.is(lines.length, 3)
})
