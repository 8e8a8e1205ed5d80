import type { Log, LogFields } from '#src/core/env.ts'
import type { FileSystem } from '#src/fuse/filesystem.ts'
import { type Observe, Session } from '#src/fuse/session/session.ts'
import { body, message, type ParsedReply, parseReply } from './fuse-messages.ts'

/** All that a kernel could offer. */
export const everyFlag = 0xffff_ffff_ffffn

export const initBody = (minor: number, flags = everyFlag): Buffer =>
  body(7, minor, 131072, Number(flags & 0xffff_ffffn), Number(flags >> 32n), Buffer.alloc(44))

/** A session over a channel in memory. */
export class SessionHarness {
  readonly session: Session
  readonly replies: ParsedReply[] = []
  readonly logged: {
    readonly level: string
    readonly message: string
    readonly fields: LogFields | undefined
  }[] = []
  outcome: 'sent' | 'gone' | 'refused' = 'sent'

  constructor(fs: FileSystem, observe?: Observe) {
    const line = (level: string) => (text: string, fields?: LogFields) => {
      this.logged.push({ level, message: text, fields })
    }
    const log: Log = {
      debug: line('debug'),
      info: line('info'),
      warn: line('warn'),
      error: line('error'),
      child: () => log,
    }
    this.session = new Session(
      {
        send: (head, length, data) => {
          const outcome = this.outcome
          if (outcome === 'sent')
            this.replies.push(parseReply(Buffer.concat([head.subarray(0, length), ...data])))
          if (outcome === 'refused') this.outcome = 'sent'
          return outcome
        },
      },
      () => fs,
      { clock: { now: () => 0, wall: () => 0n }, log, directBit: 0x4000, observe },
    )
  }

  /** A session after INIT with a kernel that has everything. */
  static async begun(fs: FileSystem, observe?: Observe): Promise<SessionHarness> {
    const harness = new SessionHarness(fs, observe)
    void harness.receive(message('INIT', { body: initBody(45) }))
    await harness.session.begun
    harness.replies.length = 0
    return harness
  }

  receive(bytes: Buffer): Promise<void> | undefined {
    return this.session.receive(bytes)
  }

  /** The one reply to one message. */
  async ask(bytes: Buffer): Promise<ParsedReply> {
    const before = this.replies.length
    await this.receive(bytes)
    for (let turn = 0; turn < 5 && this.replies.length === before; turn++) await new Promise(setImmediate)
    const [reply, second] = this.replies.slice(before)
    if (reply === undefined || second !== undefined)
      throw new Error(`${this.replies.length - before} replies`)
    return reply
  }
}
