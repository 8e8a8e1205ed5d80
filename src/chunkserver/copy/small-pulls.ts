import type { Timers } from '../../core/env.ts'
import { type BlockId, blockIdToBytes } from '../../core/ids.ts'
import { smallAtOnce } from '../../core/limits.ts'
import type { SmallGot } from '../../wire/gen/cairn/v1/blocks.ts'
import type { Authority } from '../rpc/authority.ts'
import type { PeerLink } from '../rpc/peer-link.ts'

interface Pull {
  readonly id: Uint8Array
  readonly token: Uint8Array
  readonly settle: (got: SmallGot | undefined) => void
  readonly fail: (error: unknown) => void
}

/** Asks other nodes for small blocks: all that one turn wants of a node with one question. */
export class SmallPulls {
  readonly #timers: Timers
  readonly #authority: Authority
  readonly #patienceMs: number
  readonly #gathered = new Map<PeerLink, Pull[]>()

  constructor(timers: Timers, authority: Authority, patienceMs: number) {
    this.#timers = timers
    this.#authority = authority
    this.#patienceMs = patienceMs
  }

  /** Undefined if the node left it out: asked for it alone, it says why. */
  pull(from: PeerLink, id: BlockId): Promise<SmallGot | undefined> {
    const bytes = blockIdToBytes(id)
    return new Promise((resolve, reject) => {
      const pull = { id: bytes, token: this.#authority.ownToken(bytes), settle: resolve, fail: reject }
      const gathered = this.#gathered.get(from)
      if (gathered === undefined) {
        this.#gathered.set(from, [pull])
        this.#timers.soon(() => this.#send(from))
      } else {
        gathered.push(pull)
        if (gathered.length >= smallAtOnce) this.#send(from)
      }
    })
  }

  #send(from: PeerLink): void {
    const pulls = this.#gathered.get(from)
    if (pulls === undefined) return
    this.#gathered.delete(from)
    const what = { ids: pulls.map(({ id }) => id), tokens: pulls.map(({ token }) => token) }
    const take = (blocks: readonly SmallGot[]): void => {
      for (const block of blocks) pulls[block.index]?.settle(block)
    }
    from.getSmall(what, take, this.#patienceMs).then(
      () => {
        for (const { settle } of pulls) settle(undefined)
      },
      (error: unknown) => {
        for (const { fail } of pulls) fail(error)
      },
    )
  }
}
