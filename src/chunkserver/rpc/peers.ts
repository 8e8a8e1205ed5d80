import type { Env } from '../../core/env.ts'
import type { Network } from '../../core/network.ts'
import { blocksOpen } from '../../wire/services.ts'
import { PeerLink } from './peer-link.ts'

/** One stream to each node that this one talks to, opened when needed. */
export class Peers {
  readonly #env: Env
  readonly #network: Network
  readonly #links = new Map<string, PeerLink>()

  constructor(env: Env, network: Network) {
    this.#env = env
    this.#network = network
  }

  /** Failure to connect shows in the calls on it. */
  to(address: string, cluster: Uint8Array): PeerLink {
    const known = this.#links.get(address)
    if (known !== undefined) return known
    const link = new PeerLink(this.#env, this.#network.dial(address, blocksOpen), cluster, () => {
      if (this.#links.get(address) === link) this.#links.delete(address)
    })
    this.#links.set(address, link)
    return link
  }

  close(): void {
    for (const link of [...this.#links.values()]) link.close()
  }
}
