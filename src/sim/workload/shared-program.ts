import { isDirectory } from '../../core/attr.ts'
import { FsError } from '../../core/errors.ts'
import type { Name } from '../../core/name.ts'
import { second } from '../../core/units.ts'
import type { Mounted } from '../cluster/mount-machine.ts'
import type { KernelInode } from '../kernel/kernel-inode.ts'
import type { Prng } from '../world/prng.ts'
import { SharedFiles } from './shared-files.ts'
import { lockPath, SharedLocks } from './shared-locks.ts'
import { SharedModes } from './shared-modes.ts'
import { SharedNames } from './shared-names.ts'
import { SharedState, type SharedRules } from './shared-state.ts'

export const sharedRoot = '/s'

/** Before it looks at everything once more and ends. */
const callsMax = 90

/** After so many of the steps something is done with the mode of a file. */
const modeShare = 0.15
/** A mount that goes on has old pages dropped in less. */
const droppedMs = 50

/** A program that does anything with names and files that others on other mounts do anything with, too. */
export class SharedProgram {
  readonly #state: SharedState
  readonly #names: SharedNames
  readonly #files: SharedFiles
  readonly #locks: SharedLocks
  readonly #modes: SharedModes
  readonly #mount: Mounted
  readonly #prng: Prng
  /** For what came later: it shifts nothing else that is drawn. */
  readonly #aside: Prng
  readonly #pid: number
  #stopping = false
  #resting = false
  ended = false

  constructor(mount: Mounted, prng: Prng, aside: Prng, rules: SharedRules, pid: number) {
    this.#mount = mount
    this.#prng = prng
    this.#aside = aside
    this.#pid = pid
    this.#state = new SharedState(mount, prng, rules, pid)
    this.#files = new SharedFiles(this.#state)
    this.#names = new SharedNames(this.#state, this.#files)
    this.#locks = new SharedLocks(this.#state)
    this.#modes = new SharedModes(this.#state, aside)
  }

  get doing(): string {
    return this.#state.doing
  }

  stop(): void {
    this.#stopping = true
  }

  /** Its machine stopped: nobody will be answered. */
  strand(): void {
    this.#state.strand()
  }

  async run(): Promise<void> {
    const root = await this.#begin()
    this.#state.rules.rootIs(root.ino)
    for (let calls = 0; !this.#stopping; calls++) {
      await this.#think()
      this.#resting = calls >= callsMax
      if (this.#resting) await this.#mount.env.delay(500)
      else {
        await this.#step(root)
        const file = this.#aside.chance(modeShare) ? this.#files.some(this.#aside) : undefined
        if (file !== undefined) await this.#modes.step(file)
      }
    }
    await this.#locks.close()
    await this.#files.closeAll()
    await this.#names.lookAtAll(root)
    this.#names.letGo()
    this.ended = true
  }

  /** The shared directory is there, whoever made it. */
  async #begin(): Promise<KernelInode> {
    const { names, io, env } = this.#mount
    for (;;)
      try {
        await names.mkdir(sharedRoot, this.#pid).catch((error: unknown) => {
          if (!(error instanceof FsError) || error.code !== 'EEXIST') throw error
        })
        const found = await names.holdAt(await names.place(sharedRoot, this.#pid), this.#pid)
        if (found === undefined || !isDirectory(found.attr.mode)) throw new FsError('EIO', 'no directory')
        await io.close(await io.open(lockPath, { write: true, create: true }, this.#pid))
        return found
      } catch (error) {
        if (!(error instanceof FsError)) throw error
        await env.delay(0.3 * second)
      }
  }

  async #think(): Promise<void> {
    const prng = this.#prng
    const roll = prng.unit()
    const { env } = this.#mount
    await env.delay(
      roll < 0.15 ? prng.between(100, 1200) : roll < 0.3 ? prng.between(5, 60) : prng.between(0.05, 3),
    )
    // What its kernel has in memory is old until the mount has it dropped (the README's deviations).
    if (env.goesOnNow) await env.delay(droppedMs)
  }

  async #step(root: KernelInode): Promise<void> {
    const prng = this.#prng
    const roll = prng.unit()
    const held = this.#names.dirs
    const dir = held.length > 0 && prng.chance(0.35) ? prng.pick(held) : root
    const name = prng.pick(dir === root ? rootNames : subNames)
    const place = { parent: dir, name }
    if (roll < 0.1) await this.#names.stat(place)
    else if (roll < 0.17) await this.#names.list(dir)
    else if (roll < 0.31) await this.#names.open(place)
    else if (roll < 0.35) await this.#names.mkdir(place)
    else if (roll < 0.39) await this.#names.remove(place, true)
    else if (roll < 0.46) await this.#names.remove(place, false)
    else if (roll < 0.53) {
      const to = held.length > 0 && prng.chance(0.4) ? prng.pick([...held, root]) : dir
      await this.#names.rename(place, { parent: to, name: prng.pick(to === root ? rootNames : subNames) })
    } else if (roll < 0.56) await this.#names.link(place)
    else if (roll < 0.59) await this.#names.hold(place)
    else if (roll < 0.61) this.#mount.kernel.shrink()
    else if (roll < 0.67) await this.#locks.step()
    else if (this.#files.count === 0) await this.#names.open(place)
    else await this.#files.step()
  }
}

const rootNames = ['a', 'b', 'c', 'd'] as Name[]
const subNames = ['a', 'b'] as Name[]
