/** What the plots show, kept in memory: it begins anew with the master. */
import type { Env, Timer } from '../core/env.ts'
import { messageOf } from '../core/errors.ts'
import { nsPerMs, second } from '../core/units.ts'
import type { MountStatus, StatusReply } from '../wire/gen/cairn/v1/admin.ts'
import type { ClusterView, Measured } from './cluster-view.ts'
import { between, type Growth, growthOf } from './rates.ts'
import { Series } from './series.ts'

const sampleMs = 2 * second
/** Twenty minutes. */
const liveMax = 600
const capacityMs = 300 * second
/** Two weeks. */
const capacityMax = 4032

const liveNames = [
  'callsPerSecond',
  'callP50Ms',
  'callP99Ms',
  'syncP99Ms',
  'repairPerSecond',
  'dirtyBytes',
  'writtenPerSecond',
  'readPerSecond',
] as const
const capacityNames = ['usedBytes', 'totalBytes', 'blocks', 'inodes'] as const

export class History {
  readonly live = new Series(liveNames, liveMax)
  readonly capacity = new Series(capacityNames, capacityMax)
  readonly #env: Env
  readonly #view: ClusterView
  #timer: Timer | undefined
  #last: { readonly atMs: number; readonly measured: Measured } | undefined
  #capacityAt = Number.NEGATIVE_INFINITY
  #failing = false
  #stopped = false

  constructor(env: Env, view: ClusterView) {
    this.#env = env
    this.#view = view
  }

  start(): void {
    void this.#sample()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  get growth(): Growth | undefined {
    const { times, usedBytes, totalBytes } = this.capacity.after(Number.NEGATIVE_INFINITY)
    return growthOf(times, usedBytes, totalBytes.at(-1) ?? 0)
  }

  async #sample(): Promise<void> {
    try {
      const [measured, repair] = await Promise.all([this.#view.measure(), this.#view.repairStatus()])
      this.#note(measured, Number(repair.bytesPerSecond))
      this.#failing = false
    } catch (error) {
      // The page shows the gap, and the master itself logs what is wrong with it.
      this.#last = undefined
      if (!this.#failing && !this.#stopped)
        this.#env.log.warn('the console cannot measure', { why: messageOf(error) })
      this.#failing = true
    }
    if (!this.#stopped) this.#timer = this.#env.timers.after(sampleMs, () => void this.#sample())
  }

  #note(measured: Measured, repairPerSecond: number): void {
    const now = this.#env.clock.now()
    const wallMs = Number(this.#env.clock.wall() / nsPerMs)
    const last = this.#last
    this.#last = { atMs: now, measured }
    // Before a chunkserver has said how large its disk is there is nothing to show.
    if (measured.status.totalBytes > 0n && now - this.#capacityAt >= capacityMs) {
      this.#capacityAt = now
      this.capacity.add(wallMs, capacityOf(measured.status))
    }
    if (last === undefined || now <= last.atMs) return
    const calls = between(last.measured.calls, measured.calls)
    const steps = between(last.measured.steps, measured.steps)
    this.live.add(wallMs, {
      callsPerSecond: calls === undefined ? null : (calls.count * 1000) / (now - last.atMs),
      callP50Ms: calls?.p50Ms ?? null,
      callP99Ms: calls?.p99Ms ?? null,
      syncP99Ms: steps?.p99Ms ?? null,
      repairPerSecond,
      dirtyBytes: ofMounts(measured.status, mount => mount.dirtyBytes),
      writtenPerSecond: ofMounts(measured.status, mount => mount.storedPerSecond),
      readPerSecond: ofMounts(measured.status, mount => mount.fetchedPerSecond),
    })
  }
}

const ofMounts = ({ mounts }: StatusReply, value: (mount: MountStatus) => bigint): number =>
  mounts.reduce((sum, mount) => sum + Number(value(mount)), 0)

/** Of all disks together, down ones included: their data is still counted on. */
function capacityOf({ nodes, blocks, inodes }: StatusReply) {
  return {
    usedBytes: nodes.reduce((sum, node) => sum + Number(node.usedBytes), 0),
    totalBytes: nodes.reduce((sum, node) => sum + Number(node.totalBytes), 0),
    blocks: Number(blocks?.total ?? 0n),
    inodes: Number(inodes),
  }
}
