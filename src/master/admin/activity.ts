import { timeBoundsMs } from '../../core/operation-times.ts'
import type { ActivityReply } from '../../wire/gen/cairn/v1/admin.ts'
import type { EngineMeasures } from '../engine/io.ts'
import type { Turn } from '../engine/turn.ts'

const micros = (ms: number): bigint => BigInt(Math.round(ms * 1000))

export function activityOf({ now }: Turn, { calls, waiting }: EngineMeasures): ActivityReply {
  return {
    nowMs: BigInt(Math.floor(now)),
    boundsUs: timeBoundsMs.map(micros),
    operations: calls.map(({ operation, counts, sumMs, failures }) => ({
      operation,
      counts: counts.map(BigInt),
      sumUs: micros(sumMs),
      failures: failures.reduce((sum, [, count]) => sum + BigInt(count), 0n),
    })),
    waiting: BigInt(waiting),
  }
}
