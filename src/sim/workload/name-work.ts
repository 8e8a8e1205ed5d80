import type { Mounted } from '../cluster/mount-machine.ts'
import { errnoOf, linksOfDirectory, type TreeChange } from '../model/tree.ts'
import { keepPromises } from './memory.ts'
import { Observer } from './observer.ts'
import { dataErrors, type ProgramState, sessionErrors } from './program-state.ts'

/** What a program does with names. */
export class NameWork {
  readonly #state: ProgramState
  readonly #observer: Observer

  constructor(state: ProgramState) {
    this.#state = state
    this.#observer = new Observer(state.mount, state.prng, state.pid)
  }

  async rename(): Promise<void> {
    const [from, to] = [this.#state.path(), this.#state.path()]
    const mode = this.#state.prng.pick(['replace', 'replace', 'replace', 'noreplace', 'exchange'] as const)
    const node = this.#state.memory.tree.find(from)
    const target = this.#state.memory.tree.find(to)
    const other = mode === 'exchange' ? target : undefined
    const same =
      node === target || (node?.kind === 'file' && target?.kind === 'file' && node.file === target.file)
    const done = await this.change(
      `rename ${mode} ${from} to`,
      to,
      tree => tree.rename(from, to, mode),
      n => n.rename(this.#state.at(from), this.#state.at(to), mode, this.#state.pid),
      same ? 'nothing' : mode !== 'exchange' && node?.kind !== 'dir' ? 'promised' : 'stored',
    )
    // A rename stores the data of what it names first; between two names of one file it is none.
    if (done && !same)
      for (const renamed of [node, other]) if (renamed?.kind === 'file') renamed.file.synced()
  }

  async link(): Promise<void> {
    const [from, to] = [this.#state.path(), this.#state.path()]
    const node = this.#state.memory.tree.find(from)
    const done = await this.change(
      `link ${from} to`,
      to,
      tree => tree.link(from, to),
      n => n.link(this.#state.at(from), this.#state.at(to), this.#state.pid),
    )
    if (done && node?.kind === 'file') node.file.synced()
  }

  async unlink(): Promise<void> {
    await this.change(
      'unlink',
      this.#state.path(),
      (tree, path) => tree.unlink(path),
      (n, path) => n.unlink(path, this.#state.pid),
      'promised',
    )
  }

  /**
   * A change of names; true if it was made. It is stored with all before it when it is answered, or may be promised
   * only; or the kernel answered it by itself and nothing was done.
   */
  async change(
    what: string,
    path: string,
    change: (tree: Parameters<TreeChange>[0], path: string) => void,
    call: (names: Mounted['names'], path: string) => Promise<unknown>,
    how: 'stored' | 'promised' | 'nothing' = 'stored',
  ): Promise<boolean> {
    const memory = this.#state.memory
    const applied: TreeChange = tree => change(tree, path)
    const expected = errnoOf(memory.tree, applied)
    const before = this.#state.sessionNow
    const { session } = this.#state
    memory.unanswered = { session, names: applied }
    memory.changes += 1
    const error = await this.#state.call(`${what} ${path}`, () =>
      call(this.#state.mount.names, this.#state.at(path)),
    )
    this.#state.noteSession()
    if (this.#state.namesUncertain) {
      await this.#state.settleNames('names survive the end of a session', `${what} ${path}`)
      return false
    }
    if (error === undefined) {
      memory.unanswered = undefined
      if (expected !== undefined)
        this.#state.wrong('answers are right', `${what} ${path} succeeded, expected ${expected}`)
      else {
        if (how === 'stored') keepPromises(memory)
        else if (how === 'promised') memory.promised.push({ session, before: memory.tree.clone() })
        applied(memory.tree)
      }
      return expected === undefined
    }
    if (error.code === expected) {
      memory.unanswered = undefined
      return false
    }
    const lost = this.#state.sessionNow !== before && sessionErrors.has(error.code)
    // Where the master has no room, it says so at the call.
    const allowed = mayStoreData(what) ? dataErrors : needsRoom(what) ? noRoom : none
    if (!lost && !(allowed.has(error.code) && this.#state.rules.dataMayFail()))
      this.#state.wrong(
        'answers are right',
        `${what} ${path}: ${error.code} (${error.message}), expected ${expected ?? 'success'}`,
      )
    await this.#state.settleNames('a command happens once or not at all', `${what} ${path}`)
    return false
  }

  async list(): Promise<void> {
    const dirs = [
      '',
      ...[...this.#state.memory.tree.paths()]
        .filter(({ node }) => node.kind === 'dir')
        .map(({ path }) => path),
    ]
    const path = this.#state.prng.pick(dirs)
    const node = this.#state.memory.tree.find(path)
    if (node?.kind !== 'dir') return
    let found: string[] = []
    const error = await this.#state.call(`readdir ${path}`, async () => {
      found = (await this.#state.mount.names.readdir(this.#state.at(path), this.#state.pid)).map(
        ({ name }) => name,
      )
    })
    this.#state.noteSession()
    if (this.#state.namesUncertain) return
    if (error !== undefined) this.#state.checkFailure(`readdir ${path}`, error, sessionErrors)
    else if (found.sort().join() !== [...node.names.keys()].sort().join())
      this.#state.wrong(
        'names are right',
        `${this.#state.at(path)} has ${found.join()}, expected ${[...node.names.keys()].sort().join()}`,
      )
  }

  async observe(): Promise<void> {
    const neighbour = this.#state.rules.neighbour(this.#state.memory)
    if (neighbour === undefined) return
    let wrong: string | undefined
    const what = `look at ${neighbour.memory.directory}`
    const error = await this.#state.call(what, async () => {
      wrong = await this.#observer.look(neighbour)
    })
    if (error !== undefined) this.#state.checkFailure(what, error, dataErrors)
    else if (wrong !== undefined) this.#state.wrong('others see what was answered', wrong)
  }

  async stat(): Promise<void> {
    const path = this.#state.path()
    const node = this.#state.memory.tree.find(path)
    let size = 0
    let links = 0
    const error = await this.#state.call(`stat ${path}`, async () => {
      const attr = await this.#state.mount.names.stat(this.#state.at(path), this.#state.pid)
      size = attr.size
      links = attr.nlink
    })
    this.#state.noteSession()
    if (this.#state.namesUncertain) return
    if (error !== undefined) {
      const gone = error.code === 'ENOENT' || error.code === 'ENOTDIR'
      if (!gone || node !== undefined) this.#state.checkFailure(`stat ${path}`, error, sessionErrors)
      return
    }
    if (node === undefined) this.#state.wrong('names are right', `${this.#state.at(path)} exists`)
    if (node?.kind === 'dir' && links !== linksOfDirectory(node))
      this.#state.wrong('attributes are right', `${this.#state.at(path)}: ${links} links`)
    if (node?.kind !== 'file') return
    const wrong = node.file.judgeSize(size)
    if (wrong !== undefined) this.#state.wrong('attributes are right', `${this.#state.at(path)}: ${wrong}`)
    if (links !== this.#state.memory.tree.linksOf(node.file))
      this.#state.wrong('attributes are right', `${this.#state.at(path)}: ${links} links`)
  }
}

const noRoom = new Set(['ENOSPC'])
const none = new Set<string>()

const needsRoom = (what: string): boolean => ['create', 'mkdir', 'symlink'].includes(what)

/** Renames and links store data first. */
const mayStoreData = (what: string): boolean => what.startsWith('rename') || what.startsWith('link')
