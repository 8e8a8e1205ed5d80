import { must } from '../../core/assert.ts'
import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { FileOp } from '../history/file-model.ts'
import type { NamesOp } from '../history/names-model.ts'
import type { Call } from '../history/witness.ts'
import type { OpenedFile, OpenHow } from '../kernel/file-io.ts'
import type { Prng } from '../world/prng.ts'
import { cellsOf, valueOf } from './shared-cells.ts'
import type { Result, SharedState } from './shared-state.ts'

const openMax = 3
/** Cells of a file; the most that one write has; the most that one read has. */
const cellsMax = 48
const writeMax = 20
const readMax = 4

/** What a program does with what is in shared files. */
export class SharedFiles {
  readonly #state: SharedState
  readonly #open: OpenedFile[] = []

  constructor(state: SharedState) {
    this.#state = state
  }

  get count(): number {
    return this.#open.length
  }

  /** One of the open files. */
  some(prng: Prng = this.#state.prng): OpenedFile | undefined {
    return this.#open.length === 0 ? undefined : prng.pick(this.#open)
  }

  /** `op`: what the names have to say of it. */
  async open(
    what: string,
    how: OpenHow,
    op: (answer: Result<{ ino: string }> | undefined, session: string) => NamesOp,
    work: (how: OpenHow) => Promise<OpenedFile>,
  ): Promise<void> {
    if (this.#open.length === openMax) await this.#close(this.#open.splice(0, 1))
    let opened: OpenedFile | undefined
    const { witness } = this.#state.rules
    const before = this.#state.vantage
    const at = witness.moments.next()
    const truncations: { readonly ino: Ino; readonly call: Call<FileOp> }[] = []
    const truncating = (ino: Ino): void => {
      const call = this.#truncation(ino)
      truncations.push({ ino, call })
      this.#state.alsoStrands(call)
    }
    await this.#state.call(what, witness.names, how.create === true, op, async () => {
      opened = await work({ ...how, truncating })
      return { ino: String(opened.inode.ino) }
    })
    if (opened === undefined) {
      for (const { call } of truncations) witness.failed(call, this.#state.vantage)
      return
    }
    this.#open.push(opened)
    const { ino } = opened.inode
    // The name led to another file, which was removed before it was open here.
    const last = truncations.at(-1)?.ino === ino ? truncations.pop() : undefined
    for (const { call } of truncations) witness.failed(call, this.#state.vantage)
    // Made, removed by another mount before it was open here, and made once more.
    if (opened.again === true && how.create === true)
      witness.names.add(op(undefined, this.#state.vantage.session ?? ''), at, witness.moments.next(), false)
    if (how.truncate !== true) return
    // A create that found a file cuts it, too, and the kernel hears of it with the answer.
    const truncation = last?.call ?? { ...this.#truncation(ino), at, from: before }
    const { session } = this.#state.vantage
    const answered = before.session === session && session !== undefined
    const cut = (name: string): FileOp => ({ kind: 'truncate', session: name, size: 0, answered })
    witness.file(ino).sessions.add(session ?? before.session ?? '')
    witness.answered(truncation, this.#state.vantage, cut, true)
  }

  /** A file is about to be cut by an open, which perhaps is never answered. */
  #truncation(ino: Ino): Call<FileOp> {
    const { witness } = this.#state.rules
    const { history, sessions } = witness.file(ino)
    const from = this.#state.vantage
    if (from.session !== undefined) sessions.add(from.session)
    return witness.begin(
      history,
      from,
      (session): FileOp => ({ kind: 'truncate', session, size: 0, answered: false }),
    )
  }

  async step(): Promise<void> {
    const { prng } = this.#state
    const file = this.some()
    if (file === undefined) return
    const roll = prng.unit()
    if (roll < 0.08) await this.#close(this.#open.splice(this.#open.indexOf(file), 1))
    else if (roll < 0.16) await this.size(file.inode.ino, async () => this.#sizeOf(file))
    else if (file.how.write !== true || roll < 0.48) await this.#read(file)
    else if (roll < 0.56) await this.#fsync(file)
    else if (roll < 0.62) await this.#truncate(file)
    else if (roll < 0.64) await this.#punch(file)
    else await this.#write(file)
  }

  async closeAll(): Promise<void> {
    await this.#close(this.#open.splice(0))
  }

  /** Reads all of it. */
  async lookAt(open: () => Promise<OpenedFile>): Promise<void> {
    const opened = await this.#state.attempt('open to look', open)
    if (opened instanceof FsError) return
    const cells = await this.#cellCount(opened)
    for (let from = 0; from <= cells; from += readMax) await this.#readCells(opened, from, readMax)
    await this.#close([opened])
  }

  /** A size that some call tells. */
  async size(ino: Ino, ask: () => Promise<number | undefined>): Promise<void> {
    const { rules, vantage } = this.#state
    const { cellBytes, witness } = rules
    const since = witness.moments.last
    await this.#record(
      ino,
      `size of ${ino}`,
      false,
      async () => {
        const size = await ask()
        if (size === undefined) throw new FsError('ENOENT', 'no size')
        if (size % cellBytes !== 0) this.#state.wrong('writes are whole', `inode ${ino} has size ${size}`)
        return { found: size / cellBytes }
      },
      (answer, session) =>
        answer === undefined || witness.isLate(ino, vantage.mount, since)
          ? []
          : [{ kind: 'size', session, found: answer.found }],
    )
  }

  async #sizeOf(file: OpenedFile): Promise<number> {
    return (await this.#state.mount.io.fstat(file)).size
  }

  async #cellCount(file: OpenedFile): Promise<number> {
    const size = await this.#state.attempt('fstat', () => this.#sizeOf(file))
    return size instanceof FsError ? 0 : Math.ceil(size / this.#state.rules.cellBytes)
  }

  async #read(file: OpenedFile): Promise<void> {
    const { prng } = this.#state
    const count = 1 + prng.below(readMax)
    const from = prng.chance(0.5)
      ? prng.below(4)
      : prng.below(Math.max(1, file.inode.size / this.#state.rules.cellBytes))
    await this.#readCells(file, Math.floor(from), count)
  }

  async #readCells(file: OpenedFile, from: number, count: number): Promise<void> {
    const { rules, mount, vantage } = this.#state
    const { witness, cellBytes } = rules
    const { ino } = file.inode
    const what = `read ${ino} ${from}+${count}`
    const since = witness.moments.last
    const { sizesIgnored } = file.inode
    await this.#record(
      ino,
      what,
      false,
      async () => {
        const bytes = await mount.io.read(file, from * cellBytes, count * cellBytes)
        if (bytes.length % cellBytes !== 0)
          this.#state.wrong('writes are whole', `${what}: ${bytes.length} bytes`)
        return { bytes }
      },
      (answer, session) => {
        if (answer === undefined) return []
        return Array.from({ length: count }, (_, at): FileOp[] => {
          const cell = answer.bytes.subarray(at * cellBytes, (at + 1) * cellBytes)
          const found = cell.length < cellBytes ? 'end' : valueOf(cell)
          if (found === undefined) {
            this.#state.wrong(
              'cells are whole',
              `${what}: cell ${from + at} of inode ${ino} is of several writes`,
            )
            return []
          }
          if (witness.isEarly(found, vantage.mount, since)) return []
          const wasLate = witness.isLate(ino, vantage.mount, since) || file.inode.sizesIgnored > sizesIgnored
          if (found === 'end' && wasLate) return []
          // With a size that is too large, the kernel makes zeros of what is not there.
          if (found === 0 && wasLate && (from + at) * cellBytes >= file.inode.madeUpFrom) return []
          return [{ kind: 'read', session, cell: from + at, found }]
        }).flat()
      },
    )
  }

  async #write(file: OpenedFile): Promise<void> {
    const { prng, mount, rules, vantage } = this.#state
    const { witness, cellBytes } = rules
    const { inode, how } = file
    const { ino } = inode
    const append = how.append === true
    const size = Math.floor(inode.size / cellBytes)
    const count = 1 + prng.below(prng.chance(0.2) ? writeMax : 3)
    const from = append || prng.chance(0.3) ? size : prng.below(Math.min(cellsMax, size + 4))
    if (from + count > cellsMax) return this.#truncate(file)
    const value = witness.newWrite(ino, vantage.mount)
    const synced = how.sync === true
    await this.#record(
      ino,
      `write ${value} to ${ino} ${append ? 'append' : from}+${count}`,
      true,
      async () => {
        await mount.io.write(file, from * cellBytes, cellsOf(value, count, cellBytes))
        return {}
      },
      (answer, session, sure) => {
        const answered = answer !== undefined && sure
        const rest = { session, count, value, synced, answered }
        return [append ? { kind: 'append', ...rest } : { kind: 'write', from, ...rest }]
      },
    )
    witness.writeEnded(value)
  }

  async #truncate(file: OpenedFile): Promise<void> {
    const { prng, mount, rules } = this.#state
    const { cellBytes } = rules
    const size = prng.below(Math.min(cellsMax / 2, Math.floor((file.inode.size / cellBytes) * 1.5) + 3))
    await this.#record(
      file.inode.ino,
      `truncate ${file.inode.ino} to ${size}`,
      true,
      async () => {
        await mount.io.truncate(file, size * cellBytes)
        return {}
      },
      (answer, session, sure) => [
        { kind: 'truncate', session, size, answered: answer !== undefined && sure },
      ],
    )
  }

  async #punch(file: OpenedFile): Promise<void> {
    const { prng, mount, rules } = this.#state
    const { cellBytes } = rules
    const from = prng.below(Math.floor(file.inode.size / cellBytes) + 1)
    const count = 1 + prng.below(6)
    await this.#record(
      file.inode.ino,
      `punch ${file.inode.ino} ${from}+${count}`,
      true,
      async () => {
        await mount.io.punch(file, from * cellBytes, count * cellBytes)
        return {}
      },
      (answer, session, sure) => [
        { kind: 'punch', session, from, count, answered: answer !== undefined && sure },
      ],
    )
  }

  async #fsync(file: OpenedFile): Promise<void> {
    const { mount, rules, prng } = this.#state
    const { witness } = rules
    const { ino } = file.inode
    const names = witness.begin(witness.names, this.#state.vantage)
    await this.#record(
      ino,
      `fsync ${ino}`,
      false,
      async () => {
        await mount.io.fsync(file, prng.chance(0.5))
        return {}
      },
      (answer, session, sure) => {
        if (answer === undefined || !sure) return []
        // The file was made, and so was all that was made before it.
        witness.answered(
          names,
          this.#state.vantage,
          (own): NamesOp => ({ kind: 'sync', session: own, answer: {} }),
          false,
        )
        return [{ kind: 'sync', session, since: witness.synced(ino, this.#state.vantage) }]
      },
      true,
    )
  }

  async #close(files: readonly OpenedFile[]): Promise<void> {
    for (const file of files) {
      const before = this.#state.vantage
      const result = await this.#state.attempt(`close ${file.inode.ino}`, () =>
        this.#state.mount.io.close(file),
      )
      if (result instanceof FsError) this.#lost(file.inode.ino, before.incarnation)
    }
  }

  /** Something was lost and this program was told. */
  #lost(ino: Ino, incarnation: number): void {
    const { vantage, rules } = this.#state
    rules.witness.lossReported(
      ino,
      vantage,
      vantage.session !== undefined && vantage.incarnation === incarnation,
    )
  }

  /** A call on a file, recorded as the operations that its answer tells of. */
  async #record<Good extends object>(
    ino: Ino,
    what: string,
    changes: boolean,
    work: () => Promise<Good>,
    ops: (answer: Good | undefined, session: string, sure: boolean) => readonly FileOp[],
    tellsOfLoss = false,
  ): Promise<void> {
    const { witness } = this.#state.rules
    const { history, sessions } = witness.file(ino)
    const before = this.#state.vantage
    const unanswered = (session: string) => must(ops(undefined, session, false)[0], 'operation')
    const call = witness.begin(history, before, changes ? unanswered : undefined)
    if (changes && before.session !== undefined) witness.wrote(ino, before.mount, before.session, call.at)
    const answer = await this.#state.recording(what, call, work)
    const after = this.#state.vantage
    for (const session of [before.session, after.session]) if (session !== undefined) sessions.add(session)
    if (answer instanceof FsError) {
      if (changes) witness.failed(call, after)
      if (changes || tellsOfLoss) this.#lost(ino, before.incarnation)
      return
    }
    const sure =
      after.session !== undefined && (before.session === undefined || before.session === after.session)
    if (changes && after.session !== undefined) witness.wrote(ino, after.mount, after.session, call.at)
    const session = (sure ? after.session : before.session) ?? ''
    for (const op of ops(answer, session, sure)) witness.answered(call, after, () => op, changes)
  }
}
