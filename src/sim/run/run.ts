import { createHash } from 'node:crypto'
import type { Checksums } from '../../core/checksum.ts'
import { second } from '../../core/units.ts'
import { MountMachine, type Mounted } from '../cluster/mount-machine.ts'
import { Tree } from '../model/tree.ts'
import { Inspector } from '../workload/inspector.ts'
import { filesOf, type Memory } from '../workload/memory.ts'
import type { Neighbour } from '../workload/observer.ts'
import { Program } from '../workload/program.ts'
import type { Rules } from '../workload/program-state.ts'
import type { Prng } from '../world/prng.ts'
import { type Failure, World } from '../world/world.ts'
import { Cluster } from './cluster.ts'
import { Course, endMs } from './course.ts'
import { notEmpty, Operator } from './operator.ts'
import { Faults } from './faults.ts'
import {
  checkCopies,
  checkMetadata,
  keptForNobody,
  keptReplies,
  leftovers,
  unfinished,
} from './final-checks.ts'
import { loseMaster, wrongLogs } from './lose-master.ts'
import { lostNodes, removeLostNodes } from './lost-nodes.ts'
import type { Plan } from './plan.ts'

export interface Outcome {
  readonly failure: Failure | undefined
  readonly virtualMs: number
  readonly events: number
  /** System calls that were answered. */
  readonly calls: number
  /** Of everything that was said: the same for the same seed. */
  readonly hash: string
  /** Histories of which too many orders are possible to find out whether one is right. */
  readonly undecided: number
}

/** After the last fault copies are restored and garbage is gone within this. */
const convergeMs = 400 * second
/** The same where a disk rots: that is found when the node has read all of its blocks once more. */
const scrubMs = 1500 * second
/** Within this after the last fault everything dirty is stored. */
const quietMs = 20 * second
/** What a disturbed cluster may still refuse, after all was repaired. */
const afterglowMs = 40 * second

/** One seed, from an empty cluster to the last check. */
export class Run {
  readonly #plan: Plan
  readonly #world: World
  readonly #course: Course
  readonly #cluster: Cluster
  readonly #faults: Faults
  readonly #prng: Prng
  readonly #rules: Rules
  readonly #memories: Memory[]
  readonly #programs: (Program | undefined)[]
  readonly #hash = createHash('sha256')
  #disturbed = false
  #stopping = false
  #pids = 1

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
    this.#memories = Array.from({ length: plan.mounts * plan.programs }, (_, index) => ({
      directory: `/p${index}`,
      tree: new Tree(),
      unanswered: undefined,
      promised: [],
      made: false,
      files: 0,
      changes: 0,
      done: 0,
    }))
    this.#programs = this.#memories.map(() => undefined)
    this.#rules = {
      dataMayFail: () => this.#disturbed,
      sessionLives: session => this.#cluster.master.sessionLives(session),
      neighbour: from => this.#neighbour(from),
      fail: (invariant, detail) => this.#world.fail(invariant, detail),
      say: (who, line) => this.#world.say(who, line),
    }
  }

  async run(): Promise<Outcome> {
    try {
      await this.#phases()
    } catch (error) {
      this.#world.bug(error)
    }
    return {
      failure: this.#world.failure,
      virtualMs: this.#world.timeline.now,
      events: this.#world.timeline.eventsRun,
      calls: this.#memories.reduce((sum, { done }) => sum + done, 0),
      hash: this.#hash.digest('hex'),
      undecided: 0,
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
      const operator = Operator.begin(this.#world, this.#cluster, this.#plan)
      if (!(await this.#course.for(faultMs))) return
      this.#faults.end()
      operator?.end()
      this.#world.say('*', 'all is repaired')
      removeLostNodes(this.#world, this.#cluster)
      if (!(await this.#course.for(this.#prng.between(0, 10) * second))) return
    }
    if (!(await this.#stopPrograms())) return
    // What the mounts still hold must find its way by itself, once nothing is in the way.
    if (!(await this.#course.for(this.#disturbed ? quietMs : this.#prng.between(0, 5) * second))) return
    const kept = this.#disturbed ? this.#cluster.master.inspect(keptReplies) : undefined
    if (kept !== undefined) this.#world.fail('nothing grows', kept)
    if (!(await this.#unmount())) return
    if (!(await this.#converge())) return
    if (this.#plan.disaster && !(await loseMaster(this.#world, this.#course, this.#cluster))) return
    if (this.#plan.disaster && !(await this.#converge())) return
    await this.#check()
  }

  // ---- mounts and their programs

  #startMount(index: number): void {
    const mount = this.#cluster.mounts[index]
    mount?.start(mounted => this.#startPrograms(index, mounted))
  }

  #startPrograms(index: number, mounted: Mounted): void {
    this.#world.say(mounted.env.name, 'mounted')
    for (const at of this.#memoriesOf(index)) {
      const memory = this.#memories[at]
      if (memory === undefined) continue
      const program = new Program(mounted, memory, this.#world.fork(), this.#rules, this.#pids++)
      this.#programs[at] = program
      if (this.#stopping) program.stop()
      this.#world.background(program.run())
    }
  }

  #crashMount(index: number): void {
    this.#cluster.mounts[index]?.crash(this.#prng.chance(0.3))
    for (const at of this.#memoriesOf(index)) {
      this.#programs[at] = undefined
      const memory = this.#memories[at]
      if (memory === undefined) continue
      const { unanswered } = memory
      if (unanswered?.data !== undefined) unanswered.data.file.maybe(unanswered.data.change)
      for (const file of filesOf(memory)) file.lostUnsynced()
    }
  }

  #neighbour(from: Memory): Neighbour | undefined {
    const others = this.#memories.filter(memory => memory !== from && memory.made)
    if (others.length === 0) return undefined
    const memory = this.#prng.pick(others)
    // Strict while nothing is broken; else another program's data may be lost before it hears of it.
    return { memory, uncertain: this.#disturbed }
  }

  #memoriesOf(mount: number): number[] {
    return Array.from({ length: this.#plan.programs }, (_, at) => mount * this.#plan.programs + at)
  }

  // ---- phases

  async #stopPrograms(): Promise<boolean> {
    this.#stopping = true
    for (const program of this.#programs) program?.stop()
    if (await this.#course.until(endMs, () => this.#programs.every(program => program?.ended === true)))
      return true
    const doing = this.#programs.map((program, at) => `p${at}: ${program?.doing ?? 'not started'}`)
    const stuck = this.#cluster.mounts.flatMap(({ mounted }) => mounted?.kernel.stuck() ?? ['not mounted'])
    this.#world.fail('every call is answered', [...doing, ...stuck].join('; '))
    return false
  }

  async #unmount(): Promise<boolean> {
    for (const program of this.#programs) program?.noteSession()
    for (const [index, mount] of this.#cluster.mounts.entries()) {
      if (this.#prng.chance(0.5)) {
        this.#crashMount(index)
        continue
      }
      let ended = false
      this.#world.background(
        mount.stop().then(() => {
          ended = true
        }),
      )
      if (!(await this.#course.until(endMs, () => ended))) {
        this.#world.fail('an unmount ends', mount.name)
        return false
      }
      if (!this.#disturbed) for (const at of this.#memoriesOf(index)) this.#memories[at]?.promised.splice(0)
    }
    return true
  }

  async #converge(): Promise<boolean> {
    await this.#course.for(afterglowMs)
    const rots = this.#disturbed && this.#plan.frail !== undefined
    const until = this.#world.timeline.now + (rots ? scrubMs : convergeMs)
    for (;;) {
      if (this.#world.failure !== undefined) return false
      const left = await this.#left(rots)
      if (left === undefined) return true
      if (this.#world.timeline.now > until) {
        this.#world.fail('copies are restored and garbage goes', left)
        return false
      }
      await this.#course.for(5 * second)
    }
  }

  /** What is not yet as it should be at last. */
  async #left(rots: boolean): Promise<string | undefined> {
    const { master } = this.#cluster
    const left =
      master.inspect(unfinished) ??
      master.inspect(keptForNobody) ??
      master.inspect(notEmpty) ??
      this.#lostNode()
    if (left !== undefined) return left
    let found: string | undefined
    await this.#course.whole('the disks can be looked at', async () => {
      found = await leftovers(this.#cluster)
      if (this.#plan.disaster) found ??= await wrongLogs(this.#cluster)
      if (rots) found ??= await checkCopies(this.#cluster)
      return undefined
    })
    return found
  }

  #lostNode(): string | undefined {
    const [row] = lostNodes(this.#cluster)
    return row === undefined ? undefined : `node ${row.id}, which is lost, cannot be removed`
  }

  async #check(): Promise<void> {
    for (const problem of this.#cluster.master.inspect(checkMetadata))
      this.#world.fail('fsck is clean', problem)
    await this.#course.whole('every copy is there', () => checkCopies(this.#cluster))
    this.#disturbed = false
    const checker = new MountMachine(this.#world, 'checker', {})
    let mounted: Mounted | undefined
    checker.start(ready => {
      mounted = ready
    })
    if (!(await this.#course.until(endMs, () => mounted !== undefined)) || mounted === undefined) {
      this.#world.fail('a new mount works', 'it does not mount')
      return
    }
    const inspector = new Inspector(mounted, 1)
    const { names } = mounted
    await this.#course.whole('the root is right', async () => {
      const found = (await names.readdir('/', 1))
        .map(({ name }) => `/${name}`)
        .sort()
        .join()
      const expected = this.#memories
        .filter(({ made }) => made)
        .map(({ directory }) => directory)
        .sort()
        .join()
      return found === expected ? undefined : `the root has ${found}, expected ${expected}`
    })
    for (const memory of this.#memories) {
      await this.#course.whole('names are kept', () => inspector.settleNames(memory))
      if (memory.made) await this.#course.whole('data is kept', () => inspector.readAll(memory))
    }
  }
}
