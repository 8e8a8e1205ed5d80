import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Mounted } from '../cluster/mount-machine.ts'
import type { History } from '../history/recorder.ts'
import type { Call, Vantage, Witness } from '../history/witness.ts'
import type { Prng } from '../world/prng.ts'

export interface SharedRules {
  readonly witness: Witness
  readonly cellBytes: number
  /** Machines and ways may be broken: calls may fail. */
  readonly mayFail: () => boolean
  /** Everybody's shared directory is this inode. */
  readonly rootIs: (ino: Ino) => void
  readonly fail: (invariant: string, detail: string) => void
  readonly say: (who: string, line: string) => void
}

/** Answers that say what is so. All others say that it may or may not have happened. */
const definite = new Set(['ENOENT', 'EEXIST', 'EISDIR', 'ENOTDIR', 'ENOTEMPTY', 'EINVAL', 'EPERM', 'EAGAIN'])

export type Result<Good> = Good | { readonly error: string }

/** What the parts of one program share: how it calls, and what of it is recorded. */
export class SharedState {
  readonly mount: Mounted
  readonly prng: Prng
  readonly rules: SharedRules
  readonly pid: number
  doing = 'nothing'
  #strand: ((session: string | undefined) => void) | undefined

  constructor(mount: Mounted, prng: Prng, rules: SharedRules, pid: number) {
    this.mount = mount
    this.prng = prng
    this.rules = rules
    this.pid = pid
  }

  get vantage(): Vantage {
    const { session, env } = this.mount
    const { identity, incarnation } = session
    return {
      mount: env.name,
      session: identity.session === 0n ? undefined : String(identity.session),
      incarnation,
    }
  }

  /**
   * Makes a call and records it as `op` of its answer. `changes`: it changes something, so an answer that
   * does not come or says nothing means that it may have happened. The answer; undefined if it says nothing.
   */
  async call<Op, Good extends object>(
    what: string,
    history: History<Op>,
    changes: boolean,
    op: (answer: Result<Good> | undefined, session: string) => Op,
    work: () => Promise<Good>,
  ): Promise<Good | undefined> {
    const { witness } = this.rules
    const call = witness.begin(history, this.vantage, changes ? session => op(undefined, session) : undefined)
    const result = await this.recording(what, call, work)
    if (result instanceof FsError) {
      if (definite.has(result.code) || (result.code === 'ESTALE' && !changes))
        witness.answered(call, this.vantage, session => op({ error: result.code }, session), false)
      else witness.failed(call, this.vantage)
      return undefined
    }
    witness.answered(call, this.vantage, session => op(result, session), changes)
    return result
  }

  /** Where its machine stops meanwhile, the call may happen all the same. */
  async recording<Op, Good>(
    what: string,
    call: Call<Op>,
    work: () => Promise<Good>,
  ): Promise<Good | FsError> {
    this.#say(what)
    const outer = this.#strand
    this.#strand = session => this.rules.witness.stranded(call, session)
    try {
      return await this.attempt(what, work)
    } finally {
      this.#strand = outer
    }
  }

  /** The answer or what went wrong, where that may be. */
  async attempt<Good>(what: string, work: () => Promise<Good>): Promise<Good | FsError> {
    this.doing = what
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      this.#say(`${what}: ${error.code} ${error.message}`)
      if (!definite.has(error.code) && error.code !== 'ESTALE' && !this.rules.mayFail())
        this.rules.fail('answers are right', `${what}: ${error.code} (${error.message})`)
      return error
    } finally {
      this.doing = 'nothing'
    }
  }

  /** Like what is being recorded, `call` may happen all the same. */
  alsoStrands<Op>(call: Call<Op>): void {
    const strand = this.#strand
    this.#strand = session => {
      strand?.(session)
      this.rules.witness.stranded(call, session)
    }
  }

  strand(): void {
    this.#strand?.(this.vantage.session)
    this.#strand = undefined
  }

  wrong(invariant: string, detail: string): void {
    this.rules.fail(invariant, detail)
  }

  #say(line: string): void {
    this.rules.say(`${this.mount.env.name}/${this.pid}`, line)
  }
}
