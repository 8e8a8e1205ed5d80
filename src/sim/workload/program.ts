import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import type { Mounted } from '../cluster/mount-machine.ts'
import type { OpenedFile, OpenHow } from '../kernel/file-io.ts'
import { FileModel, punched, truncated, written } from '../model/file-model.ts'
import { errnoOf, type TreeChange } from '../model/tree.ts'
import type { Prng } from '../world/prng.ts'
import { bytesOf } from './contents.ts'
import { Inspector } from './inspector.ts'
import type { Memory } from './memory.ts'
import { type Neighbour, Observer } from './observer.ts'

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

interface OpenFile {
  readonly file: FileModel
  readonly opened: OpenedFile
  readonly how: OpenHow
}

const names = ['a', 'b', 'c', 'd']
const openMax = 4
const fileBytesMax = 320 * 1024
/** Answers that say that the session was lost. */
const sessionErrors = new Set(['EIO', 'ESTALE'])
const dataErrors = new Set(['EIO', 'ENOSPC', 'ETIMEDOUT'])

/** One program: works in a directory of its own and knows what it must find there. */
export class Program {
  readonly #mount: Mounted
  readonly #memory: Memory
  readonly #prng: Prng
  readonly #rules: Rules
  readonly #pid: number
  readonly #inspector: Inspector
  readonly #observer: Observer
  readonly #open: OpenFile[] = []
  #incarnation: number
  #stopping = false
  /** Calls that were made and answered, for the report of what does not go on. */
  doing = 'nothing'
  ended = false

  constructor(mount: Mounted, memory: Memory, prng: Prng, rules: Rules, pid: number) {
    this.#mount = mount
    this.#memory = memory
    this.#prng = prng
    this.#rules = rules
    this.#pid = pid
    this.#inspector = new Inspector(mount, pid)
    this.#observer = new Observer(mount, prng, pid)
    this.#incarnation = this.#sessionNow
  }

  /** Ends after the call under way; `close`s what is open. */
  stop(): void {
    this.#stopping = true
  }

  async run(): Promise<void> {
    await this.#settle()
    while (!this.#stopping) {
      await this.#think()
      await this.#step()
    }
    while (this.#open.length > 0) await this.#close(this.#open.length - 1)
    this.ended = true
  }

  // ---- what happened before

  /** After a start: the names must be those before or after what was not answered; so must the files. */
  async #settle(): Promise<void> {
    const memory = this.#memory
    const { unanswered } = memory
    // Until its session is dead, what was asked before the crash may still happen.
    this.doing = 'wait for the end of the old session'
    if (unanswered !== undefined)
      while (this.#rules.sessionLives(unanswered.session)) await this.#mount.env.delay(0.5 * second)
    await this.#insist('settle', async () => {
      const wrong = await this.#inspector.settleNames(memory)
      if (wrong !== undefined) this.#wrong('names survive a crash', wrong)
    })
    if (!memory.made) {
      await this.#insist('begin', async () => {
        await this.#mount.names.mkdir(memory.directory, this.#pid).catch((error: unknown) => {
          if (!(error instanceof FsError) || error.code !== 'EEXIST') throw error
        })
        memory.made = true
      })
      return
    }
    await this.#insist('read again', async () => {
      const wrong = await this.#inspector.readAll(memory)
      if (wrong !== undefined) this.#wrong('data survives a crash', wrong)
    })
  }

  /** Repeats something that changes nothing until it works. */
  async #insist(what: string, work: () => Promise<void>): Promise<void> {
    this.doing = what
    for (;;) {
      try {
        await work()
        return
      } catch (error) {
        if (!(error instanceof FsError)) throw error
        if (!this.#isAllowed(error, dataErrors)) this.#wrong('answers are right', `${what}: ${error.message}`)
        await this.#mount.env.delay(1 * second)
      }
    }
  }

  /** Changes when the session dies, and again when another begins. */
  get #sessionNow(): number {
    const { incarnation, identity } = this.#mount.session
    return identity.session === 0n ? incarnation + 0.5 : incarnation
  }

  /** The session that our data was written under is dead: what was not synced may be lost. */
  #noteSession(): boolean {
    const now = this.#sessionNow
    if (now === this.#incarnation) return false
    this.#incarnation = now
    for (const file of this.#memory.tree.files()) file.lostUnsynced()
    for (const { file } of this.#open) file.lostUnsynced()
    return true
  }

  get #session(): bigint {
    return this.#mount.session.identity.session
  }

  // ---- steps

  async #think(): Promise<void> {
    const prng = this.#prng
    const ms = prng.chance(0.02) ? prng.between(500, 7000) : prng.between(0.1, 30)
    await this.#mount.env.delay(ms)
  }

  async #step(): Promise<void> {
    this.#noteSession()
    const prng = this.#prng
    const roll = prng.unit()
    if (roll < 0.05)
      await this.#name(
        'mkdir',
        this.#path(),
        (tree, path) => tree.mkdir(path),
        (n, path) => n.mkdir(path, this.#pid),
      )
    else if (roll < 0.07)
      await this.#name(
        'rmdir',
        this.#path(),
        (tree, path) => tree.rmdir(path),
        (n, path) => n.rmdir(path, this.#pid),
      )
    else if (roll < 0.12)
      await this.#name(
        'unlink',
        this.#path(),
        (tree, path) => tree.unlink(path),
        (n, path) => n.unlink(path, this.#pid),
      )
    else if (roll < 0.18) await this.#rename()
    else if (roll < 0.21) await this.#link()
    else if (roll < 0.22)
      await this.#name(
        'symlink',
        this.#path(),
        (tree, path) => tree.symlink(path, 'somewhere'),
        (n, path) => n.symlink(path, 'somewhere' as never, this.#pid),
      )
    else if (roll < 0.26) await this.#list()
    else if (roll < 0.3) await this.#stat()
    else if (roll < 0.32) this.#mount.kernel.shrink()
    else if (roll < 0.37) await this.#observe()
    else if (roll < 0.47 || this.#open.length === 0) await this.#openSome()
    else await this.#useFile()
  }

  async #useFile(): Promise<void> {
    const prng = this.#prng
    const at = prng.below(this.#open.length)
    const entry = this.#open[at]
    if (entry === undefined) return
    if (entry.file.hopeless) {
      await this.#close(at)
      return
    }
    const roll = prng.unit()
    if (roll < 0.1) await this.#close(at)
    else if (entry.how.write !== true || roll < 0.3) await this.#read(entry)
    else if (roll < 0.38) await this.#fsync(entry)
    else if (roll < 0.45) await this.#truncate(entry)
    else if (roll < 0.48) await this.#punch(entry)
    else if (roll < 0.51) await this.#copy(entry)
    else await this.#write(entry)
  }

  // ---- names

  async #rename(): Promise<void> {
    const [from, to] = [this.#path(), this.#path()]
    const mode = this.#prng.pick(['replace', 'replace', 'replace', 'noreplace', 'exchange'] as const)
    const node = this.#memory.tree.find(from)
    const target = this.#memory.tree.find(to)
    const other = mode === 'exchange' ? target : undefined
    const same =
      node === target || (node?.kind === 'file' && target?.kind === 'file' && node.file === target.file)
    const done = await this.#name(
      `rename ${mode} ${from} to`,
      to,
      tree => tree.rename(from, to, mode),
      n => n.rename(this.#at(from), this.#at(to), mode, this.#pid),
    )
    // A rename stores the data of what it names first; between two names of one file it is none.
    if (done && !same)
      for (const renamed of [node, other]) if (renamed?.kind === 'file') renamed.file.synced()
  }

  async #link(): Promise<void> {
    const [from, to] = [this.#path(), this.#path()]
    const node = this.#memory.tree.find(from)
    const done = await this.#name(
      `link ${from} to`,
      to,
      tree => tree.link(from, to),
      n => n.link(this.#at(from), this.#at(to), this.#pid),
    )
    if (done && node?.kind === 'file') node.file.synced()
  }

  /** A change of names; true if it was made. */
  async #name(
    what: string,
    path: string,
    change: (tree: Parameters<TreeChange>[0], path: string) => void,
    call: (names: Mounted['names'], path: string) => Promise<unknown>,
  ): Promise<boolean> {
    const memory = this.#memory
    const applied: TreeChange = tree => change(tree, path)
    const expected = errnoOf(memory.tree, applied)
    const before = this.#sessionNow
    if (expected === undefined) memory.unanswered = { session: this.#session, names: applied }
    memory.changes += 1
    const error = await this.#call(`${what} ${path}`, () => call(this.#mount.names, this.#at(path)))
    if (error === undefined) {
      memory.unanswered = undefined
      if (expected !== undefined)
        this.#wrong('answers are right', `${what} ${path} succeeded, expected ${expected}`)
      else applied(memory.tree)
      return expected === undefined
    }
    if (error.code === expected) return false
    const lost = this.#sessionNow !== before && sessionErrors.has(error.code)
    if (!lost && !(dataErrors.has(error.code) && this.#rules.dataMayFail() && mayStoreData(what)))
      this.#wrong(
        'answers are right',
        `${what} ${path}: ${error.code} (${error.message}), expected ${expected ?? 'success'}`,
      )
    await this.#insist(`settle after ${what}`, async () => {
      const wrong = await this.#inspector.settleNames(memory)
      if (wrong !== undefined)
        this.#wrong('a command happens once or not at all', `${what} ${path}: ${wrong}`)
    })
    return false
  }

  async #list(): Promise<void> {
    const dirs = [
      '',
      ...[...this.#memory.tree.paths()].filter(({ node }) => node.kind === 'dir').map(({ path }) => path),
    ]
    const path = this.#prng.pick(dirs)
    const node = this.#memory.tree.find(path)
    if (node?.kind !== 'dir') return
    let found: string[] = []
    const error = await this.#call(`readdir ${path}`, async () => {
      found = (await this.#mount.names.readdir(this.#at(path), this.#pid)).map(({ name }) => name)
    })
    if (error !== undefined) this.#checkFailure(`readdir ${path}`, error, sessionErrors)
    else if (found.sort().join() !== [...node.names.keys()].sort().join())
      this.#wrong(
        'names are right',
        `${this.#at(path)} has ${found.join()}, expected ${[...node.names.keys()].sort().join()}`,
      )
  }

  async #observe(): Promise<void> {
    const neighbour = this.#rules.neighbour(this.#memory)
    if (neighbour === undefined) return
    let wrong: string | undefined
    const what = `look at ${neighbour.memory.directory}`
    const error = await this.#call(what, async () => {
      wrong = await this.#observer.look(neighbour)
    })
    if (error !== undefined) this.#checkFailure(what, error, dataErrors)
    else if (wrong !== undefined) this.#wrong('others see what was answered', wrong)
  }

  async #stat(): Promise<void> {
    const path = this.#path()
    const node = this.#memory.tree.find(path)
    let size = 0
    let links = 0
    const error = await this.#call(`stat ${path}`, async () => {
      const attr = await this.#mount.names.stat(this.#at(path), this.#pid)
      size = attr.size
      links = attr.nlink
    })
    this.#noteSession()
    if (error !== undefined) {
      const gone = error.code === 'ENOENT' || error.code === 'ENOTDIR'
      if (!gone || node !== undefined) this.#checkFailure(`stat ${path}`, error, sessionErrors)
      return
    }
    if (node === undefined) this.#wrong('names are right', `${this.#at(path)} exists`)
    if (node?.kind !== 'file') return
    const wrong = node.file.judgeSize(size)
    if (wrong !== undefined) this.#wrong('attributes are right', `${this.#at(path)}: ${wrong}`)
    if (links !== this.#memory.tree.linksOf(node.file))
      this.#wrong('attributes are right', `${this.#at(path)}: ${links} links`)
  }

  // ---- files

  async #openSome(): Promise<void> {
    if (this.#open.length >= openMax) return this.#close(this.#prng.below(this.#open.length))
    const prng = this.#prng
    const path = this.#path()
    const node = this.#memory.tree.find(path)
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
      const error = await this.#call(`open ${path}`, () =>
        this.#mount.io.open(this.#at(path), how, this.#pid),
      )
      if (error?.code !== 'EEXIST')
        this.#wrong('answers are right', `exclusive create of ${path}: ${error?.message ?? 'success'}`)
    } else
      await this.#openFile(path, node.file, { ...how, truncate: how.truncate === true && how.write === true })
  }

  async #create(path: string, how: OpenHow): Promise<void> {
    if (how.create !== true) return
    const file = new FileModel(this.#memory.files++)
    let opened: OpenedFile | undefined
    const made = await this.#name(
      'create',
      path,
      (tree, at) => tree.create(at, file),
      async () => {
        opened = await this.#mount.io.open(this.#at(path), how, this.#pid)
      },
    )
    if (!made || opened === undefined) return
    file.ino = opened.inode.ino
    this.#open.push({ file, opened, how })
  }

  async #openFile(path: string, file: FileModel, how: OpenHow): Promise<void> {
    let opened: OpenedFile | undefined
    const call = async () => {
      opened = await this.#mount.io.open(this.#at(path), how, this.#pid)
    }
    if (how.truncate === true) await this.#data(file, `open ${path} O_TRUNC`, () => Buffer.alloc(0), call)
    else {
      const error = await this.#call(`open ${path}`, call)
      if (error !== undefined) this.#checkFailure(`open ${path}`, error, sessionErrors)
    }
    if (opened === undefined) return
    if (file.ino !== opened.inode.ino)
      this.#wrong(
        'names are right',
        `${this.#at(path)} is inode ${opened.inode.ino}, expected ${file.ino ?? '?'}`,
      )
    this.#open.push({ file, opened, how })
  }

  async #close(at: number): Promise<void> {
    const [entry] = this.#open.splice(at, 1)
    if (entry === undefined) return
    const error = await this.#call(`close ${entry.opened.inode.ino}`, () =>
      this.#mount.io.close(entry.opened),
    )
    this.#noteSession()
    if (error === undefined) return
    this.#checkFailure('close', error, dataErrors)
    entry.file.lostUnsynced()
  }

  async #read({ file, opened }: OpenFile): Promise<void> {
    const prng = this.#prng
    const length = prng.chance(0.2) ? fileBytesMax : 1 + prng.below(20_000)
    const offset = prng.chance(0.3) ? 0 : prng.below(file.content.length + 1)
    let found: Buffer = Buffer.alloc(0)
    const what = `read inode ${opened.inode.ino} ${offset}+${length}`
    const error = await this.#call(what, async () => {
      found = await this.#mount.io.read(opened, offset, length)
    })
    this.#noteSession()
    if (error !== undefined) {
      this.#checkFailure(what, error, dataErrors)
      return
    }
    const wrong = file.judge(offset, length, found)
    if (wrong !== undefined) this.#wrong('reads are right', `${what}: ${wrong}`)
  }

  async #write({ file, opened, how }: OpenFile): Promise<void> {
    const prng = this.#prng
    const size = prng.chance(0.1)
      ? prng.below(200_000)
      : prng.chance(0.3)
        ? prng.below(40_000)
        : prng.below(5000)
    const data = bytesOf(prng, 1 + size)
    const offset = prng.chance(0.4)
      ? file.content.length
      : prng.below(Math.min(fileBytesMax, file.content.length + 8000))
    if (offset + data.length > fileBytesMax) return
    const append = how.append === true
    const what = `write inode ${opened.inode.ino} ${append ? 'append' : offset}+${data.length}`
    const change = (content: Buffer) => written(content, append ? content.length : offset, data)
    const done = await this.#data(file, what, change, () =>
      this.#mount.io.write(opened, offset, Buffer.from(data)),
    )
    if (done && how.sync === true) file.synced()
  }

  async #fsync({ file, opened }: OpenFile): Promise<void> {
    const what = `fsync inode ${opened.inode.ino}`
    const error = await this.#call(what, () => this.#mount.io.fsync(opened, this.#prng.chance(0.5)))
    if (error === undefined) {
      this.#noteSession()
      file.synced()
      return
    }
    this.#noteSession()
    this.#checkFailure(what, error, dataErrors)
    file.lostUnsynced()
  }

  async #truncate({ file, opened }: OpenFile): Promise<void> {
    const size = this.#prng.below(Math.min(fileBytesMax, file.content.length * 2 + 1000))
    const what = `truncate inode ${opened.inode.ino} ${size}`
    await this.#data(
      file,
      what,
      content => truncated(content, size),
      () => this.#mount.io.truncate(opened, size),
    )
  }

  async #punch({ file, opened }: OpenFile): Promise<void> {
    const offset = this.#prng.below(file.content.length + 1)
    const length = 1 + this.#prng.below(30_000)
    const what = `punch inode ${opened.inode.ino} ${offset}+${length}`
    await this.#data(
      file,
      what,
      content => punched(content, offset, length),
      () => this.#mount.io.punch(opened, offset, length),
    )
  }

  async #copy(to: OpenFile): Promise<void> {
    const prng = this.#prng
    const from = prng.pick(this.#open)
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
      const count = await this.#mount.io.copy(from.opened, fromOffset, to.opened, toOffset, length)
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
    this.#memory.unanswered = { session: this.#session, data: { file, change } }
    file.begun(change)
    const error = await this.#call(what, call)
    this.#memory.unanswered = undefined
    if (error === undefined) file.apply(change)
    else file.maybe(change)
    this.#noteSession()
    if (error !== undefined) this.#checkFailure(what, error, dataErrors)
    return error === undefined
  }

  // ---- calls

  async #call(what: string, call: () => Promise<unknown>): Promise<FsError | undefined> {
    this.doing = what
    const who = `${this.#mount.env.name}${this.#memory.directory}`
    this.#rules.say(who, what)
    try {
      await call()
      this.#memory.done += 1
      return undefined
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      this.#rules.say(who, `${what}: ${error.code} ${error.message}`)
      return error
    } finally {
      this.doing = 'nothing'
    }
  }

  #checkFailure(what: string, error: FsError, allowed: ReadonlySet<string>): void {
    if (!this.#isAllowed(error, allowed))
      this.#wrong('answers are right', `${what}: ${error.code} (${error.message})`)
  }

  #isAllowed(error: FsError, allowed: ReadonlySet<string>): boolean {
    return this.#rules.dataMayFail() && (allowed.has(error.code) || sessionErrors.has(error.code))
  }

  #wrong(invariant: string, detail: string): void {
    this.#rules.fail(invariant, detail)
  }

  /** Of something that may exist, in the program's directory. */
  #path(): string {
    const prng = this.#prng
    const paths = [...this.#memory.tree.paths()]
    if (paths.length > 0 && prng.chance(0.5)) return prng.pick(paths).path
    const dirs = ['', ...paths.filter(({ node }) => node.kind === 'dir').map(({ path }) => path)]
    return `${prng.pick(dirs.filter(dir => dir.split('/').length < 4))}/${prng.pick(names)}`
  }

  #at(path: string): string {
    return `${this.#memory.directory}${path}`
  }
}

/** Renames and links store data first. */
const mayStoreData = (what: string): boolean => what.startsWith('rename') || what.startsWith('link')
