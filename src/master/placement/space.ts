/**
 * Free space as mounts see it: what can be written at a number of copies, less what other sessions
 * were granted. Nodes that have just gone down still count, so that a restart of a chunkserver is no
 * ENOSPC.
 */
import { FsError } from '../../core/errors.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import type { Session, SessionRegistry } from '../sessions/session-registry.ts'
import { writableBytes } from './writable-bytes.ts'

/** Inodes that statfs shows as free: there is no table of them that could fill up. */
const filesFree = 2n ** 32n

export class Space {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #sessions: SessionRegistry

  constructor(turn: Turn, nodes: NodeRegistry, sessions: SessionRegistry) {
    this.#turn = turn
    this.#nodes = nodes
    this.#sessions = sessions
  }

  /** Bytes that can be written at `copies` copies each, or at as many as there are nodes for. */
  writable(copies: number): number {
    const { minCopies } = this.#turn.store.format.facts
    const nodes = [...this.#nodes.all()].filter(node => this.#counts(node) && !node.refusing)
    const possible = Math.max(Math.min(copies, nodes.length), Math.min(minCopies, copies))
    return writableBytes(
      nodes.map(node => node.freeBytes),
      possible,
    )
  }

  get totalBytes(): number {
    const { copies } = this.#turn.store.format.facts
    let sum = 0
    for (const node of this.#nodes.all()) sum += node.row.totalBytes
    return Math.floor(sum / copies)
  }

  /** What anybody can still write at the default number of copies. */
  get availableBytes(): number {
    return Math.max(0, this.writable(this.#turn.store.format.facts.copies))
  }

  get filesFree(): bigint {
    return filesFree
  }

  /** Whether so many bytes more could be stored now. */
  hasSpace(bytes: number, copies: number): boolean {
    return bytes <= this.writable(copies) - this.#reservedByOthers(undefined)
  }

  /**
   * Sets the session's grant. Returns the bytes that it may accept before they are stored. Throws
   * ENOSPC when it can have nothing.
   */
  reserve(session: Session, bytes: number): number {
    const { copies } = this.#turn.store.format.facts
    const free = this.writable(copies) - this.#reservedByOthers(session)
    const granted = Math.max(0, Math.min(bytes, free))
    session.reservedBytes = granted
    if (granted === 0 && bytes > 0) throw new FsError('ENOSPC', 'No room on the chunkservers')
    return granted
  }

  #counts(node: Node): boolean {
    if (node.row.draining) return false
    return node.isUp || this.#turn.now - node.downSinceMs < this.#turn.settings.repairDelayMs
  }

  #reservedByOthers(session: Session | undefined): number {
    let sum = 0
    for (const other of this.#sessions.all()) if (other !== session) sum += other.reservedBytes
    return sum
  }
}
