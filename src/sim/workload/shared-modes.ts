import type { ModeOp } from '../history/mode-model.ts'
import type { OpenedFile } from '../kernel/file-io.ts'
import type { Prng } from '../world/prng.ts'
import type { SharedState } from './shared-state.ts'

const permissionBits = 0o777

/** Sets and looks at permission bits of open files. */
export class SharedModes {
  readonly #state: SharedState
  readonly #prng: Prng

  constructor(state: SharedState, prng: Prng) {
    this.#state = state
    this.#prng = prng
  }

  async step(file: OpenedFile): Promise<void> {
    const look = this.#prng.chance(0.5)
    if (look) await this.#look(file)
    else await this.#chmod(file, this.#prng.below(permissionBits + 1))
  }

  async #look(file: OpenedFile): Promise<void> {
    const { mount, rules } = this.#state
    const { ino } = file.inode
    await this.#state.call<ModeOp, { readonly found: number }>(
      `mode of ${ino}`,
      rules.witness.mode(ino),
      false,
      (answer, session) => ({
        kind: 'look',
        session,
        found: answer === undefined || 'error' in answer ? undefined : answer.found,
      }),
      async () => ({ found: (await mount.io.fstat(file)).mode & permissionBits }),
    )
  }

  async #chmod(file: OpenedFile, mode: number): Promise<void> {
    const { mount, rules } = this.#state
    const { ino } = file.inode
    await this.#state.call<ModeOp, Record<string, never>>(
      `chmod ${ino} ${mode.toString(8)}`,
      rules.witness.mode(ino),
      true,
      (_answer, session) => ({ kind: 'chmod', session, mode }),
      async () => {
        await mount.io.chmod(file, mode)
        return {}
      },
    )
  }
}
