import type { SessionUp, SessionUpItem } from '../../wire/gen/cairn/v1/session.ts'
import type { Op } from '../../wire/commands.ts'
import type { PendingCall, PendingCalls } from './pending-calls.ts'

/** A message has at most so many items, and ends after the one with which it reaches so many bytes. */
const itemsMax = 256
const bytesMax = 1 << 20

/** What waits to be sent on the present link: all of one turn goes out in one message. */
export class Outbox {
  readonly #pending: PendingCalls
  /** Answers to recalls, cancels and releases. They survive a broken link. */
  #control: SessionUpItem[] = []
  /** In the order in which they go. Another link begins anew with all that are pending. */
  #calls: PendingCall[] = []

  constructor(pending: PendingCalls) {
    this.#pending = pending
  }

  addControl(item: NonNullable<SessionUpItem['item']>): void {
    this.#control.push({ item })
  }

  addCall(call: PendingCall): void {
    this.#calls.push(call)
  }

  forgetCalls(): void {
    this.#calls = []
  }

  clear(): void {
    this.#control = []
    this.#calls = []
  }

  get callCount(): number {
    return this.#calls.length
  }

  /**
   * Everything as messages. Calls that were given up meanwhile are not sent. What a recall's answer gives back
   * was used by calls before it: they go first.
   */
  *take(): Generator<SessionUp> {
    const control = this.#control
    this.#control = []
    const calls = this.#calls
    this.#calls = []
    let items: SessionUpItem[] = []
    let bytes = 0
    for (const call of calls) {
      if (call.sent || !this.#pending.waits(call)) continue
      bytes += weight(call.op)
      items.push({ item: { $case: 'call', value: this.#pending.send(call) } })
      if (items.length < itemsMax && bytes < bytesMax) continue
      yield { items, acked: this.#pending.acked }
      items = []
      bytes = 0
    }
    items.push(...control)
    if (items.length > 0) yield { items, acked: this.#pending.acked }
  }
}

/** About how many bytes the large ones take. */
function weight(op: Op): number {
  switch (op.$case) {
    case 'commit':
      return 100 + op.value.extents.length * 30 + op.value.blocks.length * 500
    case 'plan':
      return 100 + op.value.blocks.length * 60
    case 'setXattr':
      return 400 + op.value.value.length
    default:
      return 400
  }
}
