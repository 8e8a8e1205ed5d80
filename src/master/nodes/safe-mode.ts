/**
 * After a start the master knows of copies only what its database says. Nothing is repaired or removed before
 * enough chunkservers have reported: attached, and compared their inventories. All of them are enough at once;
 * after `safeModeMs`, so many that every block of which a copy is left has one on them, or half of them. Until
 * then a cluster that is only starting would copy what is about to come back.
 */
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from './node-registry.ts'

export class SafeMode {
  readonly #turn: Turn
  readonly #nodes: NodeRegistry
  readonly #untilMs: number
  /** Those of the database at the start. */
  readonly #expected: ReadonlySet<Node>
  #over = false

  constructor(turn: Turn, nodes: NodeRegistry) {
    this.#turn = turn
    this.#nodes = nodes
    this.#untilMs = turn.now + turn.settings.safeModeMs
    this.#expected = new Set(nodes.all())
    this.#over = this.#expected.size === 0
  }

  get isOn(): boolean {
    return !this.#over
  }

  /** Looks whether it is over. */
  check(): void {
    if (this.#over) return
    const { known, reported, enough } = this.#counts()
    const patient = this.#turn.now >= this.#untilMs
    if (reported < known && !(patient && reported >= enough)) return
    this.#over = true
    this.#turn.out.log('info', 'safe mode is over', { reported, known })
  }

  /** For people; empty when it is off. */
  get reason(): string {
    if (this.#over) return ''
    const { known, reported, enough } = this.#counts()
    const left = Math.ceil((this.#untilMs - this.#turn.now) / 1000)
    const needed = left > 0 ? `all have, or ${enough} and ${left} s have passed` : `${enough} have`
    return `${reported} of ${known} chunkservers have reported since the master started: nothing is repaired or removed before ${needed}`
  }

  #counts(): { readonly known: number; readonly reported: number; readonly enough: number } {
    const known = [...this.#nodes.all()].filter(node => this.#expected.has(node))
    const reported = known.filter(node => node.isUp && node.compared).length
    const whole = known.length - this.#turn.store.format.facts.copies + 1
    const enough = Math.max(1, Math.min(Math.ceil(known.length / 2), whole))
    return { known: known.length, reported, enough }
  }
}
