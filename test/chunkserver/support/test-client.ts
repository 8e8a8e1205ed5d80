import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockClaim } from '#src/chunkserver/blocks/block-verifier.ts'
import { FsError } from '#src/core/errors.ts'
import { type BlockId, blockIdToBytes } from '#src/core/ids.ts'
import type { Link, Network } from '#src/core/network.ts'
import { second } from '#src/core/units.ts'
import type {
  BlocksDown,
  BlocksUp,
  GetData,
  PutOutcome,
  SmallBlock,
  SmallData,
} from '#src/wire/gen/cairn/v1/blocks.ts'
import type { Grant } from '#src/wire/gen/cairn/v1/common.ts'
import { grantMac } from '#src/wire/mac.ts'
import { blocksOpen } from '#src/wire/services.ts'
import { makeReadToken, readerOf, readKey } from '#src/wire/read-token.ts'
import { checksums, cluster, key, now, wireReadKey } from './test-node.ts'

export interface TestBlock extends BlockClaim {
  readonly data: Buffer
}

/** A block of pseudo-random bytes. */
export function testBlock(length: number, seed: number): TestBlock {
  const data = Buffer.allocUnsafe(length)
  let state = (seed * 2654435761 + 12345) >>> 0
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    data[at] = state >>> 24
  }
  const id = createHash('sha256').update(data).digest('hex') as BlockId
  return { id, length, checksums: checksums.make(id, data), data }
}

export const metaOf = ({ id, length, checksums: sums }: BlockClaim) => ({
  id: blockIdToBytes(id),
  length,
  checksums: sums,
})

export function grantFor(
  node: bigint,
  { id, length }: { id: BlockId; length: number },
  generation = 5n,
  expiry = now + 600n * BigInt(second) * 1_000_000n,
  dedupDomain: Uint8Array = new Uint8Array(0),
): Grant {
  const claim = { node, generation, session: 3n, epoch: 1n, expiry, dedupDomain }
  return { ...claim, mac: grantMac(key, { ...claim, block: blockIdToBytes(id), length }) }
}

const testReadKey = readKey(wireReadKey.id, wireReadKey.key)

/** The right to read a block, of the session that TestClient says it is. */
export const tokenFor = (id: BlockId, expiry = Number(now / 1_000_000_000n) + 600): Buffer =>
  makeReadToken(testReadKey, readerOf(3n, 1n), expiry, blockIdToBytes(id))

interface Call {
  put(outcomes: PutOutcome[]): void
  data(data: GetData): void
  small(data: SmallData): void
  fail(error: FsError): void
}

/** A client of one node's Blocks service, as far as tests need one. */
export class TestClient {
  readonly link: Link<BlocksUp, BlocksDown>
  readonly closed: Promise<FsError | undefined>
  readonly #calls = new Map<bigint, Call>()
  #call = 0n

  constructor(network: Network, address: string) {
    this.link = network.dial(address, blocksOpen)
    this.link.onFrame(({ item }) => {
      if (item?.$case === 'put') this.#calls.get(item.value.call)?.put(item.value.outcomes)
      if (item?.$case === 'data') this.#calls.get(item.value.call)?.data(item.value)
      if (item?.$case === 'small') this.#calls.get(item.value.call)?.small(item.value)
      if (item?.$case === 'failure') {
        const error = FsError.fromErrno(item.value.error?.errno ?? 0, item.value.error?.message)
        for (const [call, waiting] of this.#calls)
          if (item.value.call === 0n || call === item.value.call) waiting.fail(error)
      }
    })
    this.closed = new Promise(resolve => {
      this.link.onClose(error => {
        for (const call of this.#calls.values()) call.fail(error ?? new FsError('ECONNRESET'))
        resolve(error)
      })
    })
  }

  hello(session = 3n, epoch = 1n): this {
    this.link.send({
      item: {
        $case: 'hello',
        value: { versionMin: 1, versionMax: 1, cluster, session, epoch, host: '' },
      },
    })
    return this
  }

  put(
    block: TestBlock,
    chain: readonly { readonly node: bigint; readonly address: string }[],
    generation?: bigint,
    change: {
      data?: Buffer
      messageBytes?: number
      domain?: Uint8Array
      verifyId?: boolean
      patienceMs?: number
      /** Between messages of data. */
      pauseMs?: number
    } = {},
  ): Promise<PutOutcome[]> {
    const { data = block.data, messageBytes = 2 ** 20, domain, verifyId = true } = change
    const { patienceMs = 0, pauseMs = 0 } = change
    const targets = chain.map(({ node, address }) => ({
      node,
      address,
      grant: grantFor(node, block, generation, undefined, domain),
    }))
    const [first, ...rest] = targets
    return this.#new('put', call => {
      const begin = { call, block: metaOf(block), grant: first?.grant, chain: rest, verifyId, patienceMs }
      this.link.send({ item: { $case: 'put', value: begin } })
      void (async () => {
        for (let at = 0; at < data.length; at += messageBytes) {
          if (at > 0 && pauseMs > 0) await sleep(pauseMs)
          const part = data.subarray(at, at + messageBytes)
          this.link.send({ item: { $case: 'data', value: { call, data: part } } })
        }
      })()
    })
  }

  putSmall(node: bigint, blocks: readonly TestBlock[], generation?: bigint): Promise<PutOutcome[]> {
    return this.#new('put', call => {
      const small = blocks.map(block => ({
        block: metaOf(block),
        grant: grantFor(node, block, generation),
        data: block.data,
      }))
      this.link.send({ item: { $case: 'putSmall', value: { call, blocks: small } } })
    })
  }

  /** One small block as it is given. */
  putRaw(small: SmallBlock): Promise<PutOutcome[]> {
    return this.#new('put', call => {
      this.link.send({ item: { $case: 'putSmall', value: { call, blocks: [small] } } })
    })
  }

  /** What came of many small blocks, by their place in the question. */
  async getSmall(
    ids: readonly BlockId[],
    tokens: readonly Uint8Array[] = ids.map(id => tokenFor(id)),
  ): Promise<{ got: Map<number, { data: Buffer; checksums: Uint8Array }>; messages: number }> {
    const got = new Map<number, { data: Buffer; checksums: Uint8Array }>()
    let messages = 0
    await this.#new<null>('get', (call, resolve) => {
      const known = this.#calls.get(call)
      if (known !== undefined)
        known.small = ({ blocks, last }) => {
          messages++
          for (const { index, data, checksums: sums } of blocks)
            got.set(index, { data: Buffer.from(data), checksums: sums })
          if (last) resolve(null)
        }
      const value = { call, ids: ids.map(blockIdToBytes), tokens: [...tokens] }
      this.link.send({ item: { $case: 'getSmall', value } })
    })
    return { got, messages }
  }

  /** The bytes that came, each message verified against its checksums. */
  async get(
    id: BlockId,
    offset: number,
    length: number,
    token: Uint8Array = tokenFor(id),
    local = false,
  ): Promise<{ offset: number; data: Buffer }> {
    const parts: GetData[] = []
    await this.#new<null>('get', (call, resolve) => {
      const known = this.#calls.get(call)
      if (known !== undefined)
        known.data = data => {
          parts.push(data)
          if (data.last) resolve(null)
        }
      const value = { call, id: blockIdToBytes(id), offset, length, local, token }
      this.link.send({ item: { $case: 'get', value } })
    })
    for (const part of parts)
      if (!part.inFile && checksums.mismatch(id, part.data, part.checksums, part.offset / 65536) !== -1)
        throw new FsError('EIO', `wrong piece in the message at ${part.offset}`)
    return { offset: parts[0]?.offset ?? 0, data: Buffer.concat(parts.map(({ data }) => data)) }
  }

  close(): void {
    this.link.close()
  }

  #new<T = PutOutcome[]>(
    _what: string,
    begin: (call: bigint, resolve: (value: T) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = ++this.#call
      this.#calls.set(call, {
        put: outcomes => resolve(outcomes as T),
        data: () => reject(new FsError('EPROTO', 'data nobody asked for')),
        small: () => reject(new FsError('EPROTO', 'small blocks nobody asked for')),
        fail: reject,
      })
      begin(call, resolve)
    })
  }
}
