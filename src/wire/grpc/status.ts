/**
 * Errors on the wire. An FsError travels as a cairn.v1.Error in the binary trailer `cairn-error-bin`.
 *
 * A call that fails has a fitting gRPC status code besides, for tools that know nothing of Cairn. A
 * *stream* that is closed with an error ends with status OK and the trailer, because gRPC lets any other
 * status overtake the messages before it, and what was sent before a close should arrive before it.
 */
import { Metadata, type ServiceError, type StatusObject, status } from '@grpc/grpc-js'
import { type ErrnoName, FsError } from '../../core/errors.ts'
import { errorFromWire, errorToWire } from '../attr.ts'
import { Error as WireError } from '../gen/cairn/v1/common.ts'

const errorKey = 'cairn-error-bin'

const statusOf: Partial<Record<ErrnoName, status>> = {
  ENOENT: status.NOT_FOUND,
  ENODATA: status.NOT_FOUND,
  EEXIST: status.ALREADY_EXISTS,
  EPERM: status.PERMISSION_DENIED,
  EACCES: status.PERMISSION_DENIED,
  EKEYREVOKED: status.PERMISSION_DENIED,
  EINVAL: status.INVALID_ARGUMENT,
  EPROTO: status.INVALID_ARGUMENT,
  ENAMETOOLONG: status.INVALID_ARGUMENT,
  EFBIG: status.OUT_OF_RANGE,
  ERANGE: status.OUT_OF_RANGE,
  ENOSPC: status.RESOURCE_EXHAUSTED,
  EDQUOT: status.RESOURCE_EXHAUSTED,
  EMFILE: status.RESOURCE_EXHAUSTED,
  ENFILE: status.RESOURCE_EXHAUSTED,
  ENOLCK: status.RESOURCE_EXHAUSTED,
  ENOTEMPTY: status.FAILED_PRECONDITION,
  EROFS: status.FAILED_PRECONDITION,
  ESTALE: status.FAILED_PRECONDITION,
  EAGAIN: status.UNAVAILABLE,
  EBUSY: status.UNAVAILABLE,
  ENOSYS: status.UNIMPLEMENTED,
  EOPNOTSUPP: status.UNIMPLEMENTED,
  ETIMEDOUT: status.DEADLINE_EXCEEDED,
  ECANCELED: status.CANCELLED,
  EINTR: status.CANCELLED,
}

/** For statuses that carry no error of ours: made by grpc-js or by a stranger. */
const errnoOf: Partial<Record<status, ErrnoName>> = {
  [status.CANCELLED]: 'ECANCELED',
  [status.DEADLINE_EXCEEDED]: 'ETIMEDOUT',
  [status.NOT_FOUND]: 'ENOENT',
  [status.PERMISSION_DENIED]: 'EACCES',
  [status.UNAUTHENTICATED]: 'EACCES',
  [status.RESOURCE_EXHAUSTED]: 'EPROTO',
  [status.UNIMPLEMENTED]: 'EOPNOTSUPP',
  [status.INTERNAL]: 'EPROTO',
  [status.INVALID_ARGUMENT]: 'EINVAL',
}

/** Lone surrogates would make grpc-js throw while it writes the status. */
const wellFormed = (message: string): string => Buffer.from(message, 'utf8').toString('utf8')

export function errorTrailers(error: FsError): Metadata {
  const trailers = new Metadata()
  trailers.set(errorKey, Buffer.from(WireError.encode(errorToWire(error)).finish()))
  return trailers
}

export function toServiceError(error: FsError): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  return {
    code: statusOf[error.code] ?? status.UNKNOWN,
    details: wellFormed(errorToWire(error).message),
    metadata: errorTrailers(error),
  }
}

/** The peer's own error, if the trailers have one. */
export function errorOfTrailers(trailers: Metadata | undefined): FsError | undefined {
  const [bytes] = trailers?.get(errorKey) ?? []
  if (!(bytes instanceof Buffer)) return undefined
  try {
    return errorFromWire(WireError.decode(bytes))
  } catch {
    return new FsError('EPROTO', 'The peer failed with an error that cannot be read')
  }
}

/**
 * The error of a call or stream that ended with a status other than OK. `reached`: the peer had
 * answered before. `hint`: what may be the matter if it never did.
 */
export function fromStatus(
  ended: StatusObject,
  peer: string,
  { reached, hint }: { readonly reached: boolean; readonly hint: string },
): FsError {
  const own = errorOfTrailers(ended.metadata)
  if (own !== undefined) return own
  const details = tidy(ended.details)
  if (ended.code === status.UNAVAILABLE) {
    if (reached || /^(Connection dropped|Write (error|failed))|GOAWAY|ECONNRESET/.test(details))
      return new FsError('ECONNRESET', `Lost the connection to ${peer}: ${details}${hint}`)
    return new FsError('ECONNREFUSED', `Cannot connect to ${peer}: ${details}${hint}`)
  }
  const code = errnoOf[ended.code] ?? 'EIO'
  return new FsError(code, `${peer} answered with status ${nameOf(ended.code)}: ${details}`)
}

/** What remains of grpc-js' details without its preambles and time stamps. */
function tidy(details: string): string {
  return details
    .replace(/^No connection established\. Last error: (Error: )?/, '')
    .replace(/\s*\(\d{4}-\d\d-\d\dT[\d:.]+Z\)/g, '')
    .replace(/\s*Resolution note:.*$/, '')
    .replace(/\.$/, '')
    .trim()
}

/** A stranger may send any number. */
const nameOf = (code: number): string => (status as Readonly<Record<number, string>>)[code] ?? String(code)
