import { FsError } from '../../core/errors.ts'
import type { LockOp } from '../history/lock-model.ts'
import type { OpenedFile } from '../kernel/file-io.ts'
import type { SharedState } from './shared-state.ts'

export const lockPath = '/lock'

/** A lock that all programs use. */
export class SharedLocks {
  readonly #state: SharedState
  #file: OpenedFile | undefined
  #held = false

  constructor(state: SharedState) {
    this.#state = state
  }

  async step(): Promise<void> {
    if (this.#held) await this.#unlock()
    else await this.#lock()
  }

  /** Gives up what is held. */
  async close(): Promise<void> {
    if (this.#held) await this.#unlock()
    const file = this.#file
    this.#file = undefined
    if (file !== undefined)
      await this.#state.attempt('close the lock', () => this.#state.mount.io.close(file))
  }

  get #owner(): string {
    return `${this.#state.mount.env.name}/${this.#state.pid}`
  }

  async #lock(): Promise<void> {
    const { mount, prng, rules, pid } = this.#state
    if (this.#file === undefined) {
      const opened = await this.#state.attempt('open the lock', () =>
        mount.io.open(lockPath, { read: true, write: true }, pid),
      )
      if (opened instanceof FsError) return
      this.#file = opened
    }
    const file = this.#file
    const exclusive = prng.chance(0.7)
    const owner = this.#owner
    const taken = await this.#state.call(
      exclusive ? 'lock' : 'lock shared',
      rules.witness.locks,
      true,
      (answer: object | undefined, session): LockOp => ({
        kind: 'lock',
        owner,
        session,
        exclusive,
        taken: answer === undefined || !('error' in answer),
      }),
      async () => {
        await mount.io.flock(file, exclusive ? 'write' : 'read', false)
        return {}
      },
    )
    this.#held = taken !== undefined
    if (!this.#held || !prng.chance(0.5)) return
    await mount.env.delay(prng.between(0.1, 30))
    await this.#unlock()
  }

  async #unlock(): Promise<void> {
    const { mount, rules } = this.#state
    const file = this.#file
    if (file === undefined) return
    this.#held = false
    const owner = this.#owner
    await this.#state.call(
      'unlock',
      rules.witness.locks,
      true,
      (_answer, _session): LockOp => ({ kind: 'unlock', owner }),
      async () => {
        await mount.io.flock(file, 'unlock', false)
        return {}
      },
    )
  }
}
