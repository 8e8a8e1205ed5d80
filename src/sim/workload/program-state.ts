import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { Mounted } from '../cluster/mount-machine.ts'
import type { OpenedFile, OpenHow } from '../kernel/file-io.ts'
import type { FileModel } from '../model/file-model.ts'
import type { Prng } from '../world/prng.ts'
import { Inspector } from './inspector.ts'
import { filesOf, type Memory } from './memory.ts'
import type { Neighbour } from './observer.ts'

/** What the world allows to go wrong at the moment. */
export interface Rules {
  /** Data cannot be stored or read, or not everything of it. */
  readonly dataMayFail: () => boolean
  /** The master would still execute commands of this session. */
  readonly sessionLives: (session: bigint) => boolean
  /** Another program's directory; undefined if there is none. `from`: the memory of who asks. */
  readonly neighbour: (from: Memory) => Neighbour | undefined
  readonly fail: (invariant: string, detail: string) => void
  readonly say: (who: string, line: string) => void
}

export interface OpenFile {
  readonly file: FileModel
  readonly opened: OpenedFile
  readonly how: OpenHow
}

const names = ['a', 'b', 'c', 'd']
/** Answers that say that the session was lost. */
export const sessionErrors = new Set(['EIO', 'ESTALE'])
/** And these, that data could not be stored or read. */
export const dataErrors = new Set(['EIO', 'ENOSPC', 'ETIMEDOUT'])

/** What the parts of one program share: what it has open, what it is told, how it calls. */
export class ProgramState {
  readonly mount: Mounted
  readonly memory: Memory
  readonly prng: Prng
  readonly rules: Rules
  readonly pid: number
  readonly inspector: Inspector
  readonly open: OpenFile[] = []
  #incarnation: number
  /** The call under way, for the report of what does not go on. */
  doing = 'nothing'

  constructor(mount: Mounted, memory: Memory, prng: Prng, rules: Rules, pid: number) {
    this.mount = mount
    this.memory = memory
    this.prng = prng
    this.rules = rules
    this.pid = pid
    this.inspector = new Inspector(mount, pid)
    this.#incarnation = this.sessionNow
  }

  /** Repeats something that changes nothing until it works. */
  async insist(what: string, work: () => Promise<void>): Promise<void> {
    this.doing = what
    for (;;) {
      try {
        await work()
        return
      } catch (error) {
        if (!(error instanceof FsError)) throw error
        if (!this.isAllowed(error, dataErrors)) this.wrong('answers are right', `${what}: ${error.message}`)
        await this.mount.env.delay(1 * second)
      }
    }
  }

  /** Changes when the session dies, and again when another begins. */
  get sessionNow(): number {
    const { incarnation, identity } = this.mount.session
    return identity.session === 0n ? incarnation + 0.5 : incarnation
  }

  /** A session died under which changes of names were promised: which names there are must be looked up. */
  get namesUncertain(): boolean {
    return this.memory.promised.some(({ session }) => session !== this.session)
  }

  /** Looks which of the names that are possible there are. */
  async settleNames(invariant: string, after: string): Promise<void> {
    await this.insist(`settle after ${after}`, async () => {
      const wrong = await this.inspector.settleNames(this.memory)
      if (wrong !== undefined) this.wrong(invariant, `${after}: ${wrong}`)
    })
  }

  /** The session that our data was written under is dead: what was not synced may be lost. */
  noteSession(): boolean {
    const now = this.sessionNow
    if (now === this.#incarnation) return false
    this.#incarnation = now
    for (const file of filesOf(this.memory)) file.lostUnsynced()
    for (const { file } of this.open) file.lostUnsynced()
    return true
  }

  get session(): bigint {
    return this.mount.session.identity.session
  }

  // ---- calls

  async call(what: string, call: () => Promise<unknown>): Promise<FsError | undefined> {
    this.doing = what
    const who = `${this.mount.env.name}${this.memory.directory}`
    this.rules.say(who, what)
    try {
      await call()
      this.memory.done += 1
      return undefined
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      this.rules.say(who, `${what}: ${error.code} ${error.message}`)
      return error
    } finally {
      this.doing = 'nothing'
    }
  }

  checkFailure(what: string, error: FsError, allowed: ReadonlySet<string>): void {
    if (!this.isAllowed(error, allowed))
      this.wrong('answers are right', `${what}: ${error.code} (${error.message})`)
  }

  isAllowed(error: FsError, allowed: ReadonlySet<string>): boolean {
    return this.rules.dataMayFail() && (allowed.has(error.code) || sessionErrors.has(error.code))
  }

  wrong(invariant: string, detail: string): void {
    this.rules.fail(invariant, detail)
  }

  /** Of something that may exist, in the program's directory. */
  path(): string {
    const prng = this.prng
    const paths = [...this.memory.tree.paths()]
    if (paths.length > 0 && prng.chance(0.5)) return prng.pick(paths).path
    const dirs = ['', ...paths.filter(({ node }) => node.kind === 'dir').map(({ path }) => path)]
    return `${prng.pick(dirs.filter(dir => dir.split('/').length < 4))}/${prng.pick(names)}`
  }

  at(path: string): string {
    return `${this.memory.directory}${path}`
  }
}
