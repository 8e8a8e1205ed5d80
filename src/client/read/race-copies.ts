/**
 * Asks copies for the same thing, one after the other: the next one when the last failed, and also when the
 * node behind it has been quiet for a while, without giving up on it. Whoever is done first ends the others.
 */
import type { Timer, Timers } from '../../core/env.ts'

export interface Attempt {
  readonly done: Promise<void>
  /** Changes whenever the node says anything, of this or another call. */
  readonly heard: () => number
}

export interface Race<Copy> {
  /** Best first. */
  readonly copies: readonly Copy[]
  readonly begin: (copy: Copy, signal: AbortSignal) => Attempt
  readonly failed: (copy: Copy, thrown: unknown) => void
  /** It says nothing, and is the last that was asked. */
  readonly quiet: (copy: Copy) => void
}

/**
 * A node that said nothing for so many ticks is quiet. Counted, not measured: a process that was itself held up
 * finds its timers due before it reads what has come meanwhile.
 */
const quietTicks = 3
const tickMs = 100

/** Resolves with the copy that was done, or undefined when all have failed. */
export function raceCopies<Copy>(timers: Timers, race: Race<Copy>): Promise<Copy | undefined> {
  return new Promise(resolve => {
    const stop = new AbortController()
    const waiting = [...race.copies]
    let running = 0
    let over = false
    let ticker: Timer | undefined

    const end = (copy: Copy | undefined): void => {
      over = true
      ticker?.cancel()
      // Each abort costs an exception with its stack.
      if (running > 1) stop.abort()
      resolve(copy)
    }

    const watch = (copy: Copy, attempt: Attempt): void => {
      ticker?.cancel()
      let last = attempt.heard()
      let ticks = 0
      const tick = (): void => {
        const heard = attempt.heard()
        ticks = heard === last ? ticks + 1 : 0
        last = heard
        if (ticks < quietTicks) {
          ticker = timers.after(tickMs, tick)
          return
        }
        race.quiet(copy)
        next()
      }
      ticker = timers.after(tickMs, tick)
    }

    const next = (): void => {
      const copy = waiting.shift()
      if (copy === undefined) {
        if (running === 0) end(undefined)
        return
      }
      running++
      const attempt = race.begin(copy, stop.signal)
      if (waiting.length > 0) watch(copy, attempt)
      attempt.done.then(
        () => {
          if (!over) end(copy)
        },
        (thrown: unknown) => {
          running--
          if (over) return
          race.failed(copy, thrown)
          next()
        },
      )
    }
    next()
  })
}
