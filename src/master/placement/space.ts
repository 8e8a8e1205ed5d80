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

/** Parts of all space: with less left it is short, until more than the second is left. */
const shortShare = 0.1
const shortEndsShare = 0.15

export class Space {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #sessions: SessionRegistry
  #short = false

  constructor(turn: Turn, nodes: NodeRegistry, sessions: SessionRegistry) {
    this.#turn = turn
    this.#nodes = nodes
    this.#sessions = sessions
  }

  /**
   * Little is left: what was removed goes at once, without the time that it is kept otherwise. Ends only when
   * there is clearly more again. Disks that are full count, not nodes that are away.
   */
  get isShort(): boolean {
    const { copies } = this.#turn.store.format.facts
    const free = [...this.#nodes.all()].filter(node => !node.row.draining).map(node => node.freeBytes)
    const left = writableBytes(free, Math.min(copies, free.length)) - this.#reservedByOthers(undefined)
    this.#short = left < this.totalBytes * (this.#short ? shortEndsShare : shortShare)
    return this.#short
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
   * Sets the session's grant, counted with all copies. Returns what it may accept before it is stored.
   * Throws ENOSPC when it can have nothing, and nothing is being freed; EIO when too few nodes are there.
   */
  reserve(session: Session, bytes: number, freeing: boolean): number {
    const { copies } = this.#turn.store.format.facts
    const free = this.writable(copies) - this.#reservedByOthers(session)
    const granted = Math.max(0, Math.min(Math.floor(bytes / copies), free))
    session.reservedBytes = granted
    if (granted === 0 && bytes > 0) this.#checkNodes(freeing)
    return granted * copies
  }

  /** Throws why nothing can be had, unless that is about to change. */
  #checkNodes(freeing: boolean): void {
    const { copies, minCopies } = this.#turn.store.format.facts
    const nodes = [...this.#nodes.all()].filter(node => this.#counts(node)).length
    const needed = Math.min(minCopies, copies)
    if (nodes < needed) throw new FsError('EIO', `Only ${nodes} chunkservers are up, ${needed} needed`)
    if (!freeing) throw new FsError('ENOSPC', 'No room on the chunkservers')
  }

  #counts(node: Node): boolean {
    if (node.row.draining) return false
    return node.isUp || this.#nodes.isBrieflyAway(node)
  }

  #reservedByOthers(session: Session | undefined): number {
    let sum = 0
    for (const other of this.#sessions.all()) if (other !== session) sum += other.reservedBytes
    return sum
  }
}
