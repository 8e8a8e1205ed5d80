import type { Checksums } from '../../core/checksum.ts'
import { settled } from '../../env/macrotask.ts'
import { CrashPoints } from './crash-points.ts'
import { HostEnv, type WallClock } from './host.ts'
import { Prng } from './prng.ts'
import { SimNetwork } from './sim-network.ts'
import { Timeline } from './timeline.ts'

/** What a run found to be wrong. */
export interface Failure {
  readonly invariant: string
  readonly detail: string
}

/** Everything that the machines of one run share: time, chance, the network, and the first thing that went wrong. */
export class World {
  readonly timeline = new Timeline(settled)
  readonly checksums: Checksums
  readonly network: SimNetwork
  readonly points = new CrashPoints()
  readonly #seed: number
  readonly #prng: Prng
  readonly #trace: (line: string) => void
  #failure: Failure | undefined

  constructor(seed: number, checksums: Checksums, trace: (line: string) => void) {
    this.#seed = seed
    this.#prng = new Prng(seed)
    this.#trace = trace
    this.checksums = checksums
    const weather = { minDelay: 0.05, maxDelay: 2, cut: 0, slow: 0 }
    this.network = new SimNetwork(this.timeline, this.fork(), weather, error => this.bug(error))
  }

  /** Chance that takes none from others: what is drawn by it shifts nothing else. */
  aside(what: string): Prng {
    const salt = Buffer.from(what).reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193), this.#seed)
    return new Prng(salt)
  }

  /** Chance of its own for a part. */
  fork(): Prng {
    return this.#prng.fork()
  }

  /** A start of a machine's process. */
  start(name: string, wall: WallClock): HostEnv {
    const prng = this.fork()
    const clocks = { startMs: Math.floor(prng.between(1000, 1e9)), wall }
    return new HostEnv(
      name,
      this.timeline,
      prng,
      line => this.#trace(line),
      clocks,
      this.points,
      error => this.bug(error),
    )
  }

  say(who: string, line: string): void {
    this.#trace(`${this.timeline.now.toFixed(3).padStart(10)} ${who} ${line}`)
  }

  get failure(): Failure | undefined {
    return this.#failure
  }

  /** Ends the run: an invariant is broken. The first one counts. */
  fail(invariant: string, detail: string): void {
    this.say('!', `${invariant}: ${detail}`)
    this.#failure ??= { invariant, detail }
  }

  /** A component threw what no answer is. */
  bug(error: unknown): void {
    this.fail('no component fails', error instanceof Error ? (error.stack ?? error.message) : String(error))
  }

  /** Work that nobody waits for. */
  background(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.bug(error))
  }
}
