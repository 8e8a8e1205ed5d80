/**
 * Everything that takes bytes from outside, each as one function. It may refuse them with the errors that are answers
 * (FsError, UsageError); whatever else it throws is a finding, and so is what takes long.
 */
import { createHash, createSecretKey } from 'node:crypto'
import { parseAddress } from '#src/core/address.ts'
import { createChecksums } from '#src/core/checksum.ts'
import { FsError, UsageError } from '#src/core/errors.ts'
import { decodeFacts, encodeFacts, parseName } from '#src/chunkserver/log/log-files.ts'
import { toClaim } from '#src/chunkserver/rpc/claims.ts'
import { checkConfig } from '#src/cli/config/config-file.ts'
import { daemons } from '#src/cli/config/daemons.ts'
import { exampleFile } from '#src/cli/config/config-text.ts'
import { opcode, type OpcodeName } from '#src/fuse/codec/abi.ts'
import { lineOf, parseSaid } from '#src/cli/handover/messages.ts'
import { redacted } from '#src/cli/doctor/redact.ts'
import { Query } from '#src/console/query.ts'
import { decodeBytes } from '#src/console/percent-path.ts'
import { parseMountTable } from '#src/fuse/mounter/mount-table.ts'
import type { AdminMethod } from '#src/master/engine/io.ts'
import { rawAdminCalls } from '#src/master/rpc/raw.ts'
import { partsOf } from '#src/master/rpc/frame-parts.ts'
import { peekNodeHeartbeat, peekSessionHeartbeats } from '#src/master/rpc/peek-heartbeats.ts'
import { ipAddressBytes } from '#src/web/ip-address.ts'
import { blocksDownCodec, blocksUpCodec } from '#src/wire/blocks-codec.ts'
import { decodeRecord, encodeRecord } from '#src/wire/log-records.ts'
import { isReadToken, makeReadToken, noSession, readKey } from '#src/wire/read-token.ts'
import * as services from '#src/wire/services.ts'
import { keyOfRequest, makeAuthority, makeKey, makeRequest } from '#src/wire/tls/certificates.ts'
import { checkWhole } from '#src/wire/tls/identity-folder.ts'
import { parseToken, tokenText } from '#src/wire/tls/token.ts'
import { ChunkNode, EngineFixture, Mount } from '../master/engine-fixture.ts'
import { create, getAttr, lookup, makeFile, writeFile } from '../master/engine-ops.ts'
import { HostileBytes, nested, varint } from '../support/hostile-bytes.ts'
import { damagedFolder } from './damaged-folder.ts'
import { hostileCall } from '../master/hostile-calls.ts'
import { body, message } from '../support/fuse-messages.ts'
import { MemoryFileSystem } from '../support/memory-filesystem.ts'
import { SessionHarness } from '../support/session-harness.ts'

export interface Target {
  readonly seeds: readonly Buffer[]
  /** Throws, or rejects with, what is wrong. */
  run(input: Buffer): void | Promise<void>
}

const isAnswer = (thrown: unknown): boolean => thrown instanceof FsError || thrown instanceof UsageError

/** Refusing is right. */
export function refusing<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch (thrown) {
    if (isAnswer(thrown)) return undefined
    throw thrown
  }
}

async function refusingAsync(work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (thrown) {
    if (!isAnswer(thrown)) throw thrown
  }
}

const text = (input: Buffer): string => input.toString('latin1')
const utf8 = (input: Buffer): string => input.toString('utf8')

/** The first byte chooses. */
function chosen<T>(from: readonly T[], input: Buffer): { readonly one: T; readonly rest: Buffer } {
  const [first] = from
  if (first === undefined) throw new Error('nothing to choose from')
  return { one: from[(input[0] ?? 0) % from.length] ?? first, rest: input.subarray(1) }
}

/** So many inputs go to one engine: what it is after them should not be far from what it was. */
const inputsPerEngine = 500

/** An engine with a mount and a node that are right, and one peer that sends the inputs. */
class Engines {
  #fixture: EngineFixture | undefined
  #peer: Mount | ChunkNode | undefined
  #left = 0

  async frame(kind: 'session' | 'node', input: Buffer): Promise<void> {
    const fixture = await this.#engine()
    if (this.#peer === undefined || this.#peer.closed !== undefined)
      this.#peer = kind === 'session' ? new Mount(fixture) : new ChunkNode(fixture, 'n1')
    fixture.step({ kind: 'frame', connection: this.#peer.connection, bytes: input })
    if (this.#peer instanceof Mount) {
      this.#peer.yieldAll()
      this.#peer.items = []
    }
    this.#judge(fixture)
  }

  async admin(method: AdminMethod, input: Buffer): Promise<void> {
    const fixture = await this.#engine()
    fixture.step({ kind: 'admin', call: 1, method, bytes: input })
    fixture.answers.clear()
    this.#judge(fixture)
  }

  async #engine(): Promise<EngineFixture> {
    if (this.#fixture !== undefined && this.#left-- > 0) return this.#fixture
    this.#fixture?.store.close()
    const fixture = await EngineFixture.make()
    const nodes = ['n1', 'n2', 'n3'].map(name => new ChunkNode(fixture, name))
    const mount = new Mount(fixture)
    writeFile(mount, nodes, makeFile(mount, 'f'), 'content')
    this.#peer = undefined
    this.#left = inputsPerEngine
    this.#fixture = fixture
    return fixture
  }

  #judge({ logs }: EngineFixture): void {
    const bug = logs.find(line => /unexpectedly|TypeError|RangeError/.test(line))
    logs.length = 0
    if (bug === undefined) return
    this.#left = 0
    throw new Error(bug)
  }
}

function sessionSeeds(): Buffer[] {
  const hostile = new HostileBytes(1)
  const item = (id: number, op: Buffer): Buffer =>
    nested(1, nested(2, Buffer.concat([varint(8n), varint(BigInt(id)), op])))
  return [
    ...Array.from({ length: 60 }, (_, id) =>
      nested(1, nested(2, hostileCall(hostile, BigInt(id + 1), [1n, 2n]))),
    ),
    item(1, nested(8, Buffer.alloc(0))),
    Buffer.from(
      services.sessionAttach.up.encode({
        items: [lookup('f', 1n), getAttr(1n), create('x')].map((op, at) => ({
          item: { $case: 'call' as const, value: { id: BigInt(at + 1), op, promised: false } },
        })),
        acked: 0n,
      }),
    ),
  ]
}

// INIT and DESTROY would begin or end the session.
const fuseNames = (Object.keys(opcode) as OpcodeName[]).filter(name => name !== 'INIT' && name !== 'DESTROY')

const fileBytesMax = 1 << 20

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
}

/** A file system in memory is no place for a hole of a pebibyte: what is so large is refused before it gets there. */
function smallFiles(): MemoryFileSystem {
  const isLarge = (value: unknown): boolean =>
    typeof value === 'number'
      ? value > fileBytesMax
      : typeof value === 'object' &&
        value !== null &&
        !ArrayBuffer.isView(value) &&
        Object.values(value).some(isLarge)
  return new Proxy(new MemoryFileSystem(), {
    get(files, name) {
      const value: unknown = Reflect.get(files, name, files)
      if (typeof value !== 'function') return value
      return (...given: unknown[]): unknown => {
        if (given.some(isLarge)) throw new FsError('EFBIG', 'too large for a test')
        return Reflect.apply(value, files, given)
      }
    },
  })
}

export async function targets(): Promise<Readonly<Record<string, Target>>> {
  const checksums = await createChecksums()
  const sessions = new Engines()
  const nodes = new Engines()
  const admins = new Engines()
  const methods = Object.keys(rawAdminCalls) as AdminMethod[]
  const codecs = Object.values(services).flatMap(def =>
    'up' in def ? [def.up, def.down] : [def.request, def.response],
  )
  const secret = readKey(7n, Buffer.alloc(32, 1))
  const terms = { export: 3n, bytesPerSecond: 1000, mayReadFiles: true }
  const block = createHash('sha256').update('block').digest()
  const request = Buffer.from(await makeRequest(makeKey()))
  const authority = await makeAuthority(count => Buffer.alloc(count, 5), 1_700_000_000_000)
  const fuse = await SessionHarness.begun(smallFiles())
  const record = encodeRecord(
    checksums,
    { incarnation: 1n, sequence: 1n, time: 5n, databasePages: 2, pageBytes: 512 },
    [1, 2].map(number => ({ number, data: Buffer.alloc(512, number) })),
  )
  const facts = encodeFacts(checksums, { bytes: 5, until: 1n, time: 2n, sha256: block })
  const hostile = new HostileBytes(3)
  const messages = Array.from({ length: 20 }, () => hostile.message([1, 2, 3, 4, 5, 6, 7, 8]))

  return {
    session: {
      seeds: sessionSeeds(),
      run: input => {
        peekSessionHeartbeats(input)
        partsOf(input)
        return sessions.frame('session', input)
      },
    },
    nodes: {
      seeds: messages.map(bytes => nested(1 + (bytes.length % 8), bytes)),
      run: input => {
        peekNodeHeartbeat(input)
        return nodes.frame('node', input)
      },
    },
    admin: {
      seeds: methods.flatMap((_, at) => [
        Buffer.from([at]),
        Buffer.from([at, 8, 1]),
        Buffer.from([at, 10, 1, 97]),
      ]),
      run: input => {
        const { one, rest } = chosen(methods, input)
        // These are answered beside the engine.
        if (one === 'fsck' || one === 'backup' || one === 'readBackup' || one === 'restoreStatus') return
        return admins.admin(one, rest)
      },
    },
    messages: {
      seeds: codecs.flatMap((_, at) =>
        messages.slice(0, 2).map(bytes => Buffer.concat([Buffer.from([at]), bytes])),
      ),
      run: input => {
        const { one, rest } = chosen(codecs, input)
        refusing(() => one.decode(rest))
      },
    },
    blocks: {
      seeds: messages.map(bytes => nested(1 + (bytes.length % 8), bytes)),
      run: input => {
        refusing(() => blocksDownCodec.decode(input))
        const item = refusing(() => blocksUpCodec.decode(input))?.item
        if (item?.$case === 'put') refusing(() => toClaim(item.value.block, 1 << 20))
        if (item?.$case === 'putSmall')
          for (const each of item.value.blocks) refusing(() => toClaim(each.block, 1 << 20))
      },
    },
    fuse: {
      // An operation, the number of its inode, and what follows the header; or a message as it is.
      seeds: [
        ...fuseNames.map((_, at) =>
          Buffer.concat([Buffer.from([at, 1]), body(1, 0, Buffer.from('name\0value\0'))]),
        ),
        ...fuseNames.map((_, at) => Buffer.concat([Buffer.from([at, 2]), Buffer.alloc(80)])),
        Buffer.concat([Buffer.from([255]), message('LOOKUP', { body: Buffer.from('name\0') })]),
      ],
      run: async input => {
        const before = fuse.logged.length
        const name = fuseNames[(input[0] ?? 0) % fuseNames.length] ?? 'LOOKUP'
        const made = message(name, { node: BigInt(input[1] ?? 0), body: input.subarray(2) })
        // A lock may be waited for as long as nobody gives it up.
        await Promise.race([fuse.receive(input[0] === 255 ? input.subarray(1) : made), turns()])
        const bug = fuse.logged.slice(before).find(({ level }) => level === 'error')
        fuse.logged.length = 0
        fuse.replies.length = 0
        if (bug !== undefined) throw new Error(`${bug.message} ${JSON.stringify(bug.fields)}`)
      },
    },
    tokens: {
      seeds: [
        makeReadToken(secret, noSession, 2_000_000_000, block),
        makeReadToken(secret, noSession, 2_000_000_000, block, terms),
        Buffer.from(tokenText({ authority: block, id: Buffer.alloc(8, 1), secret: Buffer.alloc(24, 2) })),
      ],
      run: input => {
        const good = [undefined, terms].map(each =>
          makeReadToken(secret, noSession, 2_000_000_000, block, each).subarray(8),
        )
        // No other bytes pass. The first eight name the key, which the caller has looked up by them.
        const passes = isReadToken(createSecretKey(Buffer.alloc(32, 1)), noSession, input, block)
        if (passes && !good.some(each => input.subarray(8).equals(each)))
          throw new Error('a token that nobody made is good')
        refusing(() => parseToken(text(input)))
      },
    },
    folder: await damagedFolder(checksums),
    requests: {
      seeds: [request],
      run: input => refusingAsync(() => keyOfRequest(input)),
    },
    certificates: {
      seeds: [Buffer.from(authority.certificate)],
      run: input => {
        try {
          checkWhole({ authority: utf8(input), key: authority.key, certificate: utf8(input) })
        } catch (thrown) {
          // What it throws its callers put into one line; it has to be an error.
          if (!(thrown instanceof Error)) throw thrown
        }
      },
    },
    records: {
      seeds: [Buffer.from(record), Buffer.from(facts), Buffer.from('log-1-1')],
      run: input => {
        const found = decodeRecord(checksums, input)
        if (found !== undefined && found.length > input.length)
          throw new Error('a record is longer than its bytes')
        if (input.length >= facts.length) decodeFacts(checksums, input.subarray(0, facts.length))
        parseName(text(input))
      },
    },
    configuration: {
      seeds: daemons.flatMap((daemon, at) =>
        exampleFile(daemon)
          .split('\n\n')
          .map(part => Buffer.concat([Buffer.from([at]), Buffer.from(part.replaceAll(/^#(?=\w)/gm, ''))])),
      ),
      run: input => {
        const { one, rest } = chosen(daemons, input)
        const { problems } = checkConfig(one, 'file', utf8(rest))
        for (const problem of problems) if (problem.includes('\n')) throw new Error(`two lines: ${problem}`)
      },
    },
    stored: {
      seeds: [
        Buffer.from(lineOf({ say: 'taken' })),
        Buffer.from(lineOf({ say: 'refused', why: 'x' })),
        Buffer.from('{"say":"state","session":{}}'),
        Buffer.from('25 30 0:23 / /mnt rw,nosuid shared:1 - fuse.cairn a:1 rw,user_id=0'),
        Buffer.from('token = "a"\nhttp://a:b@c'),
      ],
      run: input => {
        for (const word of ['prepared', 'state', 'taken', 'refused', 'go'] as const)
          refusing(() => parseSaid(utf8(input), word))
        parseMountTable(utf8(input))
        redacted(utf8(input))
      },
    },
    http: {
      seeds: [
        'path=/a%2Fb&limit=1',
        'after=9',
        '127.0.0.1:1',
        '[::1]:9',
        'fe80::1%eth0',
        '::ffff:1.2.3.4',
      ].map(each => Buffer.from(each)),
      run: input => {
        const query = refusing(() => new Query(text(input), ['path', 'after', 'limit']))
        if (query !== undefined) {
          refusing(() => query.bytes('path'))
          refusing(() => query.number('after', 1n << 63n, 0n))
        }
        refusing(() => decodeBytes(text(input)))
        parseAddress(text(input))
        const bytes = ipAddressBytes(text(input))
        if (bytes !== undefined && bytes.length !== 4 && bytes.length !== 16) throw new Error('no address')
      },
    },
  }
}
