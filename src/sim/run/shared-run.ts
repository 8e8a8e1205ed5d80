import { createHash } from 'node:crypto'
import type { Checksums } from '../../core/checksum.ts'
import type { Ino } from '../../core/ids.ts'
import { second } from '../../core/units.ts'
import type { Mounted } from '../cluster/mount-machine.ts'
import { Witness } from '../history/witness.ts'
import { cellSizes } from '../workload/shared-cells.ts'
import { SharedProgram } from '../workload/shared-program.ts'
import type { SharedRules } from '../workload/shared-state.ts'
import type { Prng } from '../world/prng.ts'
import { World } from '../world/world.ts'
import { Cluster } from './cluster.ts'
import { Course, endMs } from './course.ts'
import { Faults } from './faults.ts'
import { checkMetadata } from './final-checks.ts'
import type { Plan } from './plan.ts'
import type { Outcome } from './run.ts'

/** One seed: programs on several mounts do what they like with a few names and files, and all of it is explained. */
export class SharedRun {
  readonly #plan: Plan
  readonly #world: World
  readonly #course: Course
  readonly #cluster: Cluster
  readonly #faults: Faults
  readonly #prng: Prng
  readonly #rules: SharedRules
  readonly #witness = new Witness()
  /** By mount. */
  readonly #programs: SharedProgram[][]
  readonly #hash = createHash('sha256')
  #root: Ino | undefined
  #disturbed = false
  #stopping = false
  #pids = 1
  #undecided = 0

  constructor(plan: Plan, checksums: Checksums, trace?: (line: string) => void) {
    this.#plan = plan
    this.#world = new World(plan.seed, checksums, line => {
      this.#hash.update(line)
      trace?.(line)
    })
    this.#course = new Course(this.#world)
    this.#cluster = new Cluster(this.#world, plan)
    this.#prng = this.#world.fork()
    this.#faults = new Faults(this.#world, this.#cluster, plan, {
      crash: index => this.#crashMount(index),
      start: index => this.#startMount(index),
    })
    this.#programs = this.#cluster.mounts.map(() => [])
    this.#cluster.master.onSessionEnded = session => {
      this.#world.say('*', `session ${session} has ended`)
      this.#checkLeases(session)
      this.#witness.sessionEnded(String(session))
    }
    this.#rules = {
      witness: this.#witness,
      cellBytes: this.#prng.pick(cellSizes),
      mayFail: () => this.#disturbed,
      rootIs: ino => this.#rootIs(ino),
      fail: (invariant, detail) => this.#world.fail(invariant, detail),
      say: (who, line) => this.#world.say(who, line),
    }
  }

  async run(): Promise<Outcome> {
    try {
      await this.#phases()
      this.#checkHistories()
    } catch (error) {
      this.#world.bug(error)
    }
    return {
      failure: this.#world.failure,
      virtualMs: this.#world.timeline.now,
      events: this.#world.timeline.eventsRun,
      calls: this.#witness.size,
      hash: this.#hash.digest('hex'),
      undecided: this.#undecided,
    }
  }

  /** What broke outside of any call. */
  bug(error: unknown): void {
    this.#world.bug(error)
  }

  async #phases(): Promise<void> {
    const { calmMs, faultMs } = this.#plan
    this.#cluster.start()
    const { master, nodes } = this.#cluster
    if (!(await this.#course.until(endMs, () => master.nodes === nodes.length))) {
      this.#world.fail('nodes attach', `${master.nodes} of ${nodes.length}`)
      return
    }
    for (const index of this.#cluster.mounts.keys()) this.#startMount(index)
    if (!(await this.#course.for(calmMs))) return
    if (faultMs > 0) {
      this.#disturbed = true
      this.#faults.begin()
      if (!(await this.#course.for(faultMs))) return
      this.#faults.end()
      this.#world.say('*', 'all is repaired')
      if (!(await this.#course.for(this.#prng.between(0, 3) * second))) return
    }
    if (!(await this.#stopPrograms())) return
    await this.#checkMetadata()
  }

  /** What sessions left that have just ended is cleared away a little later. */
  async #checkMetadata(): Promise<void> {
    const { master } = this.#cluster
    for (let tries = 0; ; tries++) {
      const [problem] = master.inspect(checkMetadata)
      if (problem === undefined) return
      if (tries === 30) this.#world.fail('fsck is clean', problem)
      if (!(await this.#course.for(1 * second))) return
    }
  }

  #startMount(index: number): void {
    this.#cluster.mounts[index]?.start(mounted => this.#startPrograms(index, mounted))
  }

  #startPrograms(index: number, mounted: Mounted): void {
    this.#world.say(mounted.env.name, 'mounted')
    this.#programs[index] = Array.from({ length: this.#plan.programs }, () => {
      const pid = this.#pids++
      const aside = this.#world.aside(`program ${pid}`)
      const program = new SharedProgram(mounted, this.#world.fork(), aside, this.#rules, pid)
      if (this.#stopping) program.stop()
      this.#world.background(program.run())
      return program
    })
  }

  #crashMount(index: number): void {
    for (const program of this.#programs[index] ?? []) program.strand()
    this.#programs[index] = []
    const mount = this.#cluster.mounts[index]
    mount?.crash(this.#prng.chance(0.3))
    if (mount !== undefined) this.#witness.mountGone(mount.name)
  }

  /** The master gives to others what a session had: its mount must not believe any more that it has it. */
  #checkLeases(ended: bigint): void {
    for (const { name, mounted } of this.#cluster.mounts) {
      if (mounted?.session.identity.session !== ended) continue
      const leftMs = mounted.session.leaseLeftMs()
      if (leftMs > 0) this.#world.fail('leases end before sessions', `${name} believes for ${leftMs} ms more`)
    }
  }

  #rootIs(ino: Ino): void {
    if (this.#root !== undefined && this.#root !== ino)
      this.#world.fail('names are right', `the shared directory is inode ${this.#root} and inode ${ino}`)
    this.#root = ino
  }

  async #stopPrograms(): Promise<boolean> {
    this.#stopping = true
    for (const programs of this.#programs) for (const program of programs) program.stop()
    const ended = () =>
      this.#programs.every(programs => programs.length > 0 && programs.every(program => program.ended))
    if (await this.#course.until(endMs, ended)) return true
    const doing = this.#programs.flatMap((programs, at) =>
      programs.map(program => `mount${at + 1}: ${program.doing}`),
    )
    const stuck = this.#cluster.mounts.flatMap(({ mounted }) => mounted?.kernel.stuck() ?? ['not mounted'])
    this.#world.fail('every call is answered', [...doing, ...stuck].join('; '))
    return false
  }

  #checkHistories(): void {
    if (this.#root === undefined) return
    for (const { what, verdict } of this.#witness.check(this.#root)) {
      if (verdict.kind === 'wrong') this.#world.fail('histories are linearizable', `${what}: ${verdict.why}`)
      if (verdict.kind === 'undecided') this.#undecided += 1
    }
  }
}
