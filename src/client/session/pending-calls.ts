import { FsError } from '../../core/errors.ts'
import { errorFromWire } from '../../wire/attr.ts'
import type { Call, Reply } from '../../wire/gen/cairn/v1/session.ts'
import { isCommand, type Op } from '../../wire/commands.ts'
import { oneofPresent } from '../../wire/validate.ts'
import type { Result } from '../ports.ts'

/**
 * Calls that the master has not answered, in the order of their ids, which is the order in which
 * they are sent again after a broken connection.
 *
 *            add                 send                  reply
 *   (caller) ───► waiting ──────► sent ────────────────► gone
 *                    │ abandon      │ abandon, a query ──► gone (a late reply is ignored)
 *                    ▼              │ abandon, a command ─► abandoned: sent again like others,
 *                   gone            ▼                      its reply shows that the cache may lie
 *
 * A command keeps its place until its reply is here, because only then may the master forget the
 * reply (`acked`), and because the same id must never carry another command.
 */
export interface PendingCall {
  readonly id: bigint
  /** Until it is sent, more may join it (JoinedChanges). */
  op: Op
  readonly command: boolean
  /** Promised to a program, under leases: it means nothing in another session, also if it was not sent. */
  readonly bound: boolean
  /** When it was made, Env clock. */
  readonly since: number
  sent: boolean
  /** The caller was told that the outcome is unknown. */
  abandoned: boolean
  /** A lock wait that a signal ended: the master is told, and told again after a broken connection. */
  cancelled: boolean
  readonly settle: (outcome: Result | FsError) => void
}

/** Queries that mean the same in another session; the others are bound to pins, space or locks of theirs. */
const timeless: ReadonlySet<Op['$case']> = new Set<Op['$case']>([
  'lookup',
  'getAttr',
  'readDir',
  'readTree',
  'readLink',
  'getXattr',
  'listXattr',
  'getExtents',
  'getExtentsOf',
  'locate',
  'statFs',
  'acquire',
  'getLock',
  // Of what the session held nothing is left; who waits for a lock goes on waiting.
  'setLock',
  'endSession',
])

const ofLocks: ReadonlySet<Op['$case']> = new Set<Op['$case']>(['setLock', 'getLock'])

export class PendingCalls {
  readonly #calls = new Map<bigint, PendingCall>()
  readonly #commands = new Set<bigint>()
  #lastId: bigint

  /** `lastId`: calls up to this one were made before, and answered. */
  constructor(lastId = 0n) {
    this.#lastId = lastId
  }

  get size(): number {
    return this.#calls.size
  }

  get lastId(): bigint {
    return this.#lastId
  }

  /** The oldest call without an answer that may bring a lease, if any: not of those that may wait for a lock for ever. */
  get firstGranting(): bigint | undefined {
    for (const { id, op } of this.#calls.values()) if (!ofLocks.has(op.$case)) return id
    return undefined
  }

  /** Every command up to this id is answered. */
  get acked(): bigint {
    for (const id of this.#commands) return id - 1n
    return this.#lastId
  }

  add(op: Op, now: number, settle: (outcome: Result | FsError) => void, bound = false): PendingCall {
    this.#lastId += 1n
    const command = isCommand(op)
    const call = {
      id: this.#lastId,
      op,
      command,
      bound,
      since: now,
      sent: false,
      abandoned: false,
      cancelled: false,
      settle,
    }
    this.#calls.set(call.id, call)
    if (command) this.#commands.add(call.id)
    return call
  }

  /** Whether it is neither answered nor given up. */
  waits(call: PendingCall): boolean {
    return this.#calls.get(call.id) === call
  }

  /** Takes the answer. Undefined if nobody waits for it: it was given up, or answered before. */
  answer(reply: Reply): PendingCall | undefined {
    const call = this.#calls.get(reply.id)
    if (call === undefined) return undefined
    this.#remove(call)
    if (!call.abandoned) call.settle(outcomeOf(reply))
    return call
  }

  /** The caller no longer waits. A command that may have been executed stays, and is EIO. */
  abandon(call: PendingCall, why: FsError): void {
    if (call.abandoned || this.#calls.get(call.id) !== call) return
    if (call.command && call.sent) {
      call.abandoned = true
      call.settle(new FsError('EIO', `${describe(call.op)}: outcome unknown, ${why.message}`, { cause: why }))
    } else {
      this.#remove(call)
      call.settle(why)
    }
  }

  /** As a message, and from now on it may have been executed. */
  send(call: PendingCall): Call {
    call.sent = true
    return { id: call.id, op: call.op, promised: call.bound }
  }

  /** In the order of ids. Calls may be removed meanwhile. */
  all(): IterableIterator<PendingCall> {
    return this.#calls.values()
  }

  /**
   * The session died: what may have been executed and cannot be asked again is EIO, and so are commits, of what
   * was accepted under it; the rest goes on in the next session. Returns what is lost.
   */
  sessionDied(): PendingCall[] {
    const lost = [...this.#calls.values()].filter(
      ({ bound, sent, op }) => bound || op.$case === 'commit' || (sent && !timeless.has(op.$case)),
    )
    for (const call of lost) {
      this.#remove(call)
      if (!call.abandoned)
        call.settle(new FsError('EIO', `${describe(call.op)}: the session died, outcome unknown`))
    }
    for (const call of this.#calls.values()) call.sent = false
    return lost
  }

  failAll(why: FsError): void {
    for (const call of [...this.#calls.values()]) {
      this.#remove(call)
      if (!call.abandoned) call.settle(why)
    }
  }

  #remove(call: PendingCall): void {
    this.#calls.delete(call.id)
    this.#commands.delete(call.id)
  }
}

function outcomeOf(reply: Reply): Result | FsError {
  try {
    const result = oneofPresent(reply.result, 'reply.result')
    return result.$case === 'error' ? errorFromWire(result.value) : result
  } catch (thrown) {
    return FsError.from(thrown)
  }
}

/** The call for logs: its kind and the inode it is about. */
export function describe(op: Op): string {
  const value = op.value
  if ('ino' in value) return `${op.$case} of inode ${value.ino}`
  if ('parent' in value) return `${op.$case} in directory ${value.parent}`
  return op.$case
}
