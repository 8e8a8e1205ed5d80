import type { Op } from '../../wire/commands.ts'
import type { SetAttr, SetTime } from '../../wire/gen/cairn/v1/session.ts'
import type { PendingCall } from './pending-calls.ts'

interface Unsent {
  readonly call: PendingCall
  readonly value: SetAttr
  readonly answer: Promise<unknown>
}

/**
 * Changes of attributes that were posted and not sent yet: another one of the same inode is made one with it, if nothing
 * comes between them that the order matters to. Who unpacks an archive sets owner, mode and times one after the other.
 */
export class JoinedChanges {
  readonly #unsent = new Map<bigint, Unsent>()

  /** The answer of the call that the change went along with, or undefined. */
  join(value: SetAttr): Promise<unknown> | undefined {
    const earlier = this.#unsent.get(value.ino)
    if (earlier === undefined) return undefined
    const both = joined(earlier.value, value)
    earlier.call.op = { $case: 'setAttr', value: both }
    this.#unsent.set(value.ino, { ...earlier, value: both })
    return earlier.answer
  }

  /** A change that others may join. */
  note(call: PendingCall, value: SetAttr, answer: Promise<unknown>): void {
    this.#unsent.set(value.ino, { call, value, answer })
  }

  /** Another call is to be sent: what it names is not joined over it. */
  passed(op: Op): void {
    switch (op.$case) {
      case 'create':
        this.#unsent.delete(op.value.parent)
        break
      case 'setAttr':
      case 'commit':
        this.#unsent.delete(op.value.ino)
        break
      case 'plan':
      case 'reserveInos':
      case 'reserveSpace':
        break
      default:
        this.#unsent.clear()
    }
  }

  /** All is sent. */
  clear(): void {
    this.#unsent.clear()
  }
}

/** What both make of it, one after the other. Neither has a size or a ctime. */
function joined(earlier: SetAttr, later: SetAttr): SetAttr {
  return {
    ino: later.ino,
    mode: later.mode ?? earlier.mode,
    uid: later.uid ?? earlier.uid,
    gid: later.gid ?? earlier.gid,
    atime: later.atime ?? settled(earlier.atime, earlier.time),
    mtime: later.mtime ?? settled(earlier.mtime, earlier.time),
    ctime: undefined,
    killSuidgid: earlier.killSuidgid || later.killSuidgid,
    time: later.time,
  }
}

const settled = (set: SetTime | undefined, time: bigint): SetTime | undefined =>
  set?.now === true ? { now: false, value: time } : set
