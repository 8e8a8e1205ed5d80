import type { Negotiated } from '../codec/init.ts'
import type { Reply } from '../codec/reply.ts'
import type { Request } from '../codec/request.ts'
import type { Answer, FileSystem } from '../filesystem.ts'

/** What decoding depends on besides the request itself. */
export interface Context {
  readonly facts: Negotiated
  /** O_DIRECT of this machine. */
  readonly directBit: number
}

/** A row of the table of operations: how one opcode is decoded, done and answered. */
export interface Operation<T = unknown> {
  /** Bytes of the structure that must follow the header. */
  readonly inBytes: number
  /** Reads all its arguments before it first waits. A throw is the error reply. */
  readonly run: (fs: FileSystem, request: Request, context: Context) => Answer<T>
  /** Encodes the value. Absent: the answer is a header alone. */
  readonly reply?: (reply: Reply, value: T) => void
  /** The kernel expects no answer at all. */
  readonly silent?: true
  /** `run` hands out a view of the request, whose buffer is thus in use until the answer. */
  readonly lendsRequest?: true
  /** It may wait for other programs, for ever. Taken back by a signal, it can be begun anew by a successor. */
  readonly lasting?: true
  /** The answer was sent. */
  readonly sent?: (value: T) => void
  /** The kernel gave the request up before the answer came: take back what it would have counted. */
  readonly undo?: (fs: FileSystem, value: T) => Answer<void>
}

/** Makes a row whose value is checked here, for a table in which rows have values of all types. */
export function operation<T>(row: Operation<T>): Operation {
  return row as unknown as Operation
}

/** Continues at once with a plain value: a promise would cost a turn. */
export function then<T, U>(answer: Answer<T>, next: (value: T) => U): Answer<U> {
  return answer instanceof Promise ? answer.then(next) : next(answer)
}
