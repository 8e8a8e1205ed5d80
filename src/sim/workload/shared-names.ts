import { isDirectory, S_IFDIR, S_IFMT } from '../../core/attr.ts'
import type { OpenHow } from '../kernel/file-io.ts'
import type { KernelInode } from '../kernel/kernel-inode.ts'
import type { Place } from '../kernel/names.ts'
import type { Kind, NamesOp } from '../history/names-model.ts'
import type { SharedFiles } from './shared-files.ts'
import type { SharedState } from './shared-state.ts'

/** Directories that a program keeps open. */
const dirsMax = 2

const kindOf = (inode: KernelInode): Kind => (isDirectory(inode.attr.mode) ? 'dir' : 'file')

/** What a program does with shared names, each call in a directory that it has open. */
export class SharedNames {
  readonly #state: SharedState
  readonly #files: SharedFiles
  readonly dirs: KernelInode[] = []

  constructor(state: SharedState, files: SharedFiles) {
    this.#state = state
    this.#files = files
  }

  /** Opens a directory below, to work in it. */
  async hold(place: Place): Promise<void> {
    const inode = await this.#lookup(place)
    if (inode === undefined) return
    const { names } = this.#state.mount
    if (!isDirectory(inode.attr.mode)) names.letGo(inode)
    else if (this.dirs.push(inode) > dirsMax) for (const old of this.dirs.splice(0, 1)) names.letGo(old)
  }

  letGo(): void {
    for (const dir of this.dirs.splice(0)) this.#state.mount.names.letGo(dir)
  }

  async stat(place: Place): Promise<void> {
    const inode = await this.#lookup(place)
    if (inode === undefined) return
    try {
      if (!isDirectory(inode.attr.mode)) await this.#attributes(inode)
    } finally {
      this.#state.mount.names.letGo(inode)
    }
  }

  async list(dir: KernelInode): Promise<readonly string[]> {
    const { mount, rules, pid } = this.#state
    const found = await this.#state.call(
      `list ${dir.ino}`,
      rules.witness.names,
      false,
      (answer, session): NamesOp => ({ kind: 'list', session, dir: String(dir.ino), answer }),
      async () => ({
        entries: (await mount.names.readdirAt(dir, pid)).map(({ name, ino, type }) => ({
          name: String(name),
          ino: String(ino),
          is: (type & S_IFMT) === S_IFDIR ? ('dir' as const) : ('file' as const),
        })),
      }),
    )
    return found?.entries.map(({ name }) => name) ?? []
  }

  /** Opens a file, and may make it. */
  async open(place: Place): Promise<void> {
    const { prng, mount, pid, rules } = this.#state
    const create = prng.chance(0.7)
    const write = prng.chance(0.85)
    const how: OpenHow = {
      read: true,
      write,
      create,
      exclusive: create && prng.chance(0.4),
      truncate: write && prng.chance(0.1),
      append: write && prng.chance(0.25),
      sync: write && prng.chance(0.1),
    }
    const { parent, name } = place
    const dir = String(parent.ino)
    const id = rules.witness.names.newId()
    const op = (answer: { ino: string } | { error: string } | undefined, session: string): NamesOp => {
      if (create) return { kind: 'create', id, session, dir, name, exclusive: how.exclusive === true, answer }
      const found = answer === undefined || 'error' in answer ? answer : { ...answer, is: 'file' as const }
      // It was there, or the open would have said so.
      return { kind: 'lookup', session, dir, name, answer: found }
    }
    await this.#files.open(`open ${dir}/${name}${create ? ' create' : ''}`, how, op, told =>
      mount.io.openAt(place, told, pid),
    )
  }

  async mkdir(place: Place): Promise<void> {
    const { mount, pid, rules } = this.#state
    const id = rules.witness.names.newId()
    const { parent, name } = place
    await this.#state.call(
      `mkdir ${parent.ino}/${name}`,
      rules.witness.names,
      true,
      (answer, session): NamesOp => ({ kind: 'mkdir', id, session, dir: String(parent.ino), name, answer }),
      async () => ({ ino: String(await mount.names.mkdirAt(place, pid)) }),
    )
  }

  async remove(place: Place, directory: boolean): Promise<void> {
    const { mount, pid, rules } = this.#state
    const { parent, name } = place
    const kind = directory ? 'rmdir' : 'unlink'
    await this.#state.call(
      `${kind} ${parent.ino}/${name}`,
      rules.witness.names,
      true,
      (answer, session): NamesOp => ({ kind, session, dir: String(parent.ino), name, answer }),
      async () => {
        await mount.names.removeAt(place, directory, pid)
        return {}
      },
    )
  }

  /**
   * Where the kernel found one inode under both names it did nothing, and what it saw are two observations: the
   * first may have become false before the second was made.
   */
  async rename(from: Place, to: Place): Promise<void> {
    const { mount, pid, rules, prng } = this.#state
    const { witness } = rules
    const how = prng.pick(['replace', 'replace', 'replace', 'noreplace', 'exchange'] as const)
    const [dir, toDir] = [String(from.parent.ino), String(to.parent.ino)]
    const seen = (at: string, name: string, session: string, inode: KernelInode): NamesOp => ({
      kind: 'lookup',
      session,
      dir: at,
      name,
      answer: { ino: String(inode.ino), is: kindOf(inode) },
    })
    const before = witness.begin(witness.names, this.#state.vantage)
    const done = await this.#state.call<NamesOp, { readonly same: KernelInode | undefined }>(
      `rename ${how} ${dir}/${from.name} ${toDir}/${to.name}`,
      witness.names,
      true,
      (answer, session): NamesOp => {
        if (answer !== undefined && 'same' in answer && answer.same !== undefined)
          return seen(toDir, to.name, session, answer.same)
        return { kind: 'rename', session, dir, name: from.name, toDir, toName: to.name, how, answer }
      },
      async () => ({ same: await mount.names.renameAt(from, to, how, pid) }),
    )
    const same = done?.same
    if (same !== undefined)
      witness.answered(before, this.#state.vantage, session => seen(dir, from.name, session, same), false)
  }

  /** Another name for one of the open files. */
  async link(to: Place): Promise<void> {
    const { mount, pid, rules } = this.#state
    const file = this.#files.some()
    if (file === undefined) return
    const { inode } = file
    const ino = String(inode.ino)
    await this.#state.call(
      `link ${ino} ${to.parent.ino}/${to.name}`,
      rules.witness.names,
      true,
      (answer, session): NamesOp => ({
        kind: 'link',
        session,
        ino,
        dir: String(to.parent.ino),
        name: to.name,
        answer,
      }),
      async () => {
        await mount.names.linkAt(inode, to, pid)
        return {}
      },
    )
  }

  /** Lists, and reads what can be reached. */
  async lookAtAll(root: KernelInode): Promise<void> {
    const { mount, pid } = this.#state
    for (const name of await this.list(root)) {
      const place = { parent: root, name: name as Place['name'] }
      const inode = await this.#lookup(place)
      if (inode === undefined) continue
      if (isDirectory(inode.attr.mode)) await this.list(inode)
      else {
        await this.#attributes(inode)
        await this.#files.lookAt(() => mount.io.openAt(place, { read: true }, pid))
      }
      mount.names.letGo(inode)
    }
  }

  /** The inode is kept until it is let go. */
  async #lookup(place: Place): Promise<KernelInode | undefined> {
    const { mount, pid, rules } = this.#state
    const { parent, name } = place
    const found = await this.#state.call<NamesOp, { readonly inode: KernelInode | undefined }>(
      `lookup ${parent.ino}/${name}`,
      rules.witness.names,
      false,
      (answer: { inode: KernelInode | undefined } | { error: string } | undefined, session): NamesOp => {
        const rest = { kind: 'lookup', session, dir: String(parent.ino), name } as const
        if (answer === undefined || 'error' in answer) return { ...rest, answer }
        const { inode } = answer
        if (inode === undefined) return { ...rest, answer: { error: 'ENOENT' } }
        return { ...rest, answer: { ino: String(inode.ino), is: kindOf(inode) } }
      },
      async () => ({ inode: await mount.names.holdAt(place, pid) }),
    )
    return found?.inode
  }

  async #attributes(inode: KernelInode): Promise<void> {
    const { mount, pid, rules } = this.#state
    let size: number | undefined
    const ino = String(inode.ino)
    await this.#files.size(inode.ino, async () => {
      await this.#state.call(
        `stat ${ino}`,
        rules.witness.names,
        false,
        (answer: { links: number } | { error: string } | undefined): NamesOp => ({
          kind: 'links',
          ino,
          answer,
        }),
        async () => {
          const attr = await mount.kernel.freshAttr(inode, pid)
          size = attr.size
          return { links: attr.nlink }
        },
      )
      return size
    })
  }
}
