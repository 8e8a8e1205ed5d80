import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { Mounted } from '../cluster/mount-machine.ts'
import type { Prng } from '../world/prng.ts'
import { FileWork } from './file-work.ts'
import type { Memory } from './memory.ts'
import { NameWork } from './name-work.ts'
import { ProgramState, type Rules } from './program-state.ts'

/** One program: works in a directory of its own and knows what it must find there. */
export class Program {
  readonly #state: ProgramState
  readonly #names: NameWork
  readonly #files: FileWork
  #stopping = false
  ended = false

  constructor(mount: Mounted, memory: Memory, prng: Prng, rules: Rules, pid: number) {
    this.#state = new ProgramState(mount, memory, prng, rules, pid)
    this.#names = new NameWork(this.#state)
    this.#files = new FileWork(this.#state, this.#names)
  }

  /** The call under way. */
  get doing(): string {
    return this.#state.doing
  }

  /** Ends after the call under way; `close`s what is open. */
  stop(): void {
    this.#stopping = true
  }

  /** If the session died, what was not synced under it may be lost; also after the program has ended. */
  noteSession(): void {
    this.#state.noteSession()
  }

  async run(): Promise<void> {
    await this.#settle()
    while (!this.#stopping) {
      await this.#think()
      await this.#step()
    }
    while (this.#state.open.length > 0) await this.#files.close(this.#state.open.length - 1)
    this.ended = true
  }

  /** After a start: the names must be those before or after what was not answered; so must the files. */
  async #settle(): Promise<void> {
    const memory = this.#state.memory
    // Until its session is dead, what was asked before the crash may still happen.
    this.#state.doing = 'wait for the end of the old session'
    for (const old of [memory.unanswered, ...memory.promised])
      while (old !== undefined && this.#state.rules.sessionLives(old.session))
        await this.#state.mount.env.delay(0.5 * second)
    await this.#state.settleNames('names survive a crash', 'the start')
    if (!memory.made) {
      await this.#state.insist('begin', async () => {
        await this.#state.mount.names.mkdir(memory.directory, this.#state.pid).catch((error: unknown) => {
          if (!(error instanceof FsError) || error.code !== 'EEXIST') throw error
        })
        await this.#state.mount.names.fsync('/', this.#state.pid)
        memory.made = true
      })
      return
    }
    await this.#state.insist('read again', async () => {
      const wrong = await this.#state.inspector.readAll(memory)
      if (wrong !== undefined) this.#state.wrong('data survives a crash', wrong)
    })
  }

  async #think(): Promise<void> {
    const prng = this.#state.prng
    const ms = prng.chance(0.02) ? prng.between(500, 7000) : prng.between(0.1, 30)
    await this.#state.mount.env.delay(ms)
  }

  async #step(): Promise<void> {
    this.#state.noteSession()
    if (this.#state.namesUncertain)
      await this.#state.settleNames('names survive the end of a session', 'the end of a session')
    const prng = this.#state.prng
    const roll = prng.unit()
    if (roll < 0.05)
      await this.#names.change(
        'mkdir',
        this.#state.path(),
        (tree, path) => tree.mkdir(path),
        (n, path) => n.mkdir(path, this.#state.pid),
        'promised',
      )
    else if (roll < 0.07)
      await this.#names.change(
        'rmdir',
        this.#state.path(),
        (tree, path) => tree.rmdir(path),
        (n, path) => n.rmdir(path, this.#state.pid),
        'promised',
      )
    else if (roll < 0.12) await this.#names.unlink()
    else if (roll < 0.18) await this.#names.rename()
    else if (roll < 0.21) await this.#names.link()
    else if (roll < 0.22)
      await this.#names.change(
        'symlink',
        this.#state.path(),
        (tree, path) => tree.symlink(path, 'somewhere'),
        (n, path) => n.symlink(path, 'somewhere' as never, this.#state.pid),
        'promised',
      )
    else if (roll < 0.26) await this.#names.list()
    else if (roll < 0.3) await this.#names.stat()
    else if (roll < 0.32) this.#state.mount.kernel.shrink()
    else if (roll < 0.37) await this.#names.observe()
    else if (roll < 0.47 || this.#state.open.length === 0) await this.#files.openSome()
    else await this.#files.use()
  }
}
