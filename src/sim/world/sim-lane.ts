import { FsError } from '../../core/errors.ts'
import type { Lane } from '../../core/network.ts'
import { packed, unpacked } from '../../env/lane-messages.ts'
import type { HostEnv } from './host.ts'

/**
 * A thread with a database, in virtual time: batches in order, each answered after its delay, which
 * stands for work and sync. A batch takes effect as a whole: at its end, or, if the machine stops
 * before, then or never.
 */
export class SimLane<In, Out> implements Lane<In, Out> {
  readonly #env: HostEnv
  readonly #delay: () => number
  readonly #name: (batch: readonly In[]) => string
  readonly #apply: (batch: readonly In[]) => Out[] | Promise<Out[]>
  #last: Promise<unknown> = Promise.resolve()
  #running: readonly In[] | undefined

  /** `name`: of what is waited for, as a point where the machine may stop. */
  constructor(
    env: HostEnv,
    delay: () => number,
    apply: (batch: readonly In[]) => Out[] | Promise<Out[]>,
    name: (batch: readonly In[]) => string = () => 'lane',
  ) {
    this.#env = env
    this.#delay = delay
    this.#apply = apply
    this.#name = name
  }

  run(batch: readonly In[]): Promise<Out[]> {
    const own = copied(batch)
    const done = this.#last.then(() => this.#runOne(own))
    this.#last = done.catch(() => undefined)
    return done
  }

  async close(): Promise<void> {
    await this.#last
  }

  /** The machine stops. With `committed` the batch under way reached the disk, though nobody hears of it. */
  stop(committed: boolean): void {
    const batch = this.#running
    this.#running = undefined
    if (!committed || batch === undefined) return
    try {
      void this.#apply(batch)
    } catch (error) {
      // It found no room: the disk has nothing of it.
      if (!(error instanceof FsError && error.code === 'ENOSPC')) throw error
    }
  }

  async #runOne(batch: readonly In[]): Promise<Out[]> {
    this.#running = batch
    this.#env.point(this.#name(batch))
    await this.#env.delay(this.#delay())
    this.#running = undefined
    const results = await this.#apply(batch)
    // The machine may have stopped with the commit.
    if (!this.#env.alive) await new Promise<never>(() => undefined)
    return copied(results)
  }
}

/** As a thread gets it. */
function copied<T>(value: T): T {
  return unpacked(packed(value).value) as T
}
