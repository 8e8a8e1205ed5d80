import type { Env } from '../../core/env.ts'
import { UsageError } from '../../core/errors.ts'
import { tellSystemd } from '../../service/notify-systemd.ts'
import type { ControlAnswer } from '../local/mount-control.ts'
import { MountControl } from '../local/mount-control.ts'
import { handOver, type Program, type ServedMount } from './hand-over.ts'

/** Until who asked has the answer; then this process ends. */
const lastWordsMs = 200

/** Replaces this process, when it is asked to: by one other, and not while it stops. */
export class Replacing {
  readonly #env: Env
  readonly #mount: ServedMount | undefined
  readonly #supervised: boolean
  readonly #leave: () => void
  #underWay: Promise<ControlAnswer> | undefined
  #stopping = false

  /**
   * `mount`: undefined where the driver cannot leave it to another process. `leave`: gives up what the successor is to have
   * for itself.
   */
  constructor(env: Env, mount: ServedMount | undefined, supervised: boolean, leave: () => void) {
    this.#env = env
    this.#mount = mount
    this.#supervised = supervised
    this.#leave = leave
  }

  /** Resolves with the successor, and soon after this process ends. UsageError if it goes on. */
  async replace(program: Program): Promise<ControlAnswer> {
    if (this.#underWay !== undefined || this.#stopping)
      throw new UsageError('the mount process is being replaced, or stopped, already')
    this.#underWay = this.#replace(program)
    try {
      return await this.#underWay
    } finally {
      this.#underWay = undefined
    }
  }

  /** Waits for a replacement under way: then this process may be over, and its successor is told to stop instead. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#underWay?.then(
      () => new Promise(() => undefined),
      () => undefined,
    )
  }

  async #replace(program: Program): Promise<ControlAnswer> {
    const { log, clock } = this.#env
    if (this.#mount === undefined)
      throw new UsageError('the driver fuse-native cannot leave a mount to another process')
    if (this.#supervised)
      throw new UsageError('it belongs to cairn up, which waits for its end: start that anew')
    const successor = await handOver(this.#mount, program, this.#env)
    const { pid, program: version } = successor
    // From here on nothing may fail.
    this.#leave()
    await this.#mount.driver.release()
    await tellSystemd(['READY=1', `--pid=${String(pid)}`], log)
    await successor.go()
    const pausedMs = Math.round(clock.now() - successor.pausedAt)
    log.info('Another process serves the mount from now on', { successor: pid, program: version, pausedMs })
    MountControl.forget()
    this.#env.timers.after(lastWordsMs, () => {
      if (this.#stopping) process.kill(pid, 'SIGTERM')
      process.exit(0)
    })
    return { pid, program: version }
  }
}
