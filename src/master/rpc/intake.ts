/**
 * What has arrived and the engine has not taken yet. As long as that is little, it goes to the engine in the order in which
 * it came. When more comes than the engine gets done, each step takes some: first what is no frame (administration,
 * connections, facts), then of each connection in turn a small share or one frame, until the step is full. So who asks much
 * waits for what it asked itself, and nobody else for more than one share of everybody. A connection of which much waits is not listened
 * to until that is less: its own transport holds it up.
 */
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
  /** The next one in turn first. */
  readonly #lines = new Map<number, Line>()
  #arrived = 0
  #waiting = 0
  #bytes = 0

  constructor(flowOf: (connection: number) => Flow | undefined) {
    this.#flowOf = flowOf
  }

  get isEmpty(): boolean {
    return this.#urgent.length === 0 && this.#lines.size === 0
  }

  add(input: EngineInput): void {
    const arrived = { at: this.#arrived++, input }
    if (input.kind !== 'frame' && input.kind !== 'closed') {
      this.#urgent.push(arrived)
      return
    }
    const { connection } = input
    const line = this.#lines.get(connection) ?? { inputs: [], bytes: 0, paused: false }
    line.inputs.push(arrived)
    line.bytes += bytesOf(input)
    this.#lines.set(connection, line)
    this.#waiting++
    this.#bytes += bytesOf(input)
    if (line.paused || (line.inputs.length <= waitingInputsMax && line.bytes <= waitingBytesMax)) return
    line.paused = true
    this.#flowOf(connection)?.pause()
  }

  /** What the next step is given. */
  take(): EngineInput[] {
    const bytesMax = this.#lines.size === 1 ? stepBytesAlone : stepBytesMax
    if (this.#waiting <= stepInputsMax && this.#bytes <= bytesMax) return this.takeAll()
    const taken = this.#urgent.map(({ input }) => input)
    this.#urgent = []
    for (let bytes = 0; taken.length < stepInputsMax && bytes < bytesMax; ) {
      const share = this.#next()
      if (share.length === 0) break
      for (const input of share) {
        bytes += bytesOf(input)
        taken.push(input)
      }
    }
    return taken
  }

  /** Connections of which something waits. */
  get waiting(): number[] {
    return [...this.#lines.keys()]
  }

  /** Everything, in the order in which it came. */
  takeAll(): EngineInput[] {
    const all = [...this.#urgent, ...[...this.#lines.values()].flatMap(({ inputs }) => inputs)]
    all.sort((a, b) => a.at - b.at)
    const lines = [...this.#lines]
    this.#clear()
    for (const [connection, { paused }] of lines) if (paused) this.#flowOf(connection)?.resume()
    return all.map(({ input }) => input)
  }

  /** Nothing of what was there is wanted any more. */
  replace(inputs: Iterable<EngineInput>): void {
    this.#clear()
    for (const input of inputs) this.add(input)
  }

  #clear(): void {
    this.#urgent = []
    this.#lines.clear()
    this.#waiting = 0
    this.#bytes = 0
  }

  /** The share of the connection whose turn it is; nothing if nothing waits. */
  #next(): EngineInput[] {
    const [next] = this.#lines
    if (next === undefined) return []
    const [connection, line] = next
    let bytes = 0
    let count = 0
    do bytes += bytesOf(line.inputs[count++]?.input)
    while (count < line.inputs.length && bytes + bytesOf(line.inputs[count]?.input) <= shareBytes)
    const share = line.inputs.splice(0, count)
    line.bytes -= bytes
    this.#bytes -= bytes
    this.#waiting -= count
    this.#lines.delete(connection)
    if (line.inputs.length > 0) this.#lines.set(connection, line)
    if (line.paused && line.inputs.length <= waitingInputsMax / 2 && line.bytes <= waitingBytesMax / 2) {
      line.paused = false
      this.#flowOf(connection)?.resume()
    }
    return share.map(({ input }) => input)
  }
}

const bytesOf = (input: EngineInput | undefined): number => (input?.kind === 'frame' ? input.bytes.length : 0)
