import test from 'ava'
import { CopySurvey } from '#src/cli/copy-survey.ts'
import { ratesBetween, type Reading } from '#src/cli/top/rates.ts'
import { percentile } from '#src/core/operation-times.ts'
import { Flow } from '#src/master/nodes/flow.ts'
import { ActivityReply, InfoExtent, NodeStatus, StatusReply } from '#src/wire/gen/cairn/v1/admin.ts'

const reading = (
  nowMs: number,
  uptimeMs: number,
  operations: Record<string, number[]>,
  calls = 0,
): Reading => ({
  activity: ActivityReply.fromPartial({
    nowMs: BigInt(nowMs),
    boundsUs: [1000n, 10_000n],
    operations: Object.entries(operations).map(([operation, counts]) => ({
      operation,
      counts: counts.map(BigInt),
      sumUs: BigInt(counts.reduce((sum, count) => sum + count, 0) * 500),
      failures: 0n,
    })),
  }),
  status: StatusReply.fromPartial({
    uptimeMs: BigInt(uptimeMs),
    mounts: [{ session: 7n, calls: BigInt(calls) }],
  }),
})

test('rates are of what happened between two readings, busiest first', t => {
  const before = reading(1000, 500, { lookup: [10, 0, 0], create: [5, 5, 0] }, 20)
  const after = reading(3000, 2500, { lookup: [14, 0, 0], create: [5, 5, 10], mkdir: [0, 0, 0] }, 34)
  const { seconds, all, operations, callsOf } = ratesBetween(before, after)
  t.is(seconds, 2)
  t.is(all.perSecond, 7)
  t.is(all.meanMs, 0.5)
  t.deepEqual(
    operations.map(each => [each.operation, each.perSecond]),
    [
      ['create', 5],
      ['lookup', 2],
    ],
  )
  t.is(operations[0]?.p50Ms, 10)
  t.is(operations[1]?.p50Ms, 0.5)
  t.is(callsOf.get(7n), 7)
})

test('a master that started anew counts from zero', t => {
  const before = reading(100_000, 90_000, { lookup: [1000, 0, 0] }, 1000)
  const after = reading(101_000, 500, { lookup: [3, 0, 0] }, 3)
  const { all, callsOf } = ratesBetween(before, after)
  t.is(all.perSecond, 3)
  t.is(callsOf.get(7n), 3)
})

test('nothing has no percentiles', t => {
  t.is(percentile([0, 0, 0], [1, 10], 0.5), undefined)
  t.is(percentile([0, 4, 0], [1, 10], 0.5), 5.5)
  t.is(percentile([4, 0, 0], [1, 10], 1), 1)
  t.is(percentile([0, 0, 4], [1, 10], 0.99), 10)
})

test('a flow is what came between two heartbeats, and nothing across a new start or an absence', t => {
  const flow = new Flow()
  flow.note(1000, 5_000_000n, 100n)
  t.deepEqual([flow.inPerSecond, flow.outPerSecond], [0, 0])
  flow.note(6000, 10_000_000n, 100n)
  t.deepEqual([flow.inPerSecond, flow.outPerSecond], [1_000_000, 0])
  flow.note(11_000, 10n, 10n)
  t.deepEqual([flow.inBytes, flow.inPerSecond], [10n, 0])
  flow.note(12_000, 20n, 30n)
  t.deepEqual([flow.inPerSecond, flow.outPerSecond], [10, 20])
  flow.stop()
  t.is(flow.inPerSecond, 0)
  flow.note(50_000, 1000n, 1000n)
  t.is(flow.inPerSecond, 0)
})

test('each block counts once, and what hangs by one chunkserver is told', t => {
  const node = (id: bigint, state: string) => NodeStatus.fromPartial({ id, state })
  const survey = new CopySurvey([node(1n, 'up'), node(2n, 'down'), node(3n, 'refusing')])
  const extent = (blockKey: bigint, ...nodes: bigint[]) =>
    InfoExtent.fromPartial({ blockKey, blockLength: 10, locations: nodes.map(each => ({ node: each })) })
  survey.extent(extent(1n, 1n, 3n))
  survey.extent(extent(1n, 1n, 3n))
  survey.extent(extent(2n, 1n, 2n))
  survey.extent(extent(3n, 2n))
  t.like(survey.result(), {
    blocks: 3,
    unreachable: { blocks: 1, bytes: 10 },
    oneCopyUp: { blocks: 1, bytes: 10 },
  })
  t.deepEqual(survey.byNode.get(2n), { blocks: 2, bytes: 20 })
})
