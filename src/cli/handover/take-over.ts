import { Socket } from 'node:net'
import { UsageError } from '../../core/errors.ts'
import { version } from '../../service/version.ts'
import { channelFd, isSuccessor } from './descriptors.ts'
import { LineChannel } from './line-channel.ts'
import { handoverFormat, type MountState, type MountTerms } from './messages.ts'

/** The side of the successor (see hand-over.ts for the order of things). */
export class TakeOver {
  readonly #channel: LineChannel
  #setGone: () => void = () => undefined
  /** Resolves when the process before has left the mount to this one. */
  readonly gone: Promise<void>

  private constructor(channel: LineChannel) {
    this.#channel = channel
    this.gone = new Promise(resolve => {
      this.#setGone = resolve
    })
  }

  /** Undefined where this process was not started to take a mount over. */
  static begun(): TakeOver | undefined {
    if (!isSuccessor()) return undefined
    return new TakeOver(new LineChannel(new Socket({ fd: channelFd, readable: true, writable: true })))
  }

  /** Everything that may fail without the state has been done: asks for it, and checks it. */
  async state(terms: MountTerms): Promise<MountState> {
    await this.#channel.say({ say: 'prepared', format: handoverFormat, program: version })
    const said = await this.#channel.hear('state')
    if (said === undefined)
      throw new UsageError('the process that serves the mount has ended, or needs no successor')
    const { state } = said
    const different = (['master', 'path', 'options', 'export'] as const).filter(
      key => String(state.terms[key]) !== String(terms[key]),
    )
    if (different.length > 0)
      throw new UsageError(
        `it was mounted with another ${different.join(' and ')}: unmount it, and mount it anew`,
      )
    return state
  }

  /**
   * The session is had. Resolves with the word to go; or when the process before has ended without it, since then there
   * is nobody else.
   */
  async taken(): Promise<void> {
    await this.#channel.say({ say: 'taken' })
    await this.#channel.hear('go')
    this.#channel.close()
    this.#setGone()
  }

  async refuse(why: string): Promise<void> {
    await this.#channel.say({ say: 'refused', why })
    this.#channel.close()
  }
}
