import { BinaryWriter } from '@bufbuild/protobuf/wire'
import type { ErrnoName, FsError } from '../../core/errors.ts'
import { MiB } from '../../core/units.ts'
import { NodeDown } from '../../wire/gen/cairn/v1/nodes.ts'
import { SessionDownItem } from '../../wire/gen/cairn/v1/session.ts'
import type { EngineMeasures, EngineOutput, LogLevel } from './io.ts'

/** SessionDown.items (field 1) and SessionDownItem.reply (field 3), length-delimited. */
const itemsTag = (1 << 3) | 2
const replyTag = (3 << 3) | 2

/** A frame ends before the item with which it would be longer, so that many long answers are not one message. */
const frameBytesMax = 1 * MiB

type LogFields = Readonly<Record<string, string | number | bigint | boolean>>

/**
 * What one step sends, released by its caller only after the commit. All that goes to one session
 * becomes one frame, or few, since the encoding of a repeated field is that of its items one after another.
 */
export class Outbox {
  #outputs: EngineOutput[] = []
  /** Encoded SessionDown.items of each connection. */
  readonly #items = new Map<number, Uint8Array[]>()
  #replyBytes = 0

  /** Of replies since the last `take`. */
  get replyBytes(): number {
    return this.#replyBytes
  }

  session(connection: number, item: NonNullable<SessionDownItem['item']>): void {
    this.#add(connection, SessionDownItem.encode({ item }).finish())
  }

  /** A reply in parts, encoded: concatenated encodings are the encoding of the merged message. */
  reply(connection: number, ...parts: readonly Uint8Array[]): void {
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    const writer = new BinaryWriter().uint32(replyTag).uint32(length)
    for (const part of parts) writer.raw(part)
    this.#replyBytes += length
    this.#add(connection, writer.finish())
  }

  node(connection: number, item: NonNullable<NodeDown['item']>): void {
    this.#outputs.push({ kind: 'frame', connection, bytes: NodeDown.encode({ item }).finish() })
  }

  welcomed(connection: number): void {
    this.#outputs.push({ kind: 'welcomed', connection })
  }

  close(connection: number, error?: FsError): void {
    this.#flush(connection)
    const [code, message] = error === undefined ? [undefined, ''] : [error.code, error.message]
    this.#outputs.push({ kind: 'close', connection, code, message })
  }

  answer(call: number, bytes: Uint8Array): void {
    this.#outputs.push({ kind: 'answer', call, bytes })
  }

  measured(call: number, measures: EngineMeasures): void {
    this.#outputs.push({ kind: 'measured', call, measures })
  }

  failure(call: number, code: ErrnoName, message: string): void {
    this.#outputs.push({ kind: 'failure', call, code, message })
  }

  log(level: LogLevel, message: string, fields: LogFields = {}): void {
    this.#outputs.push({ kind: 'log', level, message, fields })
  }

  /** Everything so far, in order; empties it. */
  take(): EngineOutput[] {
    for (const connection of [...this.#items.keys()]) this.#flush(connection)
    const outputs = this.#outputs
    this.#outputs = []
    this.#replyBytes = 0
    return outputs
  }

  #add(connection: number, item: Uint8Array): void {
    const list = this.#items.get(connection)
    if (list === undefined) this.#items.set(connection, [item])
    else list.push(item)
  }

  #flush(connection: number): void {
    const items = this.#items.get(connection)
    if (items === undefined) return
    this.#items.delete(connection)
    let writer = new BinaryWriter()
    let length = 0
    for (const item of items) {
      if (length > 0 && length + item.length > frameBytesMax) {
        this.#outputs.push({ kind: 'frame', connection, bytes: writer.finish() })
        writer = new BinaryWriter()
        length = 0
      }
      writer.uint32(itemsTag).bytes(item)
      length += item.length
    }
    this.#outputs.push({ kind: 'frame', connection, bytes: writer.finish() })
  }
}
