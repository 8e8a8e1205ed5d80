import type { Env, Log } from '../core/env.ts'
import { RealClock } from './real-clock.ts'
import { RealRandom } from './real-random.ts'
import { RealTimers } from './real-timers.ts'

/** The real world, for composition roots. */
export function realEnv(log: Log): Env {
  return { clock: new RealClock(), timers: new RealTimers(), random: new RealRandom(), log }
}
