import type { Env, Timer } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import type { Link } from '../../core/network.ts'
import { wireVersion, wireVersionMin, wireVersionSmall } from '../../core/limits.ts'
import { minute, second } from '../../core/units.ts'
import type {
  BlocksDown,
  BlocksUp,
  GetData,
  PutBegin,
  PutOutcome,
  SmallGot,
} from '../../wire/gen/cairn/v1/blocks.ts'
import type { Error as WireError } from '../../wire/gen/cairn/v1/common.ts'
import { oneofPresent } from '../../wire/validate.ts'

interface PeerCall {
  /** Fails when nothing happened for this long. */
  readonly patienceMs: number
  lastProgress: number
  /** Whether something is expected of the other node: of a put that waits for more data from its sender, nothing is. */
  owed: boolean
  onOutcomes(outcomes: readonly PutOutcome[]): void
  onData(data: GetData): void
  onSmall(blocks: readonly SmallGot[], last: boolean): void
  onEnd(error: FsError): void
}

/** A put that is passed on to the next node. */
export interface PeerPut {
  /** Outcomes of the next node and those behind it. Rejects when it failed as a whole. */
  readonly outcomes: Promise<readonly PutOutcome[]>
  send(data: Uint8Array): void
  /** Resolves when the data sent so far has left this process, or never will. */
  drained(): Promise<void>
  cancel(): void
}

const sweepMs = 1 * second
const idleMs = 1 * minute

/** A stream to another node, with the calls on it. Ends with its link; the pool then makes a new one. */
export class PeerLink {
  readonly #env: Env
  readonly #link: Link<BlocksUp, BlocksDown>
  readonly #calls = new Map<bigint, PeerCall>()
  #lastCall = 0n
  #lastUse: number
  #sweeper: Timer | undefined
  #closed: FsError | undefined
  /** Of the protocol, as the other node said it; 0 until then. */
  #version = 0

  constructor(env: Env, link: Link<BlocksUp, BlocksDown>, cluster: Uint8Array, onGone: () => void) {
    this.#env = env
    this.#link = link
    this.#lastUse = env.clock.now()
    link.onFrame(frame => this.#receive(frame))
    link.onClose(error => {
      onGone()
      this.#end(error ?? new FsError('ECONNRESET', `node at ${link.peer} closed the stream`))
    })
    const versions = { versionMin: wireVersionMin, versionMax: wireVersion }
    link.send({ item: { $case: 'hello', value: { ...versions, cluster, session: 0n, epoch: 0n, host: '' } } })
    this.#sweep()
  }

  put(begin: Omit<PutBegin, 'call'>): PeerPut {
    let cancel = (): void => undefined
    let call = 0n
    let missing = begin.block?.length ?? 0
    let leaving = 0
    const outcomes = new Promise<readonly PutOutcome[]>((resolve, reject) => {
      call = this.#add({
        patienceMs: begin.patienceMs,
        onOutcomes: resolve,
        onData: unexpected,
        onSmall: unexpected,
        onEnd: reject,
      })
      this.#owes(call, false)
      cancel = () => this.#cancel(call, new FsError('ECANCELED', 'put was given up'))
      this.#link.send({ item: { $case: 'put', value: { ...begin, call } } })
    })
    // Whoever waits for the outcomes hears of a failure; a put that is cancelled has nobody waiting.
    const ended = outcomes.then(
      () => undefined,
      () => undefined,
    )
    return {
      outcomes,
      send: data => {
        missing -= data.length
        leaving += 1
        this.#owes(call, true)
        if (this.#calls.has(call)) this.#link.send({ item: { $case: 'data', value: { call, data } } })
      },
      // A peer that takes nothing more costs this call alone, once its patience ends.
      drained: async () => {
        await Promise.race([this.#link.drained(), ended])
        leaving -= 1
        this.#progress(call)
        this.#owes(call, leaving > 0 || missing <= 0)
      },
      cancel,
    }
  }

  /** Reads a whole block. What `take` throws ends the call with that error. */
  get(
    what: { readonly id: Uint8Array; readonly length: number; readonly token: Uint8Array },
    take: (data: GetData) => void,
    patienceMs: number,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const onData = (data: GetData): void => {
        try {
          take(data)
        } catch (error) {
          this.#cancel(data.call, FsError.from(error))
          return
        }
        if (!data.last) return
        this.#calls.delete(data.call)
        resolve()
      }
      const call = this.#add({
        patienceMs,
        onOutcomes: unexpected,
        onData,
        onSmall: unexpected,
        onEnd: reject,
      })
      this.#link.send({ item: { $case: 'get', value: { ...what, call, offset: 0, local: false } } })
    })
  }

  /** Whether the other node is known to answer `getSmall`. */
  get speaksSmall(): boolean {
    return this.#version >= wireVersionSmall
  }

  /** Reads many blocks of one piece, of which the node may leave some out. What `take` throws ends the call with that error. */
  getSmall(
    what: { readonly ids: Uint8Array[]; readonly tokens: Uint8Array[] },
    take: (blocks: readonly SmallGot[]) => void,
    patienceMs: number,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let call = 0n
      const onSmall = (blocks: readonly SmallGot[], last: boolean): void => {
        try {
          take(blocks)
        } catch (error) {
          this.#cancel(call, FsError.from(error))
          return
        }
        if (!last) return
        this.#calls.delete(call)
        resolve()
      }
      call = this.#add({ patienceMs, onOutcomes: unexpected, onData: unexpected, onSmall, onEnd: reject })
      this.#link.send({ item: { $case: 'getSmall', value: { ...what, call } } })
    })
  }

  close(): void {
    this.#link.close()
  }

  /** From when something is owed, patience counts anew. */
  #owes(call: bigint, owed: boolean): void {
    const found = this.#calls.get(call)
    if (found === undefined) return
    if (owed && !found.owed) found.lastProgress = this.#env.clock.now()
    found.owed = owed
  }

  #add(call: Omit<PeerCall, 'lastProgress' | 'owed'>): bigint {
    if (this.#closed !== undefined) throw this.#closed
    const id = ++this.#lastCall
    this.#lastUse = this.#env.clock.now()
    this.#calls.set(id, { ...call, lastProgress: this.#lastUse, owed: true })
    return id
  }

  #progress(call: bigint): PeerCall | undefined {
    const found = this.#calls.get(call)
    this.#lastUse = this.#env.clock.now()
    if (found !== undefined) found.lastProgress = this.#lastUse
    return found
  }

  #receive(frame: BlocksDown): void {
    const item = oneofPresent(frame.item, 'blocks frame')
    switch (item.$case) {
      case 'welcome':
        this.#version = item.value.version
        return
      case 'small': {
        const { call, blocks, last } = item.value
        this.#progress(call)?.onSmall(blocks, last)
        return
      }
      case 'put': {
        const { call, outcomes } = item.value
        this.#progress(call)?.onOutcomes(outcomes)
        this.#calls.delete(call)
        return
      }
      case 'data':
        this.#progress(item.value.call)?.onData(item.value)
        return
      case 'failure':
        this.#fail(item.value.call, errorOf(item.value.error))
    }
  }

  #fail(call: bigint, error: FsError): void {
    if (call === 0n) {
      this.#link.close()
      this.#end(error)
      return
    }
    const found = this.#calls.get(call)
    this.#calls.delete(call)
    found?.onEnd(error)
  }

  #cancel(call: bigint, error: FsError): void {
    if (!this.#calls.has(call)) return
    this.#link.send({ item: { $case: 'cancel', value: { call } } })
    this.#fail(call, error)
  }

  /** One timer for all calls of the link, and for the link itself. */
  #sweep(): void {
    const now = this.#env.clock.now()
    for (const [call, { lastProgress, patienceMs, owed }] of this.#calls)
      if (owed && now - lastProgress > patienceMs)
        this.#cancel(
          call,
          new FsError('ETIMEDOUT', `node at ${this.#link.peer} did not answer for ${patienceMs} ms`),
        )
    if (this.#calls.size === 0 && now - this.#lastUse > idleMs) this.#link.close()
    this.#sweeper = this.#env.timers.after(sweepMs, () => this.#sweep())
  }

  #end(error: FsError): void {
    this.#closed ??= error
    this.#sweeper?.cancel()
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    for (const call of calls) call.onEnd(error)
  }
}

function unexpected(): never {
  throw new FsError('EPROTO', 'the answer does not belong to the call')
}

export function errorOf(error: WireError | undefined): FsError {
  return FsError.fromErrno(error?.errno ?? 0, error?.message)
}
