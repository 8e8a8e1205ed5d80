import { must } from '../../core/assert.ts'
import type { Env, Timer } from '../../core/env.ts'
import { errno, FsError } from '../../core/errors.ts'
import {
  copiesMax,
  dataMessageBytes,
  pieceBytes,
  smallAtOnce,
  wireVersion,
  wireVersionMin,
} from '../../core/limits.ts'
import type { Caller, Link } from '../../core/network.ts'
import { blockCallId, type RequestLog } from '../../core/request-log.ts'
import type {
  BlocksDown,
  BlocksHello,
  BlocksUp,
  GetSmall,
  PutBegin,
  PutData,
} from '../../wire/gen/cairn/v1/blocks.ts'
import { blocksOpen } from '../../wire/services.ts'
import type { Denials } from '../../wire/tls/denials.ts'
import { putFailure } from '../../wire/put-failure.ts'
import { readerOf, type ReadTerms } from '../../wire/read-token.ts'
import { blockIdBytes } from '../../core/ids.ts'
import { bytesOf, bytesUpTo, listOf, oneofPresent, text, u63 } from '../../wire/validate.ts'
import type { Reader } from './authority.ts'
import { isForm, toClaim } from './claims.ts'
import { IncomingPut, type PutParts } from './incoming-put.ts'
import { sendBlock } from './outgoing-get.ts'
import { sendSmall } from './outgoing-small.ts'
import { Permits } from './permits.ts'
import { putSmall } from './put-small.ts'
import type { ReadRates } from './read-rates.ts'
import type { ReceiveBudget } from './receive-budget.ts'
import { SignsOfLife } from './signs-of-life.ts'
import type { Traffic } from './traffic.ts'
import type { UserActivity } from './user-activity.ts'

export interface StreamParts extends PutParts {
  readonly env: Env
  /** Shared by all streams. */
  readonly budget: ReceiveBudget
  readonly reads: Permits
  readonly readRates: ReadRates
  /** This machine. */
  readonly host: string
  readonly traffic: Traffic
  /** Hears of what mounts want. */
  readonly users: UserActivity
  /** Hears of what was slow. */
  readonly requests: RequestLog
  /** A put of which nothing came for so long is given up, ms. */
  readonly putSilentMs: number
  /** Hears of tokens that never were good for what they were shown for. */
  readonly denials: Denials
}

/** A peer that asks for more at a time than this is told to wait. */
const putsMax = 64
const getsMax = 1024
/** More would only interleave on one connection. */
const getsAtOnce = 4

const noBytes = new Uint8Array(0)

/** One peer's stream of the Blocks service. What does not have the form of the protocol ends the stream, nothing else. */
export class BlocksStream {
  readonly #parts: StreamParts
  readonly #link: Link<BlocksDown, BlocksUp>
  readonly #puts = new Map<bigint, IncomingPut>()
  readonly #gets = new Set<bigint>()
  /** When each put began, and when something of one that is under way came last. */
  readonly #began = new Map<bigint, number>()
  readonly #movedAt = new Map<bigint, number>()
  #sweeper: Timer | undefined
  readonly #getPermits = new Permits(getsAtOnce)
  /** Gets that have not ended, those that were cancelled and wait included. */
  #serving = 0
  readonly #signs: SignsOfLife
  readonly #caller: Caller
  #hello: BlocksHello | undefined
  #reader: Reader | undefined
  #closed = false

  constructor(parts: StreamParts, link: Link<BlocksDown, BlocksUp>, caller: Caller, onClosed: () => void) {
    this.#parts = parts
    this.#link = link
    this.#caller = caller
    this.#signs = new SignsOfLife(parts.env.timers, call => this.#signOfLife(call))
    link.onFrame(frame => this.#receive(frame))
    link.onClose(() => {
      this.#close()
      onClosed()
    })
  }

  #receive(frame: BlocksUp): void {
    const item = oneofPresent(frame.item, 'blocks frame')
    if (item.$case === 'hello') {
      this.#greet(item.value)
      return
    }
    if (this.#hello === undefined) throw new FsError('EPROTO', `blocks stream: ${item.$case} before hello`)
    // What is put is a mount's, also where another node passes it on; nodes get copies from each other.
    if (this.#hello.session !== 0n || item.$case.startsWith('put') || item.$case === 'data')
      this.#parts.users.note()
    switch (item.$case) {
      case 'put': {
        this.#begin(item.value, this.#hello)
        return
      }
      case 'data': {
        this.#data(item.value)
        return
      }
      case 'putSmall': {
        const bytes = item.value.blocks.reduce((sum, { data }) => sum + data.length, 0)
        const began = this.#parts.env.clock.now()
        const outcomes = putSmall(this.#parts, item.value)
        this.#parts.traffic.received(bytes)
        void this.#holding(bytes, outcomes)
        void outcomes.then(found => {
          this.#observe('put_small', item.value.call, began, putFailure(found))
          this.#answerPut(item.value.call, found)
        })
        return
      }
      case 'get': {
        const get = item.value
        const reader = must(this.#reader, 'reader')
        this.#serve('get', get.call, async cancelled => {
          const { store, reads } = this.#parts
          const terms = this.#checkRead(get.token, bytesOf(get.id, blockIdBytes, 'get.id'), reader)
          const local = get.local && terms?.mayReadFiles !== false
          if (get.local && !local)
            this.#noteDenied({ message: 'files of blocks: its export does not allow it' })
          const pace = (bytes: number): Promise<number> => this.#pace(get.call, terms, bytes, cancelled)
          return sendBlock(store, this.#link, { ...get, local }, reads, cancelled, pace)
        })
        return
      }
      case 'getSmall': {
        const get: GetSmall = item.value
        const reader = must(this.#reader, 'reader')
        this.#serve('get_small', get.call, cancelled => this.#sendSmall(get, reader, cancelled))
        return
      }
      case 'cancel':
        this.#puts.get(item.value.call)?.abort()
        this.#puts.delete(item.value.call)
        this.#began.delete(item.value.call)
        this.#gets.delete(item.value.call)
    }
  }

  #greet(hello: BlocksHello): void {
    if (this.#hello !== undefined) throw new FsError('EPROTO', 'blocks stream: a second hello')
    const { authority, store } = this.#parts
    const version = Math.min(hello.versionMax, wireVersion)
    if (version < Math.max(hello.versionMin, wireVersionMin)) {
      this.#refuse(
        new FsError(
          'EPROTO',
          `versions ${hello.versionMin} to ${hello.versionMax} of the protocol are not spoken here`,
        ),
      )
      return
    }
    const cluster = authority.membership?.cluster ?? store.identity.cluster
    // Before the first registration it belongs to none, and holds nothing.
    if (cluster.length > 0 && Buffer.compare(cluster, hello.cluster) !== 0) {
      this.#refuse(new FsError('ESTALE', 'this node belongs to another cluster'))
      return
    }
    this.#hello = { ...hello, cluster: new Uint8Array(0) }
    const { session, epoch } = hello
    const { identity: caller } = this.#caller
    // Nodes and administrators have no session, and tokens that are not bound to one certificate; a mount cannot say so.
    const identity = session === 0n && caller?.role !== 'mount' ? undefined : caller?.id
    this.#reader = { session, bytes: readerOf(session, epoch, identity) }
    const { node, incarnation } = store.identity
    const local = hello.host !== '' && hello.host === this.#parts.host ? store.shared : undefined
    this.#link.send({ item: { $case: 'welcome', value: { version, node, incarnation, local } } })
  }

  #refuse(error: FsError): void {
    this.#fail(0n, error)
    this.#link.close()
  }

  #begin(begin: PutBegin, hello: BlocksHello): void {
    const call = u63(begin.call, 'put.call')
    if (this.#puts.has(call)) throw new FsError('EPROTO', `put.call: ${call} is under way`)
    try {
      if (this.#puts.size >= putsMax) throw new FsError('EBUSY', `more than ${putsMax} puts at a time`)
      const claim = toClaim(begin.block, this.#parts.authority.blockBytes)
      const chain = listOf(begin.chain, copiesMax, 'put.chain')
      for (const { address } of chain) text(address, 'put.chain.address')
      const put = new IncomingPut(this.#parts, claim, begin, begin.verifyId || !this.#isNode(hello))
      this.#puts.set(call, put)
      this.#moved(call)
      this.#began.set(call, this.#parts.env.clock.now())
      if (put.hopeless) this.#finish(call, put)
    } catch (error) {
      this.#reject(call, error)
    }
  }

  /**
   * A client is never trusted with the id of a block: only a node that verified it may say that it did. Without TLS who says
   * that it is one is believed.
   */
  #isNode({ session }: BlocksHello): boolean {
    const { identity } = this.#caller
    return session === 0n && (identity === undefined || identity.role === 'chunkserver')
  }

  #data({ call, data }: PutData): void {
    bytesUpTo(data, 4 * dataMessageBytes, 'put.data')
    const put = this.#puts.get(call)
    // The rest of a put that was answered or cancelled.
    if (put === undefined) return
    this.#moved(call)
    this.#parts.traffic.received(data.length)
    try {
      void this.#holding(data.length, put.accept(data)).then(() => {
        if (put.hopeless && this.#puts.get(call) === put) this.#finish(call, put)
      })
    } catch (error) {
      this.#puts.delete(call)
      put.abort()
      this.#answerPut(call, put.failed(FsError.from(error)))
      return
    }
    if (put.complete) this.#finish(call, put)
  }

  #moved(call: bigint): void {
    const { env, putSilentMs } = this.#parts
    this.#movedAt.set(call, env.clock.now())
    this.#sweeper ??= env.timers.after(putSilentMs, () => this.#sweep())
  }

  /** Whoever began and sends nothing more holds room on the disk that others may need. */
  #sweep(): void {
    const { env, putSilentMs } = this.#parts
    this.#sweeper = undefined
    const now = env.clock.now()
    for (const [call, movedAt] of this.#movedAt) {
      const put = this.#puts.get(call)
      if (put === undefined) this.#movedAt.delete(call)
      if (put === undefined || now - movedAt < putSilentMs) continue
      this.#puts.delete(call)
      this.#movedAt.delete(call)
      put.abort()
      this.#answerPut(call, put.failed(new FsError('ETIMEDOUT', `nothing of it came for ${putSilentMs} ms`)))
    }
    if (this.#movedAt.size > 0) this.#sweeper = env.timers.after(putSilentMs, () => this.#sweep())
  }

  #finish(call: bigint, put: IncomingPut): void {
    this.#puts.delete(call)
    void put.finish().then(outcomes => this.#answerPut(call, outcomes))
  }

  #answerPut(call: bigint, outcomes: Awaited<ReturnType<IncomingPut['finish']>>): void {
    this.#noteRefused(outcomes)
    const began = this.#began.get(call)
    if (began !== undefined) this.#observe('put', call, began, putFailure(outcomes))
    this.#began.delete(call)
    this.#parts.users.note()
    this.#link.send({ item: { $case: 'put', value: { call, outcomes } } })
  }

  /** Answers a question for blocks by `send`, which resolves with the bytes that went. */
  #serve(operation: string, id: bigint, send: (cancelled: () => boolean) => Promise<number>): void {
    const call = u63(id, `${operation}.call`)
    if (this.#gets.has(call)) throw new FsError('EPROTO', `${operation}.call: ${call} is under way`)
    if (this.#serving >= getsMax) {
      this.#fail(call, new FsError('EBUSY', `more than ${getsMax} gets at a time`))
      return
    }
    this.#gets.add(call)
    this.#serving++
    this.#signs.isBehind(call)
    const { traffic, env } = this.#parts
    const began = env.clock.now()
    const cancelled = (): boolean => this.#closed || !this.#gets.has(call)
    void this.#getPermits
      .run(async () => {
        this.#signs.hasTurn(call)
        if (!cancelled()) traffic.sent(await send(cancelled))
        this.#observe(operation, call, began)
      })
      .catch((error: unknown) => {
        this.#observe(operation, call, began, FsError.from(error).code)
        this.#reject(call, error)
      })
      .finally(() => {
        this.#serving--
        this.#gets.delete(call)
      })
  }

  /** Waits until its export's rate allows so many bytes: how many were charged, none when it was cancelled meanwhile. */
  async #pace(
    call: bigint,
    terms: ReadTerms | undefined,
    bytes: number,
    cancelled: () => boolean,
  ): Promise<number> {
    const charged = this.#parts.readRates.admit(terms, bytes, cancelled)
    return typeof charged === 'number' ? charged : await this.#signs.during(call, charged)
  }

  /** What is asked for at once is paced as what it can be at most, and what it was less is given back. */
  async #sendSmall(get: GetSmall, reader: Reader, cancelled: () => boolean): Promise<number> {
    const { readRates } = this.#parts
    const ids = listOf(get.ids, smallAtOnce, 'get_small.ids')
    // All good ones are of one session, and so of one export.
    const found = ids.map((id, index) => this.#termsOrError(get.tokens[index] ?? noBytes, id, reader))
    const terms = found.find(each => each !== undefined && !(each instanceof FsError)) as
      | ReadTerms
      | undefined
    const check = (index: number): void => {
      const each = found[index]
      if (each instanceof FsError) throw each
    }
    const most = pieceBytes * ids.length
    const charged = await this.#pace(get.call, terms, most, cancelled)
    let sent = 0
    try {
      return (sent = await sendSmall({ ...this.#parts, check }, this.#link, get, cancelled))
    } finally {
      readRates.giveBack(terms, charged - sent)
    }
  }

  #termsOrError(token: Uint8Array, block: Uint8Array, reader: Reader): ReadTerms | FsError | undefined {
    try {
      return this.#checkRead(token, bytesOf(block, blockIdBytes, 'get_small.ids'), reader)
    } catch (thrown) {
      const error = FsError.from(thrown)
      if (isForm(error)) throw error
      return error
    }
  }

  #signOfLife(call: bigint): void {
    // Who reads nothing hears nothing either.
    if (!this.#gets.has(call) || this.#link.queuedBytes > dataMessageBytes) return
    const value = {
      call,
      offset: 0,
      blockLength: 0,
      checksums: noBytes,
      data: noBytes,
      last: false,
      inFile: false,
    }
    this.#link.send({ item: { $case: 'data', value } })
  }

  #checkRead(token: Uint8Array, block: Uint8Array, reader: Reader): ReadTerms | undefined {
    try {
      return this.#parts.authority.checkRead(token, block, reader)
    } catch (thrown) {
      if (thrown instanceof FsError && thrown.code === 'EACCES') this.#noteDenied(thrown)
      throw thrown
    }
  }

  /** Grants that never were good. */
  #noteRefused(outcomes: Awaited<ReturnType<IncomingPut['finish']>>): void {
    const refused = outcomes.find(({ error }) => error?.errno === errno.EACCES)?.error
    if (refused !== undefined) this.#noteDenied(refused)
  }

  /** Without names of blocks: they are many, and whose they are is nobody's to learn from a log. */
  #noteDenied({ message }: { readonly message: string }): void {
    const { role, name, id } = this.#caller.identity ?? { role: 'none', name: '', id: '' }
    this.#parts.denials.note(blocksOpen.path, {
      ...{ method: blocksOpen.path, peer: this.#link.peer, role, name, identity: id },
      ...{ session: this.#hello?.session ?? 0n, why: message.replaceAll(/ ?[0-9a-f]{64}/g, '') },
    })
  }

  #observe(operation: string, call: bigint, began: number, failure?: string): void {
    const { traffic, env, requests } = this.#parts
    const ms = env.clock.now() - began
    traffic.times.observe(operation, ms, failure)
    if (!requests.cares(ms, failure)) return
    // Nodes have no session: what one passes on for a mount is in the line of that one, too.
    const request = blockCallId(this.#hello?.session ?? 0n, call)
    requests.request({ operation, request, ms, failure }, { peer: this.#link.peer })
  }

  /** Counts received bytes as held until they are passed on, successfully or not. */
  async #holding(bytes: number, passedOn: Promise<unknown>): Promise<void> {
    this.#parts.budget.take(bytes, this.#link)
    try {
      await passedOn
    } catch {
      // It was noted where it happened; here only the memory counts.
    } finally {
      this.#parts.budget.release(bytes)
    }
  }

  #reject(call: bigint, thrown: unknown): void {
    const error = FsError.from(thrown)
    if (!(thrown instanceof FsError))
      this.#parts.env.log.error('a call of the Blocks service failed', {
        error: thrown,
        peer: this.#link.peer,
      })
    if (isForm(error)) this.#refuse(error)
    else this.#fail(call, error)
  }

  #fail(call: bigint, { errno, message }: FsError): void {
    this.#link.send({ item: { $case: 'failure', value: { call, error: { errno, message } } } })
  }

  #close(): void {
    this.#closed = true
    this.#sweeper?.cancel()
    this.#signs.close()
    this.#movedAt.clear()
    this.#parts.budget.forget(this.#link)
    for (const put of this.#puts.values()) put.abort()
    this.#puts.clear()
    this.#began.clear()
    this.#gets.clear()
  }
}
