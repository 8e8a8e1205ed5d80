/**
 * One Blocks.Open stream to a chunkserver: many puts and gets at once, told apart by call ids. A call
 * ends with its answer, with the link's end, or when nothing of it moved for `stallMs`. Nothing here
 * retries: whoever called goes on to another node.
 */
import type { Env, Timer } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { dataMessageBytes, wireVersion, wireVersionMin, wireVersionSmall } from '../../core/limits.ts'
import type { Link } from '../../core/network.ts'
import { blockCallId, type RequestLog } from '../../core/request-log.ts'
import { MiB, second } from '../../core/units.ts'
import { errorFromWire } from '../../wire/attr.ts'
import { putFailure } from '../../wire/put-failure.ts'
import type { LocalBlocks } from './local-blocks.ts'
import type { LocalOffer } from './local-files.ts'
import type {
  BlocksDown,
  BlocksUp,
  GetBlock,
  GetData,
  GetSmall,
  PutBegin,
  PutOutcome,
  PutSmall,
  SmallData,
} from '../../wire/gen/cairn/v1/blocks.ts'

/** Queued on a link before a put waits: enough to keep the socket busy, little enough to be fair. */
const queuedBytesMax = 2 * MiB
const tickMs = 1 * second

interface Call {
  readonly operation: 'put_small' | 'put' | 'get' | 'get_small'
  readonly began: number
  /** When something of it last moved, on the clock. */
  movedAt: number
  readonly stallMs: number
  readonly onPut?: (outcomes: readonly PutOutcome[]) => void
  readonly onData?: (data: GetData) => void
  readonly onSmall?: (data: SmallData) => void
  readonly onDone?: () => void
  readonly onError: (error: FsError) => void
}

type UpItem = NonNullable<BlocksUp['item']>

export interface BlockIdentity {
  readonly cluster: Uint8Array
  readonly session: bigint
  readonly epoch: bigint
}

/** For a client that reads the files of nodes on its machine itself. */
export interface LocalAccess {
  readonly host: string
  /** Undefined if the folder cannot be read here. */
  readonly open: (offer: LocalOffer) => Promise<LocalBlocks | undefined>
}

/** What the links of a mount have in common. */
export interface LinkRequests {
  /** Numbers for calls, none twice, so that each is known by its number in logs. */
  readonly nextCall: () => bigint
  readonly log?: RequestLog | undefined
}

export function countUp(): () => bigint {
  let last = 0n
  return () => ++last
}

export class BlockLink {
  readonly identity: BlockIdentity
  readonly #env: Env
  readonly #link: Link<BlocksUp, BlocksDown>
  readonly #calls = new Map<bigint, Call>()
  readonly #requests: LinkRequests
  #ticker: Timer | undefined
  #heardAt: number
  #usedAt: number
  #closed = false
  /** What the node has said to speak. */
  #version = 0
  readonly #access: LocalAccess | undefined
  #local: LocalBlocks | undefined

  constructor(
    env: Env,
    link: Link<BlocksUp, BlocksDown>,
    identity: BlockIdentity,
    onClosed: () => void,
    access?: LocalAccess,
    requests: LinkRequests = { nextCall: countUp() },
  ) {
    this.#requests = requests
    this.#access = access
    this.#env = env
    this.#link = link
    this.identity = identity
    this.#heardAt = this.#usedAt = env.clock.now()
    link.onFrame(frame => this.#receive(frame))
    link.onClose(error => {
      this.#closed = true
      this.#local?.close()
      this.#ticker?.cancel()
      onClosed()
      this.#failAll(error ?? new FsError('EPIPE', `${link.peer} closed the stream of blocks`))
    })
    const hello = {
      versionMin: wireVersionMin,
      versionMax: wireVersion,
      ...identity,
      host: access?.host ?? '',
    }
    this.#send({ $case: 'hello', value: hello })
  }

  get closed(): boolean {
    return this.#closed
  }

  get readsFiles(): boolean {
    return this.#local?.usable === true
  }

  /** The node's blocks as this process can read them by itself. */
  get local(): LocalBlocks | undefined {
    if (this.#local?.usable !== true) return undefined
    this.#usedAt = this.#env.clock.now()
    return this.#local
  }

  /** The node can be asked for many small blocks at once. */
  get getsSmall(): boolean {
    return this.#version >= wireVersionSmall && !this.#closed
  }

  get busy(): number {
    return this.#calls.size
  }

  /** Since when, on the clock, nothing was asked of it. */
  get usedAt(): number {
    return this.#usedAt
  }

  get peer(): string {
    return this.#link.peer
  }

  /** When, on the clock, it last said anything, or had been asked for nothing. */
  get heardAt(): number {
    return this.#heardAt
  }

  close(): void {
    this.#link.close()
  }

  /** Stores whole small blocks; one outcome for each index, of those that the node answered for. */
  putSmall(blocks: PutSmall['blocks'], stallMs: number): Promise<readonly PutOutcome[]> {
    return new Promise((resolve, reject) => {
      const call = this.#begin({ operation: 'put_small', stallMs, onPut: resolve, onError: reject })
      this.#send({ $case: 'putSmall', value: { call, blocks } })
    })
  }

  /** Stores a large block on the node and, through it, on those of `begin.chain`. */
  putLarge(begin: Omit<PutBegin, 'call'>, data: Buffer): Promise<readonly PutOutcome[]> {
    return new Promise((resolve, reject) => {
      const stallMs = begin.patienceMs
      const call = this.#begin({ operation: 'put', stallMs, onPut: resolve, onError: reject })
      this.#send({ $case: 'put', value: { ...begin, call } })
      this.#pour(call, data).catch((thrown: unknown) => this.#fail(call, FsError.from(thrown)))
    })
  }

  /**
   * Reads a range of a block. `onData` gets every frame, in order; what it throws ends the call. Resolves
   * after the last frame, rejects with ECANCELED when the signal aborts.
   */
  get(
    what: Omit<GetBlock, 'call'>,
    onData: (data: GetData) => void,
    stallMs: number,
    signal?: AbortSignal,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = this.#begin({ operation: 'get', stallMs, onData, onDone: resolve, onError: reject })
      this.#send({ $case: 'get', value: { ...what, call } })
      signal?.addEventListener('abort', () => this.#cancel(call, new FsError('ECANCELED')), { once: true })
    })
  }

  /**
   * Asks for whole blocks of one piece. `onData` gets those that the node has and can read, in any order; what it
   * throws ends the call.
   */
  getSmall(
    what: Omit<GetSmall, 'call'>,
    onData: (index: number, data: Uint8Array, checksums: Uint8Array) => void,
    stallMs: number,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const onSmall = ({ blocks }: SmallData): void => {
        for (const { index, data, checksums } of blocks) onData(index, data, checksums)
      }
      const call = this.#begin({ operation: 'get_small', stallMs, onSmall, onDone: resolve, onError: reject })
      this.#send({ $case: 'getSmall', value: { ...what, call } })
    })
  }

  async #pour(call: bigint, data: Buffer): Promise<void> {
    for (let at = 0; at < data.length; at += dataMessageBytes) {
      if (this.#link.queuedBytes > queuedBytesMax) await this.#link.drained()
      const state = this.#calls.get(call)
      // Answered early: a refusal.
      if (state === undefined) return
      state.movedAt = this.#env.clock.now()
      this.#send({ $case: 'data', value: { call, data: data.subarray(at, at + dataMessageBytes) } })
    }
  }

  #begin(call: Omit<Call, 'movedAt' | 'began'>): bigint {
    const now = this.#env.clock.now()
    if (this.#calls.size === 0) this.#heardAt = now
    this.#usedAt = now
    const id = this.#requests.nextCall()
    this.#calls.set(id, { ...call, movedAt: now, began: now })
    this.#ticker ??= this.#env.timers.after(tickMs, () => this.#tick())
    // A closed link answers at once, so that the caller goes on elsewhere.
    if (this.#closed) {
      const error = new FsError('EPIPE', `${this.#link.peer}: the stream of blocks is closed`)
      this.#env.timers.soon(() => this.#fail(id, error))
    }
    return id
  }

  #send(item: UpItem): void {
    this.#link.send({ item })
  }

  #receive(frame: BlocksDown): void {
    const now = (this.#heardAt = this.#env.clock.now())
    const { item } = frame
    switch (item?.$case) {
      case 'put': {
        const { call, outcomes } = item.value
        this.#finish(call, putFailure(outcomes))?.onPut?.(outcomes)
        return
      }
      case 'data': {
        const data = item.value
        // A sign of life to who waits for the rate of its export.
        const isEmpty = data.data.length === 0 && !data.last
        this.#moved(data, now, ({ onData }) => {
          if (!isEmpty) onData?.(data)
        })
        return
      }
      case 'small': {
        const data = item.value
        this.#moved(data, now, ({ onSmall }) => onSmall?.(data))
        return
      }
      case 'failure': {
        const error = errorFromWire(item.value.error, 'failure.error')
        if (item.value.call === 0n) this.#link.close(error)
        else this.#fail(item.value.call, error)
        return
      }
      case 'welcome':
        this.#version = item.value.version
        if (item.value.local !== undefined) void this.#openLocal(item.value.local)
        return
      case undefined:
    }
  }

  async #openLocal(offer: LocalOffer): Promise<void> {
    try {
      const local = await this.#access?.open(offer)
      if (this.#closed) local?.close()
      else this.#local = local
    } catch (thrown) {
      const fields = { node: this.peer, folder: offer.folder, error: messageOf(thrown) }
      this.#env.log.warn('the files of a node on this machine cannot be read', fields)
    }
  }

  /** Some of what a get asked for has come. What nobody asked for is nobody's. */
  #moved(data: { call: bigint; last: boolean }, now: number, take: (call: Call) => void): void {
    const call = this.#calls.get(data.call)
    if (call === undefined) return
    call.movedAt = now
    try {
      if (call.onDone === undefined) throw new FsError('EPROTO', 'Data came in answer to a put')
      take(call)
    } catch (thrown) {
      this.#cancel(data.call, FsError.from(thrown))
      return
    }
    if (data.last) this.#finish(data.call)?.onDone?.()
  }

  #finish(id: bigint, failure?: string): Call | undefined {
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    if (call !== undefined) this.#note(id, call, failure)
    this.#usedAt = this.#heardAt
    return call
  }

  #fail(id: bigint, error: FsError): void {
    this.#finish(id, error.code)?.onError(error)
  }

  #cancel(id: bigint, error: FsError): void {
    if (!this.#calls.has(id)) return
    this.#send({ $case: 'cancel', value: { call: id } })
    this.#fail(id, error)
  }

  #failAll(error: FsError): void {
    const calls = [...this.#calls]
    this.#calls.clear()
    for (const [id, call] of calls) {
      this.#note(id, call, error.code)
      call.onError(error)
    }
  }

  #note(call: bigint, { operation, began }: Call, failure: string | undefined): void {
    const { log } = this.#requests
    const ms = this.#env.clock.now() - began
    if (log?.cares(ms, failure) !== true) return
    const request = blockCallId(this.identity.session, call)
    log.request({ operation, request, ms, failure }, { node: this.peer })
  }

  /** One timer for all calls. */
  #tick(): void {
    this.#ticker = undefined
    const now = this.#env.clock.now()
    for (const [id, call] of this.#calls) {
      const silentMs = now - call.movedAt
      if (silentMs < call.stallMs) continue
      const error = new FsError('ETIMEDOUT', `${this.#link.peer}: nothing for ${Math.round(silentMs)} ms`)
      if (now - this.#heardAt >= call.stallMs) {
        this.#link.close(error)
        return
      }
      this.#cancel(id, error)
    }
    if (this.#calls.size > 0) this.#ticker = this.#env.timers.after(tickMs, () => this.#tick())
  }
}
