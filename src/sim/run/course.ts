import { messageOf } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { World } from '../world/world.ts'

/** Calls under way end within this, once nothing is broken. */
export const endMs = 120 * second

/** How a run goes on: time passes until something is wrong. */
export class Course {
  readonly #world: World

  constructor(world: World) {
    this.#world = world
  }

  /** False when something is wrong. */
  async for(ms: number): Promise<boolean> {
    const { timeline } = this.#world
    await timeline.run(timeline.now + ms, () => this.#world.failure !== undefined)
    return this.#world.failure === undefined
  }

  async until(ms: number, done: () => boolean): Promise<boolean> {
    const { timeline } = this.#world
    const end = await timeline.run(timeline.now + ms, () => this.#world.failure !== undefined || done())
    return end === 'done' && this.#world.failure === undefined
  }

  /** Runs a check to its end. */
  async whole(invariant: string, check: () => Promise<string | undefined>): Promise<void> {
    if (this.#world.failure !== undefined) return
    const result: { ended: boolean; found?: string | undefined } = { ended: false }
    const end = (found: string | undefined) => Object.assign(result, { ended: true, found })
    check().then(end, (error: unknown) => end(messageOf(error)))
    if (!(await this.until(endMs, () => result.ended))) {
      this.#world.fail(invariant, 'the check does not end')
      return
    }
    if (result.found !== undefined) this.#world.fail(invariant, result.found)
  }
}
