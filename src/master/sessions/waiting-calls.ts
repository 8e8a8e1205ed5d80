import type { Ino } from '../../core/ids.ts'
import { isCommand } from '../../wire/commands.ts'
import type { ParkedCall, Session } from './session-registry.ts'

/**
 * Calls that cannot run yet, by the inodes whose leases they wait for, in the order of their coming; and of
 * them those that may try again. In memory only: a session sends again what was not answered.
 */
export class WaitingCalls {
  readonly #byIno = new Map<Ino, Set<ParkedCall>>()
  /** What each waits for: 10,000 that wait for as many inodes are not to be searched for one. */
  readonly #inosOf = new Map<ParkedCall, readonly Ino[]>()
  readonly #ready: ParkedCall[] = []

  /** Those who wait for the inode. */
  of(ino: Ino): Iterable<ParkedCall> {
    return this.#byIno.get(ino) ?? []
  }

  /** Those that somebody waits for. */
  awaited(): Iterable<Ino> {
    return this.#byIno.keys()
  }

  countOf(ino: Ino): number {
    return this.#byIno.get(ino)?.size ?? 0
  }

  isAwaited(ino: Ino): boolean {
    return this.#byIno.has(ino)
  }

  isAwaitedBefore(ino: Ino, call: ParkedCall): boolean {
    for (const other of this.of(ino)) if (other.order < call.order) return true
    return false
  }

  /** Whether a command of the session that came before the call waits. */
  hasCommandBefore(session: Session, id: bigint): boolean {
    for (const [other, { call }] of session.parked)
      if (other < id && call.op !== undefined && isCommand(call.op)) return true
    return false
  }

  /**
   * Also of a call that waits already: it keeps its place where it still waits, and wakes those behind it
   * only where it no longer does. Else two calls that wait for one inode would wake each other for ever.
   */
  add(parked: ParkedCall, waitsFor: readonly Ino[]): void {
    if (parked.session.parked.get(parked.call.id) === parked) this.#leave(parked, waitsFor)
    parked.session.parked.set(parked.call.id, parked)
    this.#inosOf.set(parked, waitsFor)
    for (const ino of waitsFor) {
      const list = this.#byIno.get(ino)
      if (list === undefined) this.#byIno.set(ino, new Set([parked]))
      else list.add(parked)
    }
  }

  remove(parked: ParkedCall): void {
    if (!parked.session.parked.delete(parked.call.id)) return
    this.#leave(parked, [])
  }

  retry(parked: ParkedCall): void {
    this.#ready.push(parked)
  }

  /** Something about the inode's leases changed. */
  retryInode(ino: Ino): void {
    for (const parked of this.of(ino)) this.#ready.push(parked)
  }

  retrySession(session: Session): void {
    this.#ready.push(...session.parked.values())
  }

  /** A call of the session was executed or given up: barriers behind it may be reached. */
  retryBarriers(session: Session): void {
    for (const parked of session.parked.values())
      if (parked.call.op?.$case === 'barrier') this.#ready.push(parked)
  }

  /** The next that may try again, if it still waits. */
  next(): ParkedCall | undefined {
    for (let parked = this.#ready.shift(); parked !== undefined; parked = this.#ready.shift())
      // It may have ended, or be in the list twice.
      if (parked.session.parked.get(parked.call.id) === parked) return parked
    return undefined
  }

  /** No longer waits for any inode but `stays`. */
  #leave(parked: ParkedCall, stays: readonly Ino[]): void {
    const left = this.#inosOf.get(parked) ?? []
    this.#inosOf.delete(parked)
    for (const ino of left) {
      if (stays.includes(ino)) continue
      const list = this.#byIno.get(ino)
      if (list?.delete(parked) !== true) continue
      if (list.size === 0) this.#byIno.delete(ino)
      // Whoever queued behind this one only for the order may go on.
      else this.retryInode(ino)
    }
  }
}
