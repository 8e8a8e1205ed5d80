import { OperationTimes } from '../../core/operation-times.ts'

/** What a node did for others since it started, for metrics. */
export class Traffic {
  /** `put`: one block through a chain; `put_small`: one message of whole blocks; `get`. */
  readonly times = new OperationTimes()
  receivedBytes = 0
  sentBytes = 0
}
