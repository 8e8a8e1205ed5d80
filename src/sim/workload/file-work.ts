import { FsError } from '../../core/errors.ts'
import type { OpenedFile, OpenHow } from '../kernel/file-io.ts'
import { FileModel, punched, truncated, written } from '../model/file-model.ts'
import { bytesOf, knownBytes } from './contents.ts'
import { keepPromises } from './memory.ts'
import type { NameWork } from './name-work.ts'
import { dataErrors, type OpenFile, type ProgramState, sessionErrors } from './program-state.ts'

const openMax = 4
const fileBytesMax = 320 * 1024

/** What a program does with files. */
export class FileWork {
  readonly #state: ProgramState
  readonly #names: NameWork

  constructor(state: ProgramState, names: NameWork) {
    this.#state = state
    this.#names = names
  }

  /** Something with one of the open files. */
  async use(): Promise<void> {
    const prng = this.#state.prng
    const at = prng.below(this.#state.open.length)
    const entry = this.#state.open[at]
    if (entry === undefined) return
    if (entry.file.hopeless) {
      await this.close(at)
      return
    }
    const roll = prng.unit()
    if (roll < 0.1) await this.close(at)
    else if (entry.how.write !== true || roll < 0.3) await this.#read(entry)
    else if (roll < 0.38) await this.#fsync(entry)
    else if (roll < 0.45) await this.#truncate(entry)
    else if (roll < 0.48) await this.#punch(entry)
    else if (roll < 0.51) await this.#copy(entry)
    else await this.#write(entry)
  }

  async openSome(): Promise<void> {
    if (this.#state.open.length >= openMax) return this.close(this.#state.prng.below(this.#state.open.length))
    const prng = this.#state.prng
    const path = this.#state.path()
    const node = this.#state.memory.tree.find(path)
    const how: OpenHow = {
      read: true,
      write: prng.chance(0.8),
      create: prng.chance(0.7),
      exclusive: prng.chance(0.2),
      truncate: prng.chance(0.1),
      append: prng.chance(0.15),
      sync: prng.chance(0.1),
    }
    if (node !== undefined && node.kind !== 'file') return
    if (node === undefined) await this.#create(path, how)
    else if (how.create === true && how.exclusive === true) {
      const error = await this.#state.call(`open ${path}`, () =>
        this.#state.mount.io.open(this.#state.at(path), how, this.#state.pid),
      )
      if (error?.code !== 'EEXIST')
        this.#state.wrong('answers are right', `exclusive create of ${path}: ${error?.message ?? 'success'}`)
    } else
      await this.#openFile(path, node.file, { ...how, truncate: how.truncate === true && how.write === true })
  }

  async #create(path: string, how: OpenHow): Promise<void> {
    if (how.create !== true) return
    const file = new FileModel(this.#state.memory.files++)
    let opened: OpenedFile | undefined
    const made = await this.#names.change(
      'create',
      path,
      (tree, at) => tree.create(at, file),
      async () => {
        opened = await this.#state.mount.io.open(this.#state.at(path), how, this.#state.pid)
      },
      'promised',
    )
    if (opened === undefined) return
    if (!made) {
      // Under a session that died meanwhile.
      await this.#state.mount.io.close(opened).catch(() => undefined)
      return
    }
    file.ino = opened.inode.ino
    this.#state.open.push({ file, opened, how })
  }

  async #openFile(path: string, file: FileModel, how: OpenHow): Promise<void> {
    let opened: OpenedFile | undefined
    const call = async () => {
      opened = await this.#state.mount.io.open(this.#state.at(path), how, this.#state.pid)
    }
    if (how.truncate === true) await this.#data(file, `open ${path} O_TRUNC`, () => Buffer.alloc(0), call)
    else {
      const error = await this.#state.call(`open ${path}`, call)
      this.#state.noteSession()
      if (error !== undefined && !this.#state.namesUncertain)
        this.#state.checkFailure(`open ${path}`, error, sessionErrors)
    }
    if (opened === undefined) return
    if (file.ino !== opened.inode.ino)
      this.#state.wrong(
        'names are right',
        `${this.#state.at(path)} is inode ${opened.inode.ino}, expected ${file.ino ?? '?'}`,
      )
    this.#state.open.push({ file, opened, how })
  }

  async close(at: number): Promise<void> {
    const [entry] = this.#state.open.splice(at, 1)
    if (entry === undefined) return
    const error = await this.#state.call(`close ${entry.opened.inode.ino}`, () =>
      this.#state.mount.io.close(entry.opened),
    )
    this.#state.noteSession()
    if (error === undefined) return
    this.#state.checkFailure('close', error, dataErrors)
    entry.file.lostUnsynced()
  }

  async #read({ file, opened }: OpenFile): Promise<void> {
    const prng = this.#state.prng
    const length = prng.chance(0.2) ? fileBytesMax : 1 + prng.below(20_000)
    const offset = prng.chance(0.3) ? 0 : prng.below(file.content.length + 1)
    let found: Buffer = Buffer.alloc(0)
    const what = `read inode ${opened.inode.ino} ${offset}+${length}`
    const error = await this.#state.call(what, async () => {
      found = await this.#state.mount.io.read(opened, offset, length)
    })
    this.#state.noteSession()
    if (error !== undefined) {
      this.#state.checkFailure(what, error, dataErrors)
      return
    }
    const wrong = file.judge(offset, length, found)
    if (wrong !== undefined) this.#state.wrong('reads are right', `${what}: ${wrong}`)
  }

  async #write({ file, opened, how }: OpenFile): Promise<void> {
    const prng = this.#state.prng
    const size = prng.chance(0.1)
      ? prng.below(200_000)
      : prng.chance(0.3)
        ? prng.below(40_000)
        : prng.below(5000)
    const known = prng.chance(0.2)
    const data = known ? knownBytes(prng) : bytesOf(prng, 1 + size)
    const offset = known
      ? 0
      : prng.chance(0.4)
        ? file.content.length
        : prng.below(Math.min(fileBytesMax, file.content.length + 8000))
    if (offset + data.length > fileBytesMax) return
    const append = how.append === true
    const what = `write inode ${opened.inode.ino} ${append ? 'append' : offset}+${data.length}`
    const change = (content: Buffer) => written(content, append ? content.length : offset, data)
    const done = await this.#data(file, what, change, () =>
      this.#state.mount.io.write(opened, offset, Buffer.from(data)),
    )
    if (done && how.sync === true) this.#synced(file)
  }

  async #fsync({ file, opened }: OpenFile): Promise<void> {
    const what = `fsync inode ${opened.inode.ino}`
    const error = await this.#state.call(what, () =>
      this.#state.mount.io.fsync(opened, this.#state.prng.chance(0.5)),
    )
    if (error === undefined) {
      if (!this.#state.noteSession()) this.#synced(file)
      else file.synced()
      return
    }
    this.#state.noteSession()
    this.#state.checkFailure(what, error, dataErrors)
    file.lostUnsynced()
  }

  #synced(file: FileModel): void {
    file.synced()
    keepPromises(this.#state.memory)
  }

  async #truncate({ file, opened }: OpenFile): Promise<void> {
    const size = this.#state.prng.below(Math.min(fileBytesMax, file.content.length * 2 + 1000))
    const what = `truncate inode ${opened.inode.ino} ${size}`
    await this.#data(
      file,
      what,
      content => truncated(content, size),
      () => this.#state.mount.io.truncate(opened, size),
    )
  }

  async #punch({ file, opened }: OpenFile): Promise<void> {
    const offset = this.#state.prng.below(file.content.length + 1)
    const length = 1 + this.#state.prng.below(30_000)
    const what = `punch inode ${opened.inode.ino} ${offset}+${length}`
    await this.#data(
      file,
      what,
      content => punched(content, offset, length),
      () => this.#state.mount.io.punch(opened, offset, length),
    )
  }

  async #copy(to: OpenFile): Promise<void> {
    const prng = this.#state.prng
    const from = prng.pick(this.#state.open)
    if (from.file === to.file || !from.file.exact || to.how.append === true) return
    const source = from.file.content
    const fromOffset = prng.below(source.length + 1)
    const toOffset = prng.below(Math.min(to.file.content.length + 1, fileBytesMax / 2))
    const length = 1 + prng.below(100_000)
    const data = Buffer.from(source.subarray(fromOffset, fromOffset + length))
    if (toOffset + data.length > fileBytesMax) return
    const what = `copy inode ${from.opened.inode.ino} ${fromOffset}+${length} to inode ${to.opened.inode.ino} ${toOffset}`
    const change = (content: Buffer) => (data.length === 0 ? content : written(content, toOffset, data))
    await this.#data(to.file, what, change, async () => {
      const count = await this.#state.mount.io.copy(from.opened, fromOffset, to.opened, toOffset, length)
      if (count !== data.length) throw new FsError('EIO', `copied ${count} of ${data.length}`)
    })
  }

  /** A change of a file's data; true if it was made. */
  async #data(
    file: FileModel,
    what: string,
    change: (content: Buffer) => Buffer,
    call: () => Promise<unknown>,
  ): Promise<boolean> {
    this.#state.memory.unanswered = { session: this.#state.session, data: { file, change } }
    file.begun(change)
    const error = await this.#state.call(what, call)
    this.#state.memory.unanswered = undefined
    if (error === undefined) file.apply(change)
    else file.maybe(change)
    this.#state.noteSession()
    if (error !== undefined) this.#state.checkFailure(what, error, dataErrors)
    return error === undefined
  }
}
