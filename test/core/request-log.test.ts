import test from 'ava'
import { blockCallId, callId, RequestLog } from '#src/core/request-log.ts'

function logged(slowMs: number) {
  const clock = { now: 0 }
  const lines: { readonly message: string; readonly fields: object }[] = []
  const log = new RequestLog(
    (message, fields) => lines.push({ message, fields }),
    () => clock.now,
    slowMs,
  )
  return { clock, lines, log }
}

test('what a program waited for is named, and what was quick is not', t => {
  const { clock, lines, log } = logged(1000)
  log.request({ operation: 'plan', request: callId(7n, 1n), ms: 900 })
  clock.now = 5000
  log.request({ operation: 'plan', request: callId(7n, 2n), ms: 300 })
  log.request({ operation: 'commit', request: callId(7n, 3n), ms: 249 })
  log.request({ operation: 'put', request: blockCallId(7n, 3n), ms: 400, failure: 'EIO' }, { node: 'there' })
  clock.now = 5100
  log.waited('FSYNC', 1000, undefined, 9n)
  log.waited('FSYNC', 999, undefined, 9n)
  t.deepEqual(lines.slice(1), [
    { message: 'A request was slow', fields: { request: '7-2', operation: 'plan', ms: 300 } },
    {
      message: 'A request failed',
      fields: { request: '7-b3', operation: 'put', ms: 400, failure: 'EIO', node: 'there' },
    },
    {
      message: 'A program waited',
      fields: { operation: 'FSYNC', ms: 1000, ino: 9n, requests: '7-2 plan, 7-b3 put' },
    },
  ])
})

test('faults are told however quick they were; answers are no faults', t => {
  const { lines, log } = logged(1000)
  log.request({ operation: 'get', request: '1-b1', ms: 1, failure: 'ENOENT' })
  log.request({ operation: 'get', request: '1-b2', ms: 1, failure: 'ETIMEDOUT' })
  log.waited('READ', 1, 'ENOENT', 9n)
  log.waited('READ', 1, 'EIO', 9n)
  t.deepEqual(
    lines.map(({ message }) => message),
    ['A request failed', 'A program got an error'],
  )
})

test('where everything is slow a few lines say so, and how many were left out', t => {
  const { clock, lines, log } = logged(1000)
  for (let i = 0; i < 130; i++) log.request({ operation: 'get', request: `1-${i}`, ms: 2000 })
  t.is(lines.length, 50)
  clock.now = 20_000
  log.request({ operation: 'get', request: '1-200', ms: 2000 })
  t.like(lines.at(-1)?.fields, { request: '1-200', leftOut: 80 })
  clock.now = 40_000
  log.request({ operation: 'get', request: '1-201', ms: 2000 })
  t.false('leftOut' in (lines.at(-1)?.fields ?? {}))
})

test('who asks for everything gets everything', t => {
  const { lines, log } = logged(0)
  for (let i = 0; i < 200; i++) log.request({ operation: 'get', request: `1-${i}`, ms: 0 })
  t.is(lines.length, 200)
})
