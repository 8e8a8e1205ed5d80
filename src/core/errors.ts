import { constants } from 'node:os'

/**
 * Linux errno numbers that Cairn answers. Taken as literals rather than from the host, because
 * they travel between machines. Source: include/uapi/asm-generic/errno*.h.
 */
export const errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ECONNRESET: 104,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
  EKEYREVOKED: 128,
} as const

export type ErrnoName = keyof typeof errno

const names = new Map<number, ErrnoName>(
  (Object.entries(errno) as [ErrnoName, number][]).map(([name, code]) => [code, name]),
)

/**
 * The one vocabulary of failure: an answer that a program, a peer or an operator gets. Anything
 * else that is thrown is a bug and becomes EIO with a log line.
 */
export class FsError extends Error {
  override readonly name = 'FsError'
  readonly code: ErrnoName

  /** Without a stack, which costs more than most of what is answered with it: it is no bug. */
  constructor(code: ErrnoName, message: string = code, options?: ErrorOptions) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message, options)
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
  }

  /** The positive Linux errno. */
  get errno(): number {
    return errno[this.code]
  }

  /** From a number that came over the wire; an unknown one is EIO. */
  static fromErrno(code: number, message?: string): FsError {
    const name = names.get(code) ?? 'EIO'
    return new FsError(name, message === undefined || message === '' ? name : message)
  }

  /** Any thrown value as an answer: a system error keeps its errno, a bug is EIO. */
  static from(thrown: unknown): FsError {
    if (thrown instanceof FsError) return thrown
    const message = thrown instanceof Error ? thrown.message : String(thrown)
    const number = thrown instanceof Error && 'errno' in thrown ? Number(thrown.errno) : 0
    const local = Object.entries(constants.errno).find(([, value]) => value === -number)?.[0]
    const name = local !== undefined && local in errno ? (local as ErrnoName) : 'EIO'
    return new FsError(name, message, { cause: thrown })
  }
}

/** What an operator did wrong or must do: printed as one line, exit code 2, no stack. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** What was written could not be stored: printed as one line, exit code 1, no stack. */
export class NotStoredError extends Error {
  override readonly name = 'NotStoredError'
}

/** The text of any thrown value, for messages and logs. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
