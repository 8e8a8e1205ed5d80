import test from 'ava'
import { Metrics } from '#src/service/metrics.ts'

test('counters, histograms and gauges are shown, each registry its own', async t => {
  const metrics = new Metrics()
  const puts = metrics.counter({ name: 'cairn_puts_total', help: 'Puts.', labels: ['result'] })
  puts.add(2, { result: 'ok' })
  puts.add(1, { result: 'failed' })
  metrics.histogram({ name: 'cairn_put_seconds', help: 'Time of a put.' }).observe(0.002)
  let blocks = 0
  metrics.gauge({ name: 'cairn_blocks', help: 'Blocks.' }, () => blocks)
  blocks = 7
  const text = await metrics.text()
  t.regex(text, /cairn_puts_total\{result="ok"\} 2/)
  t.regex(text, /cairn_put_seconds_bucket\{le="0.003"\} 1/)
  t.regex(text, /cairn_put_seconds_bucket\{le="0.001"\} 0/)
  t.regex(text, /cairn_blocks 7/)
  t.is((await new Metrics().text()).trim(), '')
})
