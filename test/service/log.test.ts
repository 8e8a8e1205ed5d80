import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import { createLog, type LogLevel } from '#src/service/log.ts'

function logTo(format: 'json' | 'text', level: LogLevel = 'debug') {
  const lines: string[] = []
  return { lines, log: createLog({ level, format, write: line => void lines.push(line) }) }
}

const awkward = {
  ino: 2n ** 63n,
  bytes: Uint8Array.from([0xde, 0xad]),
  nested: { list: [1n, new Map([['a', 2n]])] },
  text: 'two\nlines "quoted"',
  nothing: undefined,
}

test('json lines carry every kind of field', t => {
  const { lines, log } = logTo('json')
  log.child({ service: 'master' }).warn('Something odd', awkward)
  const [line = ''] = lines
  const record = JSON.parse(line) as Record<string, unknown>
  t.is(record['level'], 'warn')
  t.is(record['msg'], 'Something odd')
  t.is(record['service'], 'master')
  t.is(record['ino'], '9223372036854775808')
  t.is(record['bytes'], 'dead')
  t.deepEqual(record['nested'], { list: ['1', [['a', '2']]] })
  t.is(record['text'], awkward.text)
})

test('text is one line a record, whatever the fields hold', t => {
  const { lines, log } = logTo('text')
  log.info('Something odd', { ...awkward, error: new TypeError('a\nbug') })
  const [line = ''] = lines
  t.is(line.split('\n').length, 2)
  t.true(line.endsWith('\n'))
  t.regex(
    line,
    /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO {2}Something odd ino=9223372036854775808 bytes=dead /,
  )
  t.regex(line, /text="two\\nlines \\"quoted\\""/)
  t.regex(line, /error="a\\nbug at .*log\.test/)
})

test('an answer is logged with its errno and its cause, without a stack', t => {
  const { lines, log } = logTo('json')
  log.error('Failed', { error: new FsError('ENOSPC', 'no room', { cause: new Error('the disk') }) })
  const { error } = JSON.parse(lines[0] ?? '') as { error: Record<string, unknown> }
  t.is(error['code'], 'ENOSPC')
  t.is(error['stack'], undefined)
  t.is((error['cause'] as { message: string }).message, 'the disk')
})

test('levels below the one asked for are not written', t => {
  const { lines, log } = logTo('text', 'warn')
  log.debug('no')
  log.info('no')
  log.warn('yes')
  log.error('yes')
  t.is(lines.length, 2)
})

test('a field that refers to itself does not end the process', t => {
  const { lines, log } = logTo('json')
  const loop: Record<string, unknown> = {}
  loop['self'] = loop
  log.info('Round', { loop })
  t.is(lines.length, 1)
})
