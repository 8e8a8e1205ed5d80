import { type Checksums, blockIdOf } from '#src/core/checksum.ts'
import { FsError } from '#src/core/errors.ts'
import { pieceBytes } from '#src/core/limits.ts'
import type { CallDef, Link, Listener, Network, StreamDef } from '#src/core/network.ts'
import { errorToWire } from '#src/wire/attr.ts'
import type {
  BlockMeta,
  BlocksDown,
  BlocksUp,
  GetBlock,
  GetSmall,
  PutOutcome,
} from '#src/wire/gen/cairn/v1/blocks.ts'
import type { Grant, Receipt, Target } from '#src/wire/gen/cairn/v1/common.ts'
import { blocksDownCodec, blocksUpCodec } from '#src/wire/blocks-codec.ts'
import { toBlockId } from '#src/wire/validate.ts'
import type { LocalFiles, LocalFolder, LocalOffer } from '#src/client/blocks/local-files.ts'
import type { VirtualEnv } from './virtual-env.ts'

/** How likely things go wrong, 0 to 1. */
export interface Faults {
  refusePut: number
  closeLink: number
  corruptGet: number
  missGet: number
  hang: number
  maxDelayMs: number
}

export const noFaults = (): Faults => ({
  refusePut: 0,
  closeLink: 0,
  corruptGet: 0,
  missGet: 0,
  hang: 0,
  maxDelayMs: 3,
})

/** The right to read a block, as a fake master gives it. */
export const tokenFor = (id: string, until: bigint, era: number): Buffer =>
  Buffer.from(JSON.stringify({ id, until: String(until), era }))

export class FakeNode {
  readonly id: bigint
  readonly address: string
  readonly blocks = new Map<string, Buffer>()
  down = false
  frozen = false
  puts = 0
  gets = 0
  smallGets = 0
  /** Of the protocol that it speaks. */
  version = 2
  getBytes = 0
  putMessages = 0
  /** Of its files: read by who is on its machine. */
  fileBytes = 0
  /** What is in its folder; it tells `told`. */
  readonly proof = Buffer.from('proof')
  told: Buffer = this.proof
  unreadable = false
  /** Its files are read at once. */
  quick = false
  /** What is read at once ends early. */
  tooShort = false

  /** Checksums as they were when blocks were stored. */
  readonly checksums = new Map<string, Uint8Array>()

  constructor(id: bigint) {
    this.id = id
    this.address = `node${id}:1`
  }
}

type UpItem = NonNullable<BlocksUp['item']>
type DownItem = NonNullable<BlocksDown['item']>

/** Chunkservers in memory that behave as blocks.proto says, with delays and faults. */
export class FakeNodes implements Network {
  readonly nodes: FakeNode[]
  readonly faults: Faults
  /** Tokens of another one are worth nothing. */
  tokenEra = 1
  /** Gets that came without the right to them, or with one that had run out. */
  refusedGets = 0
  readonly #env: VirtualEnv
  readonly #random: () => number
  readonly #checksums: Checksums

  constructor(env: VirtualEnv, random: () => number, checksums: Checksums, count: number, faults: Faults) {
    this.#env = env
    this.#random = random
    this.#checksums = checksums
    this.faults = faults
    this.nodes = Array.from({ length: count }, (_, i) => new FakeNode(BigInt(i + 1)))
  }

  at(address: string): FakeNode | undefined {
    return this.nodes.find(node => node.address === address)
  }

  dial<Up, Down>(address: string, _def: StreamDef<Up, Down>): Link<Up, Down> {
    const link = new FakeLink(address, this)
    return link as unknown as Link<Up, Down>
  }

  call<Request, Response>(_a: string, _d: CallDef<Request, Response>, _r: Request): Promise<Response> {
    return Promise.reject(new FsError('EOPNOTSUPP'))
  }

  listen(): Promise<Listener> {
    return Promise.reject(new FsError('EOPNOTSUPP'))
  }

  mayRead(id: Uint8Array, token: Uint8Array = new Uint8Array(0)): boolean {
    const until = BigInt(/"until":"(\d+)"/.exec(Buffer.from(token).toString())?.[1] ?? 0)
    return tokenFor(toBlockId(id), until, this.tokenEra).equals(token) && until >= this.#env.clock.wall()
  }

  /** Throws for a get without the right to it. */
  checkToken({ id, token }: GetBlock): void {
    if (this.mayRead(id, token)) return
    this.refusedGets++
    throw new FsError(token.length === 0 ? 'EACCES' : 'ESTALE', 'no right to read this block')
  }

  chance(probability: number): boolean {
    return this.#random() < probability
  }

  later(callback: () => void): void {
    this.#env.timers.after(this.#random() * this.faults.maxDelayMs, callback)
  }

  store(node: FakeNode, meta: BlockMeta, grant: Grant | undefined, data: Uint8Array): Receipt {
    node.puts++
    if (this.chance(this.faults.refusePut)) throw new FsError('EIO', 'this node refuses')
    if (grant?.node !== node.id) throw new FsError('EACCES', 'not my grant')
    const id = toBlockId(meta.id)
    if (blockIdOf(data) !== id || data.length !== meta.length) throw new FsError('EIO', 'not that block')
    if (this.#checksums.mismatch(id, data, meta.checksums) >= 0) throw new FsError('EIO', 'wrong checksums')
    node.blocks.set(id, Buffer.from(data))
    node.checksums.set(id, Buffer.from(meta.checksums))
    return { ...grant, incarnation: 1n, mac: new Uint8Array(32) }
  }
}

/** The files of a node's large blocks, as one sees them who is on its machine. */
export class FakeFiles implements LocalFiles {
  readonly #env: VirtualEnv
  readonly #nodes: FakeNodes

  constructor(env: VirtualEnv, nodes: FakeNodes) {
    this.#env = env
    this.#nodes = nodes
  }

  memory(bytes: number): ArrayBuffer {
    return new ArrayBuffer(bytes)
  }

  async open(offer: LocalOffer): Promise<LocalFolder | undefined> {
    const node = this.#nodes.at(offer.folder.slice(1))
    if (node?.proof.equals(offer.proof) !== true) return undefined
    return {
      open: async path => {
        const bytes = node.blocks.get(path.slice(path.lastIndexOf('/') + 1))
        if (bytes === undefined || node.unreadable) throw new FsError(node.unreadable ? 'EACCES' : 'ENOENT')
        return {
          readNow: (into, offset) => {
            if (!node.quick) return undefined
            const count = node.tooShort ? 100 : bytes.copy(into, 0, offset)
            node.fileBytes += count
            return count
          },
          read: async (into, offset) => {
            await this.#env.timers.sleep(1)
            let at = offset
            for (const part of into) at += bytes.copy(part, 0, at)
            node.fileBytes += at - offset
            return at - offset
          },
          close: () => undefined,
        }
      },
    }
  }
}

class FakeLink implements Link<BlocksUp, BlocksDown> {
  readonly peer: string
  readonly queuedBytes = 0
  readonly #net: FakeNodes
  #onFrame: (frame: BlocksDown) => void = () => undefined
  #onClose: (error: FsError | undefined) => void = () => undefined
  #closed = false
  #up: BlocksUp[] = []
  #pumping = false
  readonly #puts = new Map<
    bigint,
    { meta: BlockMeta; grant: Grant | undefined; chain: Target[]; parts: Buffer[] }
  >()

  constructor(address: string, net: FakeNodes) {
    this.peer = address
    this.#net = net
    if (this.#node === undefined) net.later(() => this.close(new FsError('ECONNREFUSED', address)))
  }

  get #node(): FakeNode | undefined {
    const node = this.#net.at(this.peer)
    return node?.down === true ? undefined : node
  }

  send(frame: BlocksUp, taken?: () => void): void {
    if (!this.#closed) {
      // As over a wire: the receiver sees the bytes as they were when they were sent.
      this.#up.push(blocksUpCodec.decode(Buffer.from(blocksUpCodec.encode(frame))))
      this.#pump()
    }
    taken?.()
  }

  drained(): Promise<void> {
    return Promise.resolve()
  }
  onFrame(handler: (frame: BlocksDown) => void): void {
    this.#onFrame = handler
  }
  onClose(handler: (error: FsError | undefined) => void): void {
    this.#onClose = handler
  }
  pause(): void {}
  resume(): void {}

  close(error?: FsError): void {
    if (this.#closed) return
    this.#closed = true
    this.#onClose(error)
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    this.#net.later(() => {
      this.#pumping = false
      const frame = this.#up.shift()
      if (frame?.item !== undefined && !this.#closed) this.#receive(frame.item)
      if (this.#up.length > 0) this.#pump()
    })
  }

  #down(item: DownItem): void {
    this.#net.later(() => {
      if (!this.#closed) this.#onFrame(blocksDownCodec.decode(Buffer.from(blocksDownCodec.encode({ item }))))
    })
  }

  #receive(item: UpItem): void {
    const node = this.#node
    if (node === undefined || this.#net.chance(this.#net.faults.closeLink)) {
      this.close(new FsError('EPIPE', 'the node went away'))
      return
    }
    if (node.frozen || this.#net.chance(this.#net.faults.hang)) return
    switch (item.$case) {
      case 'putSmall': {
        node.putMessages++
        const outcomes = item.value.blocks.map((block, index): PutOutcome => {
          return this.#outcome(node, index, block.block, block.grant, block.data)
        })
        this.#down({ $case: 'put', value: { call: item.value.call, outcomes } })
        return
      }
      case 'put':
        if (item.value.block !== undefined) {
          const { call, block, grant, chain } = item.value
          this.#puts.set(call, { meta: block, grant, chain, parts: [] })
        }
        return
      case 'data':
        this.#data(node, item.value.call, item.value.data)
        return
      case 'get':
        this.#get(node, item.value)
        return
      case 'getSmall':
        this.#getSmall(node, item.value)
        return
      case 'hello': {
        const { host } = item.value
        const offer = { folder: `/${node.address}`, proofFile: 'tmp/proof-1', proof: node.told }
        const local = host === `host${node.id}` ? offer : undefined
        this.#down({
          $case: 'welcome',
          value: { version: node.version, node: node.id, incarnation: 1n, local },
        })
        return
      }
      case 'cancel':
    }
  }

  #outcome(
    node: FakeNode,
    index: number,
    meta: BlockMeta | undefined,
    grant: Grant | undefined,
    data: Uint8Array,
  ): PutOutcome {
    try {
      if (meta === undefined) throw new FsError('EPROTO')
      return { node: node.id, index, receipt: this.#net.store(node, meta, grant, data), error: undefined }
    } catch (thrown) {
      return { node: node.id, index, receipt: undefined, error: errorToWire(thrown) }
    }
  }

  #data(node: FakeNode, call: bigint, data: Uint8Array): void {
    const put = this.#puts.get(call)
    if (put === undefined) return
    put.parts.push(Buffer.from(data))
    const all = Buffer.concat(put.parts)
    if (all.length < put.meta.length) return
    this.#puts.delete(call)
    const outcomes = [this.#outcome(node, 0, put.meta, put.grant, all)]
    let broken = false
    for (const target of put.chain) {
      const next = this.#net.at(target.address)
      if (broken || next === undefined || next.down || next.frozen) {
        const error = errorToWire(new FsError(broken ? 'ECANCELED' : 'EPIPE'))
        outcomes.push({ node: target.node, index: 0, receipt: undefined, error })
        broken = true
      } else outcomes.push(this.#outcome(next, 0, put.meta, target.grant, all))
    }
    this.#down({ $case: 'put', value: { call, outcomes } })
  }

  #getSmall(node: FakeNode, { call, ids, tokens }: GetSmall): void {
    node.smallGets++
    const { faults } = this.#net
    const blocks = ids.flatMap((bytes, index) => {
      const id = toBlockId(bytes)
      const found = node.blocks.get(id)
      if (!this.#net.mayRead(bytes, tokens[index])) return []
      if (found === undefined || found.length > pieceBytes || this.#net.chance(faults.missGet)) return []
      const data = Buffer.from(found)
      if (this.#net.chance(faults.corruptGet)) data[0] = (data[0] ?? 0) ^ 1
      return [{ index, checksums: node.checksums.get(id) ?? Buffer.alloc(0), data }]
    })
    this.#down({ $case: 'small', value: { call, blocks, last: true } })
  }

  #get(node: FakeNode, get: GetBlock): void {
    const { faults } = this.#net
    const { call, id } = get
    node.gets++
    try {
      this.#net.checkToken(get)
    } catch (thrown) {
      this.#down({ $case: 'failure', value: { call, error: errorToWire(thrown) } })
      return
    }
    const data = node.blocks.get(toBlockId(id))
    if (data === undefined || this.#net.chance(faults.missGet)) {
      this.#down({ $case: 'failure', value: { call, error: errorToWire(new FsError('ENOENT')) } })
      return
    }
    if (get.local && data.length > pieceBytes) {
      const checksums = node.checksums.get(toBlockId(id)) ?? Buffer.alloc(0)
      const none = Buffer.alloc(0)
      const found = {
        call,
        offset: 0,
        blockLength: data.length,
        checksums,
        last: true,
        inFile: true,
        data: none,
      }
      this.#down({ $case: 'data', value: found })
      return
    }
    const from = Math.floor(get.offset / pieceBytes) * pieceBytes
    const to = Math.min(data.length, Math.ceil((get.offset + get.length) / pieceBytes) * pieceBytes)
    const corrupt = this.#net.chance(faults.corruptGet)
    node.getBytes += to - from
    const frames: DownItem[] = []
    for (let at = from; at < to; at += 2 * pieceBytes) {
      const end = Math.min(to, at + 2 * pieceBytes)
      const part = Buffer.from(data.subarray(at, end))
      const kept = node.checksums.get(toBlockId(id)) ?? Buffer.alloc(0)
      const checksums = kept.subarray((at / pieceBytes) * 8, Math.ceil(end / pieceBytes) * 8)
      if (corrupt) part[part.length >> 1] = (part[part.length >> 1] ?? 0) ^ 1
      frames.push({
        $case: 'data',
        value: {
          call,
          offset: at,
          blockLength: data.length,
          checksums,
          last: end === to,
          inFile: false,
          data: part,
        },
      })
    }
    // One after the other: frames of a stream keep their order.
    const next = (): void => {
      const item = frames.shift()
      if (item === undefined) return
      this.#net.later(() => {
        if (!this.#closed) this.#onFrame({ item })
        next()
      })
    }
    next()
  }
}
