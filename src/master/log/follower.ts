/**
 * The master's end of one node that keeps the log. What is on stable storage there is what the node has said; on a
 * broken link that is asked again.
 *
 *             dial           welcome
 *   away ──────────► joining ────────► log  records go, if the node has a base that they follow
 *    ▲                           └───► base a base goes, and records beside it ──► log
 *    └── link closed, or it is silent with something to store
 */
import type { Timer } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { dataMessageBytes } from '../../core/limits.ts'
import type { Link } from '../../core/network.ts'
import { MiB, second } from '../../core/units.ts'
import type { LogBaseStored, LogDown, LogUp, LogWelcome } from '../../wire/gen/cairn/v1/log.ts'
import { logFollow } from '../../wire/services.ts'
import { oneofPresent, u63, u64 } from '../../wire/validate.ts'
import type { Base } from './base.ts'
import { helloTo, type LogParts } from './drop-log.ts'
import type { LogFollowerState, LogNode } from './log-state.ts'
import type { RecordQueue } from './record-queue.ts'

export interface FollowerParts extends LogParts {
  readonly queue: RecordQueue
  /** Something was stored, or the link came or went. */
  readonly changed: () => void
}

/** What may be on its way and not be stored yet: of records, and of a base. */
const windowBytes = 1 * MiB
const redialMinMs = 0.5 * second
const redialMaxMs = 5 * second
/** A node that stores nothing of what it was sent for so long is given up, and dialled again. */
const stuckMs = 20 * second

interface SentRecord {
  readonly sequence: bigint
  readonly bytes: number
}

interface SentBase {
  readonly base: Base
  /** Bytes that were sent, and that have come. */
  sent: number
  stored: number
  reading: boolean
  ended: boolean
}

export class Follower {
  readonly #parts: FollowerParts
  #node: LogNode
  #link: Link<LogUp, LogDown> | undefined
  #timer: Timer | undefined
  #closed = false
  #welcomed = false
  #failures = 0
  #reason = ''
  /** When it was last there, by the clock that never goes back. */
  #awaySinceMs: number
  /** What is under way since then has not become less. */
  #movedMs = 0
  /** Records up to here are on stable storage there; those up to `#sent` are on their way. */
  #stored = 0n
  #sent = 0n
  #underWay: SentRecord[] = []
  #underWayBytes = 0
  /** Of what the node has: it is of use from here on. */
  #whole: { readonly after: bigint; readonly until: bigint } | undefined
  #base: SentBase | undefined
  /** Records that it would have needed have gone. */
  #lost = false
  /** Bytes of records since its base. */
  #sinceBase = 0

  constructor(parts: FollowerParts, node: LogNode) {
    this.#parts = parts
    this.#node = node
    this.#awaySinceMs = parts.env.clock.now()
    this.#dial()
  }

  get node(): LogNode {
    return this.#node
  }

  update(node: LogNode): void {
    this.#node = node
  }

  /** Up to where it has everything, if what it has is of use; else undefined. */
  get covers(): bigint | undefined {
    return this.#whole !== undefined && this.#stored >= this.#whole.until ? this.#stored : undefined
  }

  /** Records after this must be kept for it; undefined while it needs none. */
  get keptFrom(): bigint | undefined {
    const follows = this.#base !== undefined || (this.#whole !== undefined && !this.#lost)
    return follows ? this.#stored : undefined
  }

  get wantsBase(): boolean {
    return this.#welcomed && this.#base === undefined && (this.#whole === undefined || this.#lost)
  }

  get hasBaseUnderWay(): boolean {
    return this.#base !== undefined
  }

  get bytesSinceBase(): number {
    return this.#sinceBase
  }

  get awayMs(): number {
    return this.#welcomed ? 0 : this.#parts.env.clock.now() - this.#awaySinceMs
  }

  get state(): LogFollowerState {
    const { node, address } = this.#node
    return {
      node,
      address,
      state: !this.#welcomed ? 'away' : this.covers === undefined ? 'base' : 'log',
      whole: this.covers !== undefined,
      behindBytes: this.#parts.queue.bytesAfter(this.#stored),
      reason: this.#welcomed ? '' : this.#reason,
    }
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#link?.close()
    this.#dropBase()
  }

  /** A base is being made, and records after `base.after` will be there for it. */
  give(base: Base): void {
    if (!this.#welcomed || this.#base !== undefined) return
    base.use()
    this.#base = { base, sent: 0, stored: 0, reading: false, ended: false }
    this.#movedMs = this.#parts.env.clock.now()
    // Records that it missed are in the base.
    if (this.#lost || this.#whole === undefined) {
      this.#lost = false
      this.#whole = undefined
      if (base.after > this.#stored) this.#stored = base.after
      this.#sent = this.#stored
      this.#underWay = []
      this.#underWayBytes = 0
    }
    this.#send({ $case: 'base', value: { after: base.after } })
    this.pump()
  }

  /** It could not be made. */
  giveUp(base: Base): void {
    if (this.#base?.base === base) this.#dropBase()
  }

  /** Sends what may go: called when there is something new. */
  pump(): void {
    if (!this.#welcomed || this.#closed) return
    if (this.#isStuck()) {
      this.#link?.close(new FsError('ETIMEDOUT', 'nothing of what it was sent was stored'))
      return
    }
    if (this.#whole !== undefined || this.#base !== undefined) this.#pumpRecords()
    this.#pumpBase()
  }

  // ---- the link

  #dial(): void {
    if (this.#closed) return
    const { env, network } = this.#parts
    const link = network.dial(this.#node.address, logFollow)
    this.#link = link
    link.onFrame(frame => {
      if (this.#link === link) this.#receive(oneofPresent(frame.item, 'log frame'))
    })
    link.onClose(error => {
      if (this.#link === link) this.#lostLink(error)
    })
    link.send(helloTo(this.#parts, this.#node))
    // One that never answers.
    this.#timer = env.timers.after(stuckMs, () => link.close(new FsError('ETIMEDOUT', 'it does not answer')))
  }

  #lostLink(error: FsError | undefined): void {
    const { env, changed } = this.#parts
    this.#link = undefined
    this.#timer?.cancel()
    if (this.#welcomed) this.#awaySinceMs = env.clock.now()
    this.#reason = error?.message ?? 'it closed the connection'
    this.#welcomed = false
    this.#underWay = []
    this.#underWayBytes = 0
    this.#sent = this.#stored
    this.#dropBase()
    if (this.#closed) return
    this.#failures++
    const ms = Math.min(redialMaxMs, redialMinMs * 2 ** Math.min(this.#failures, 10))
    this.#timer = env.timers.after(ms / 2 + env.random.below(Math.ceil(ms / 2)), () => this.#dial())
    changed()
  }

  #receive(item: NonNullable<LogDown['item']>): void {
    switch (item.$case) {
      case 'welcome':
        this.#welcome(item.value)
        break
      case 'stored':
        this.#noteStored(u63(item.value.sequence, 'stored.sequence'))
        break
      case 'base':
        this.#noteBase(item.value)
    }
    this.#movedMs = this.#parts.env.clock.now()
    this.pump()
    this.#parts.changed()
  }

  #welcome({ last, hasBase, base, until }: LogWelcome): void {
    this.#timer?.cancel()
    this.#welcomed = true
    this.#failures = 0
    this.#stored = u63(last, 'welcome.last')
    this.#sent = this.#stored
    this.#whole = hasBase
      ? { after: u63(base, 'welcome.base'), until: u63(until, 'welcome.until') }
      : undefined
    this.#lost = false
    if (this.#stored <= this.#parts.queue.last) return
    // It has what nobody sent: none of it can be relied upon.
    this.#send({ $case: 'drop', value: {} })
    this.#stored = 0n
    this.#sent = 0n
    this.#whole = undefined
  }

  #noteStored(sequence: bigint): void {
    for (;;) {
      const [first] = this.#underWay
      if (first === undefined || first.sequence > sequence) break
      this.#underWay.shift()
      this.#underWayBytes -= first.bytes
      this.#stored = first.sequence
    }
  }

  #noteBase({ bytes, whole }: LogBaseStored): void {
    const sent = this.#base
    if (sent === undefined) return
    sent.stored = u64(bytes, 'base.bytes')
    const { ends } = sent.base
    if (!whole || !sent.ended || ends === undefined) return
    this.#whole = { after: sent.base.after, until: ends.until }
    this.#sinceBase = 0
    this.#dropBase()
  }

  // ---- what goes

  #pumpRecords(): void {
    const { queue } = this.#parts
    while (this.#underWayBytes < windowBytes) {
      const sequence = this.#sent + 1n
      const bytes = queue.get(sequence)
      if (bytes === undefined) {
        // Either it is yet to come, or it has gone.
        if (queue.last > this.#sent) this.#lose()
        return
      }
      if (this.#underWay.length === 0) this.#movedMs = this.#parts.env.clock.now()
      this.#sent = sequence
      this.#underWay.push({ sequence, bytes: bytes.length })
      this.#underWayBytes += bytes.length
      this.#sinceBase += bytes.length
      this.#send({ $case: 'record', value: { data: bytes } })
    }
  }

  /** What it has stays of use up to where it got. */
  #lose(): void {
    this.#lost = true
    if (this.#base === undefined) return
    this.#dropBase()
    this.#link?.close(new FsError('ECANCELED', 'records that it needs have gone'))
  }

  #pumpBase(): void {
    const sent = this.#base
    if (sent === undefined || sent.reading || sent.ended) return
    const { ends, file } = sent.base
    if (file === undefined) return
    if (sent.sent >= file.bytes) {
      if (ends === undefined) return
      sent.ended = true
      const { bytes, sha256 } = file
      this.#send({ $case: 'end', value: { bytes: BigInt(bytes), sha256, ...ends } })
      return
    }
    if (sent.sent - sent.stored >= windowBytes) return
    sent.reading = true
    const length = Math.min(dataMessageBytes, file.bytes - sent.sent)
    file.read(sent.sent, length).then(
      data => {
        sent.reading = false
        if (this.#base !== sent) return
        this.#send({ $case: 'data', value: { offset: BigInt(sent.sent), data } })
        sent.sent += data.length
        this.pump()
      },
      (error: unknown) => {
        sent.reading = false
        if (this.#base === sent) this.#link?.close(FsError.from(error))
      },
    )
  }

  #dropBase(): void {
    const sent = this.#base
    this.#base = undefined
    sent?.base.leave()
  }

  #isStuck(): boolean {
    const sent = this.#base
    const waits = this.#underWay.length > 0 || (sent !== undefined && (sent.ended || sent.sent > sent.stored))
    return waits && this.#parts.env.clock.now() - this.#movedMs > stuckMs
  }

  #send(item: NonNullable<LogUp['item']>): void {
    this.#link?.send({ item })
  }
}
