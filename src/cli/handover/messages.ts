/**
 * What two processes say to each other while one takes a mount over from the other: a line of JSON each. They may be of
 * different versions of this program, so what comes is checked, and the number of the format goes first.
 */
import { z } from 'zod'
import type { FilesState } from '../../client/files/inheritance.ts'
import type { SessionState } from '../../client/session/session.ts'
import { noDedupDomain } from '../../core/checksum.ts'
import { type ErrnoName, errno, UsageError } from '../../core/errors.ts'
import { ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import type { DriverState } from '../../fuse/driver.ts'

/** Rises when a process of the number before could not make sense of it. */
export const handoverFormat = 1

/** What was said when it was mounted, and must not differ. */
export interface MountTerms {
  readonly master: string
  readonly path: string
  readonly options: readonly string[]
  /** Empty: the whole tree. */
  readonly export: string
}

export interface MountState {
  readonly terms: MountTerms
  readonly session: SessionState
  readonly files: FilesState
  readonly driver: DriverState
}

const count = z.number().int().nonnegative()
const u64 = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt)
  .refine(value => value < 1n << 64n)
const bytes = z
  .string()
  .regex(/^([0-9a-f]{2})*$/)
  .transform(hex => Uint8Array.from(Buffer.from(hex, 'hex')))
const inode = u64.transform(ino)
const name = z.string().transform(text => text as Name)
const errnoName = z
  .string()
  .refine(code => code in errno)
  .transform(code => code as ErrnoName)
const lease = z.enum(['none', 'read', 'write'])

const attr = z.strictObject({
  ...{
    ino: inode,
    mode: count,
    nlink: count,
    uid: count,
    gid: count,
    rdev: count,
    size: count,
    allocated: count,
  },
  ...{ atime: u64, mtime: u64, ctime: u64, btime: u64 },
})

const session = z.strictObject({
  welcomed: z.strictObject({
    facts: z.strictObject({
      version: count,
      cluster: bytes,
      blockBytes: count,
      copies: count,
      minCopies: count,
      // Of a program of before there were any.
      dedupDomain: bytes.optional().transform(domain => domain ?? noDedupDomain),
    }),
    identity: z.strictObject({ session: u64, epoch: u64 }),
    secret: bytes,
    root: inode,
    rules: z.strictObject({
      ...{ readOnly: z.boolean(), judged: z.boolean(), noSetuid: z.boolean(), noDevices: z.boolean() },
      noShortCircuit: z
        .boolean()
        .optional()
        .transform(no => no ?? false),
    }),
    leaseMs: count,
    heartbeatMs: count,
  }),
  incarnation: count,
  lastId: u64,
  time: u64,
})

const files = z.strictObject({
  inodes: z.array(
    z.strictObject({
      ino: inode,
      lease,
      ...{ directory: z.boolean(), removed: z.boolean(), orphaned: z.boolean() },
      ...{ forfeited: z.boolean(), forgotten: z.boolean() },
      attr: attr.optional(),
      ownXattrs: z
        .array(z.tuple([name, bytes]))
        .transform(entries => new Map(entries))
        .optional(),
      losses: z.strictObject({
        count,
        unheard: z.boolean(),
        last: z.strictObject({ code: errnoName, message: z.string() }).optional(),
      }),
    }),
  ),
  handles: z.array(
    z.strictObject({
      handle: u64,
      ino: inode,
      how: z.strictObject({
        ...{ read: z.boolean(), write: z.boolean(), append: z.boolean(), truncate: z.boolean() },
        ...{ sync: z.boolean(), noAtime: z.boolean(), killSuidgid: z.boolean() },
      }),
      directIo: z.boolean(),
      incarnation: count,
      heard: count,
    }),
  ),
  directories: z.array(z.strictObject({ handle: u64, ino: inode })),
  locks: z.array(
    z.strictObject({
      ino: inode,
      holder: z.strictObject({ owner: u64, flock: z.boolean() }),
      handle: u64,
      ranges: z.array(z.strictObject({ kind: z.enum(['read', 'write']), start: u64, end: u64, pid: count })),
      lost: z.boolean(),
    }),
  ),
})

const driver = z.strictObject({
  facts: z.strictObject({
    ...{ minor: count, flags: u64, maxReadahead: count, maxWrite: count },
    ...{ directIoMmap: z.boolean(), canInvalidateAllNames: z.boolean() },
  }),
  mount: z.strictObject({
    ...{ id: z.string(), device: z.string(), path: z.string(), type: z.string(), source: z.string() },
  }),
  requests: z.array(bytes),
  notifications: z.array(bytes),
})

const terms = z.strictObject({
  ...{ master: z.string(), path: z.string(), options: z.array(z.string()), export: z.string() },
})

const schemas = {
  /** The successor has started, and waits for the state. */
  prepared: z.object({ say: z.literal('prepared'), format: count, program: z.string() }),
  state: z.strictObject({
    say: z.literal('state'),
    state: z.strictObject({ terms, session, files, driver }),
  }),
  /** The successor has the session, and waits for the word to go. */
  taken: z.strictObject({ say: z.literal('taken') }),
  /** It will not; whatever else comes is not believed. */
  refused: z.object({ say: z.literal('refused'), why: z.string() }),
  go: z.strictObject({ say: z.literal('go') }),
} as const

export type Word = keyof typeof schemas
export type Message =
  | { readonly say: 'prepared'; readonly format: number; readonly program: string }
  | { readonly say: 'state'; readonly state: MountState }
  | { readonly say: 'taken' | 'go' }
  | { readonly say: 'refused'; readonly why: string }
export type Said<W extends Word> = z.output<(typeof schemas)[W]>

const anyWord = z.object({ say: z.enum(['prepared', 'state', 'taken', 'refused', 'go']) })

/** The message of a line, which is to be of that kind. UsageError with what is wrong. */
export function parseSaid<W extends Word>(line: string, expected: W): Said<W> {
  const value: unknown = parseJson(line)
  const { say } = check(anyWord, value)
  if (say === 'refused' && expected !== 'refused') throw new UsageError(check(schemas.refused, value).why)
  if (say !== expected) throw new UsageError(`it said '${say}', not '${expected}'`)
  return check(schemas[expected] as unknown as z.ZodType<Said<W>>, value)
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    throw new UsageError('it said what is no JSON')
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new UsageError(`what it said is malformed: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`)
}

/** As a line, with numbers of 64 bits as decimal text, bytes as hexadecimal and maps as lists. */
export const lineOf = (message: Message): string => `${JSON.stringify(plain(message))}\n`

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (value instanceof Map) return [...value].map(plain)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]))
}
