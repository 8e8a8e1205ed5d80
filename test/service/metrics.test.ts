import test from 'ava'
import { OperationTimes } from '#src/core/operation-times.ts'
import { Metrics } from '#src/service/metrics.ts'

test('gauges, counters and operations are shown as they are when read', async t => {
  const metrics = new Metrics()
  let blocks = 0
  let fetched = 0
  metrics.gauge({ name: 'cairn_blocks', help: 'Blocks.' }, () => blocks)
  metrics.gauges({ name: 'cairn_node_up', help: 'Up.' }, () => [
    { labels: { node: '1', address: 'a "b"' }, value: 1 },
    { labels: { node: '2', address: 'c' }, value: 0 },
  ])
  metrics.counter({ name: 'cairn_bytes_total', help: 'Bytes.' }, () => fetched)
  const times = new OperationTimes()
  metrics.operations({ name: 'cairn_call', help: 'Calls.' }, () => times.rows())
  metrics.beforeRead(async () => {
    fetched++
  })
  blocks = 7
  times.observe('lookup', 0.05)
  times.observe('lookup', 0.1)
  times.observe('lookup', 2)
  times.observe('create', 20_000, 'EIO')
  const text = await metrics.text()
  const lines = text.split('\n')
  for (const line of [
    '# TYPE cairn_blocks gauge',
    'cairn_blocks 7',
    'cairn_node_up{node="1",address="a \\"b\\""} 1',
    'cairn_node_up{node="2",address="c"} 0',
    '# TYPE cairn_bytes_total counter',
    'cairn_bytes_total 1',
    '# TYPE cairn_call_seconds histogram',
    'cairn_call_seconds_bucket{le="0.00003",operation="lookup"} 0',
    'cairn_call_seconds_bucket{le="0.0001",operation="lookup"} 2',
    'cairn_call_seconds_bucket{le="0.001",operation="lookup"} 2',
    'cairn_call_seconds_bucket{le="0.003",operation="lookup"} 3',
    'cairn_call_seconds_bucket{le="+Inf",operation="lookup"} 3',
    'cairn_call_seconds_count{operation="lookup"} 3',
    'cairn_call_seconds_sum{operation="lookup"} 0.00215',
    'cairn_call_seconds_bucket{le="10",operation="create"} 0',
    'cairn_call_seconds_bucket{le="+Inf",operation="create"} 1',
    'cairn_call_errors_total{operation="create",error="EIO"} 1',
  ])
    t.true(lines.includes(line), `${line} in\n${text}`)
  t.regex(await metrics.text(), /^cairn_bytes_total 2$/m)
  t.is((await new Metrics().text()).trim(), '')
})

test('what does not answer is no metric', async t => {
  const metrics = new Metrics()
  metrics.beforeRead(async () => {
    throw new Error('the engine is gone')
  })
  await t.throwsAsync(metrics.text(), { message: 'the engine is gone' })
})
