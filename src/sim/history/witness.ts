import type { Ino } from '../../core/ids.ts'
import { check, type Model, type Verdict } from './checker.ts'
import { fileModel, type FileOp, type Value } from './file-model.ts'
import { type LockOp, lockModel } from './lock-model.ts'
import { type ModeOp, modeModel } from './mode-model.ts'
import { type NamesOp, namesModel } from './names-model.ts'
import { History, Moments } from './recorder.ts'

/** A mount as programs know it: the session under which what they do now is done, if there is one. */
export interface Vantage {
  readonly mount: string
  /** As it is named in histories; undefined between two sessions. */
  readonly session: string | undefined
  readonly incarnation: number
}

/** A call that was made. */
export interface Call<Op> {
  readonly history: History<Op>
  readonly at: number
  readonly from: Vantage
  /** The operation if nobody is answered. Undefined: it changes nothing. */
  readonly unanswered: ((session: string) => Op) | undefined
}

interface FileRecord {
  readonly history: History<FileOp>
  /** Sessions that did something with it. */
  readonly sessions: Set<string>
  /** By mount: what was written there since the file was last synced there. */
  readonly dirty: Map<string, { since: number; sessions: Set<string> }>
  /** From here on a mount could not store what it was given and said so: what is there is anybody's guess. */
  until: number
}

/** A write that was begun: by whom, and when it ended. */
interface WriteRecord {
  readonly ino: Ino
  readonly mount: string
  ended: number
}

export interface Checked {
  readonly what: string
  readonly verdict: Verdict
}

/** Everything that programs did with what they share, and what it must be explained by. */
export class Witness {
  readonly moments = new Moments()
  readonly names = new History<NamesOp>()
  readonly locks = new History<LockOp>()
  readonly #files = new Map<Ino, FileRecord>()
  readonly #modes = new Map<Ino, History<ModeOp>>()
  readonly #writes: WriteRecord[] = []
  readonly #deaths = new Map<string, number>()
  /** Calls of machines that stopped, by the session that may yet execute them. */
  readonly #stranded = new Map<string, (() => void)[]>()

  file(ino: Ino): FileRecord {
    let file = this.#files.get(ino)
    if (file === undefined) {
      const until = Number.POSITIVE_INFINITY
      file = { history: new History(), sessions: new Set(), dirty: new Map(), until }
      this.#files.set(ino, file)
    }
    return file
  }

  mode(ino: Ino): History<ModeOp> {
    let history = this.#modes.get(ino)
    if (history === undefined) {
      history = new History()
      this.#modes.set(ino, history)
    }
    return history
  }

  /** Operations recorded. */
  get size(): number {
    let sum = this.names.size + this.locks.size
    for (const history of this.#modes.values()) sum += history.size
    for (const { history } of this.#files.values()) sum += history.size
    return sum
  }

  begin<Op>(history: History<Op>, from: Vantage, unanswered?: (session: string) => Op): Call<Op> {
    return { history, at: this.moments.next(), from, unanswered }
  }

  /**
   * It was answered. Where a session ended meanwhile nobody knows in which of the two it happened: then
   * perhaps in the first, and what it told is not used.
   */
  answered<Op>(call: Call<Op>, to: Vantage, op: (session: string) => Op, changes: boolean): boolean {
    const { session } = to
    const { from, at, history } = call
    const sure = session !== undefined && (from.session === undefined || from.session === session)
    if (sure) history.add(op(session), at, this.moments.next(), true)
    else if (changes) history.add(op(from.session ?? session ?? ''), at, this.moments.next(), false)
    return sure
  }

  /** The answer says that it may or may not have happened. */
  failed<Op>(call: Call<Op>, to: Vantage): void {
    const { history, at, from, unanswered } = call
    const now = this.moments.next()
    if (unanswered === undefined) return
    const only = from.session !== undefined && to.incarnation === from.incarnation ? from.session : undefined
    const death = only === undefined ? undefined : this.#deaths.get(only)
    // After a session's end nothing of it is executed.
    const end = death === undefined ? now : Math.max(at + 0.5, death + 0.5)
    history.add(unanswered(from.session ?? to.session ?? ''), at, end, false)
  }

  /** Its machine stopped: until its session ends it may happen. */
  stranded<Op>(call: Call<Op>, session: string | undefined): void {
    const { history, at, from, unanswered } = call
    const now = this.moments.next()
    if (unanswered === undefined) return
    const name = session ?? from.session ?? ''
    const add = (end: number) => history.add(unanswered(name), at, end, false)
    if (session === undefined) add(now)
    else if (this.#deaths.has(session)) add(now)
    else {
      const others = this.#stranded.get(session) ?? []
      others.push(() => add((this.#deaths.get(session) ?? Number.POSITIVE_INFINITY) + 0.5))
      this.#stranded.set(session, others)
    }
  }

  /** The master executes nothing of it any more. */
  sessionEnded(session: string): void {
    const at = this.moments.next()
    this.#deaths.set(session, at)
    this.names.moment({ kind: 'death', session }, at)
    this.locks.moment({ kind: 'death', session }, at)
  }

  // ---- data

  newWrite(ino: Ino, mount: string): Value {
    return this.#writes.push({ ino, mount, ended: Number.POSITIVE_INFINITY })
  }

  writeEnded(value: Value): void {
    const write = this.#writes[value - 1]
    if (write !== undefined) write.ended = this.moments.next()
  }

  /**
   * The kernel shows what is being written to readers on the same machine before the file system has it. Such
   * a reader is not wrong, and proves nothing.
   */
  isEarly(value: Value | 'end', mount: string, since: number): boolean {
    const write = value === 'end' ? undefined : this.#writes[value - 1]
    return write?.mount === mount && write.ended > since
  }

  /**
   * Likewise the kernel knows the new size only when the write is answered: on the same machine the file seems
   * to end where it did.
   */
  isLate(ino: Ino, mount: string, since: number): boolean {
    return this.#writes.some(write => write.ino === ino && write.mount === mount && write.ended > since)
  }

  wrote(ino: Ino, mount: string, session: string, at: number): void {
    const { dirty } = this.file(ino)
    const known = dirty.get(mount)
    if (known === undefined) dirty.set(mount, { since: at, sessions: new Set([session]) })
    else known.sessions.add(session)
  }

  /** Sessions whose writes a sync on this mount says are all stored, other than the present. */
  synced(ino: Ino, { mount, session }: Vantage): string[] {
    const { dirty } = this.file(ino)
    const sessions = [...(dirty.get(mount)?.sessions ?? [])]
    dirty.delete(mount)
    return sessions.filter(other => other !== session)
  }

  /** Programs on the mount were told that something is lost. `surprising`: no session ended. */
  lossReported(ino: Ino, { mount }: Vantage, surprising: boolean): void {
    const file = this.file(ino)
    const dirty = file.dirty.get(mount)
    file.dirty.delete(mount)
    if (surprising) file.until = Math.min(file.until, dirty?.since ?? this.moments.last)
  }

  mountGone(mount: string): void {
    for (const { dirty } of this.#files.values()) dirty.delete(mount)
  }

  // ---- the end

  *check(root: Ino): Generator<Checked> {
    for (const calls of this.#stranded.values()) for (const add of calls) add()
    yield { what: 'names', verdict: check(namesModel(String(root)), this.names.happenings()) }
    yield { what: 'locks', verdict: check(lockModel, this.locks.happenings()) }
    for (const [ino, history] of this.#modes) {
      for (const [session, at] of this.#deaths) history.moment({ kind: 'death', session }, at)
      yield { what: `mode of ${ino}`, verdict: check(modeModel, history.happenings()) }
    }
    for (const [ino, { history, sessions, until }] of this.#files) {
      for (const session of sessions) {
        const at = this.#deaths.get(session)
        if (at !== undefined) history.moment({ kind: 'death', session }, at)
      }
      yield {
        what: `file ${ino}`,
        verdict: check(fileModel satisfies Model<unknown, FileOp>, history.happenings(until)),
      }
    }
  }
}
