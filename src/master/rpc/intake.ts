/**
 * What has arrived and the engine has not taken yet. As long as that is little, it goes to the engine in the order in which
 * it came. When more comes than the engine gets done, each step takes some: first what is no frame (administration,
 * connections, facts), then of each identity in turn, and of each of its connections in turn, a small share or one frame,
 * until the step is full. So who asks much, over however many connections, waits for what it asked itself, and nobody else
 * for more than one share of everybody. A connection of which much waits is not listened to until that is less: its own
 * transport holds it up. One that does not read its answers gets no further ones.
 */
import { hostOfPeer } from '../../core/address.ts'
import { KiB, MiB } from '../../core/units.ts'
import type { EngineInput } from '../engine/io.ts'

/** What one step takes: short enough for others not to wait long, long enough for one sync of the disk to serve many. */
export const stepInputsMax = 256
const stepBytesMax = 64 * KiB
/** Where only one connection asks, nobody else waits for it: more share a sync, as long as who comes next waits little. */
const stepBytesAlone = 256 * KiB
/** Of one connection, in its turn: one frame at least. A mount that does one thing after the other has less under way. */
const shareBytes = 4 * KiB
/** What may wait of one connection, until it is not listened to; and again when half is done. */
export const waitingInputsMax = 1024
const waitingBytesMax = 1 * MiB

/** How a connection is held up. */
export interface Flow {
  /** It has answers that it does not read: nothing more is executed for it. */
  readonly blocked: boolean
  pause(): void
  resume(): void
}

interface Arrived {
  /** In the order of arrival. */
  readonly at: number
  readonly input: EngineInput
}

/** Frames of one connection, and that it was closed. */
interface Line {
  readonly inputs: Arrived[]
  bytes: number
  paused: boolean
}

export class Intake {
  readonly #flowOf: (connection: number) => Flow | undefined
  #urgent: Arrived[] = []
  readonly #lines = new Map<number, Line>()
  /** Connections of which something waits, by whose they are; of both the next one in turn first. */
  #turns = new Map<string, Set<number>>()
  readonly #ownerOf = new Map<number, string>()
  /** By the last `take`. */
  #taken: readonly Arrived[] = []
  #arrived = 0
  #waiting = 0
  #bytes = 0

  constructor(flowOf: (connection: number) => Flow | undefined) {
    this.#flowOf = flowOf
  }

  /** There is nothing that the engine can be given now. */
  get isEmpty(): boolean {
    return (
      this.#urgent.length === 0 && ![...this.#lines.keys()].some(connection => !this.#isBlocked(connection))
    )
  }

  add(input: EngineInput): void {
    const arrived = { at: this.#arrived++, input }
    if (input.kind === 'opened') this.#ownerOf.set(input.connection, ownerOf(input))
    if (input.kind !== 'frame' && input.kind !== 'closed') {
      this.#urgent.push(arrived)
      return
    }
    const { connection } = input
    const line = this.#line(connection)
    line.inputs.push(arrived)
    this.#count(line, input, 1)
    if (line.paused || (line.inputs.length <= waitingInputsMax && line.bytes <= waitingBytesMax)) return
    line.paused = true
    this.#flowOf(connection)?.pause()
  }

  /** What the next step is given. */
  take(): EngineInput[] {
    const bytesMax = this.#lines.size === 1 ? stepBytesAlone : stepBytesMax
    const isLittle = this.#waiting <= stepInputsMax && this.#bytes <= bytesMax
    if (isLittle && !this.#isAnyBlocked) return this.takeAll()
    const taken = this.#urgent
    this.#urgent = []
    for (let bytes = 0; taken.length < stepInputsMax && bytes < bytesMax; ) {
      const share = this.#next()
      if (share.length === 0) break
      for (const arrived of share) {
        bytes += bytesOf(arrived.input)
        taken.push(arrived)
      }
    }
    this.#taken = taken
    return taken.map(({ input }) => input)
  }

  /** The last ones of what was taken the engine has not got to: they come first the next time. */
  putBack(count: number): void {
    if (count === 0) return
    const rest = this.#taken.slice(-count)
    const turns = new Map<string, Set<number>>()
    for (const arrived of rest.toReversed()) {
      const { input } = arrived
      if (input.kind !== 'frame' && input.kind !== 'closed') {
        this.#urgent.unshift(arrived)
        continue
      }
      const line = this.#line(input.connection)
      line.inputs.unshift(arrived)
      this.#count(line, input, 1)
    }
    for (const { input } of rest) {
      if (input.kind !== 'frame' && input.kind !== 'closed') continue
      const owner = this.#ownerOfLine(input.connection)
      const first = turns.get(owner) ?? new Set<number>()
      turns.set(owner, first.add(input.connection))
    }
    for (const [owner, connections] of this.#turns) {
      const first = turns.get(owner) ?? new Set<number>()
      turns.set(owner, first)
      for (const connection of connections) first.add(connection)
    }
    this.#turns = turns
    this.#taken = []
  }

  /** Connections of which something waits for its turn, and not for them. */
  get waiting(): number[] {
    return [...this.#lines.keys()].filter(connection => !this.#isBlocked(connection))
  }

  /** Everything, in the order in which it came. */
  takeAll(): EngineInput[] {
    const all = [...this.#urgent, ...[...this.#lines.values()].flatMap(({ inputs }) => inputs)]
    all.sort((a, b) => a.at - b.at)
    const lines = [...this.#lines]
    this.#clear()
    for (const [connection, { paused }] of lines) if (paused) this.#flowOf(connection)?.resume()
    this.#taken = all
    for (const { input } of all) this.#forget(input)
    return all.map(({ input }) => input)
  }

  /** Nothing of what was there is wanted any more. */
  replace(inputs: Iterable<EngineInput>): void {
    this.#clear()
    this.#ownerOf.clear()
    this.#taken = []
    for (const input of inputs) this.add(input)
  }

  #clear(): void {
    this.#urgent = []
    this.#lines.clear()
    this.#turns.clear()
    this.#waiting = 0
    this.#bytes = 0
  }

  #line(connection: number): Line {
    let line = this.#lines.get(connection)
    if (line === undefined) {
      this.#lines.set(connection, (line = { inputs: [], bytes: 0, paused: false }))
      const owner = this.#ownerOfLine(connection)
      this.#turns.set(owner, (this.#turns.get(owner) ?? new Set<number>()).add(connection))
    }
    return line
  }

  #ownerOfLine(connection: number): string {
    return this.#ownerOf.get(connection) ?? `connection ${connection}`
  }

  #isBlocked(connection: number): boolean {
    return this.#flowOf(connection)?.blocked === true
  }

  get #isAnyBlocked(): boolean {
    for (const connection of this.#lines.keys()) if (this.#isBlocked(connection)) return true
    return false
  }

  #count(line: Line, input: EngineInput, by: 1 | -1): void {
    line.bytes += by * bytesOf(input)
    this.#bytes += by * bytesOf(input)
    this.#waiting += by
  }

  #forget(input: EngineInput): void {
    if (input.kind === 'closed') this.#ownerOf.delete(input.connection)
  }

  /** The share of the connection whose turn it is; nothing if nothing waits that may be executed. */
  #next(): Arrived[] {
    for (const [owner, connections] of this.#turns)
      for (const connection of connections) {
        const line = this.#lines.get(connection)
        if (line === undefined || this.#isBlocked(connection)) continue
        const share = this.#shareOf(connection, line)
        connections.delete(connection)
        if (line.inputs.length > 0) connections.add(connection)
        else this.#lines.delete(connection)
        this.#turns.delete(owner)
        if (connections.size > 0) this.#turns.set(owner, connections)
        for (const { input } of share) this.#forget(input)
        return share
      }
    return []
  }

  #shareOf(connection: number, line: Line): Arrived[] {
    let bytes = 0
    let count = 0
    do bytes += bytesOf(line.inputs[count++]?.input)
    while (count < line.inputs.length && bytes + bytesOf(line.inputs[count]?.input) <= shareBytes)
    const share = line.inputs.splice(0, count)
    for (const { input } of share) this.#count(line, input, -1)
    if (line.paused && line.inputs.length <= waitingInputsMax / 2 && line.bytes <= waitingBytesMax / 2) {
      line.paused = false
      this.#flowOf(connection)?.resume()
    }
    return share
  }
}

const bytesOf = (input: EngineInput | undefined): number => (input?.kind === 'frame' ? input.bytes.length : 0)

/** Whose a connection is: an identity, or without TLS an address. */
function ownerOf({ identity, peer }: Extract<EngineInput, { kind: 'opened' }>): string {
  return identity ?? `at ${hostOfPeer(peer)}`
}
