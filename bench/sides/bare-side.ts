import path from 'node:path'
import { BareCluster } from './bare-cluster.ts'
import { command } from './command.ts'
import type { Side } from './side.ts'

/** Three chunkservers and a mount that reads from them by the wire, as from other machines, with or without TLS. */
export class BareSide implements Side {
  readonly key: string
  readonly name: string
  readonly dir: string
  readonly #cluster: BareCluster
  readonly #tls: boolean

  constructor(scratch: string, { tls }: { readonly tls: boolean }) {
    this.key = tls ? 'tls' : 'plain'
    this.name = tls ? 'with TLS' : 'without TLS'
    this.#tls = tls
    this.#cluster = new BareCluster(scratch, { name: this.key, tls, mountFlags: ['--short-circuit', 'off'] })
    this.dir = this.#cluster.mount
  }

  start(): Promise<void> {
    return this.#cluster.start(3)
  }

  async settle(): Promise<void> {
    // Of a folder of the mount it stores everything of it, as `cairn sync` does.
    await command('sync', [this.dir])
    // The whole disk, which is that of the chunkservers.
    await command('sync', ['-f', path.dirname(this.dir)])
  }

  remount(): Promise<void> {
    return this.#cluster.mountAgain()
  }

  stop(): Promise<void> {
    return this.#cluster.stop()
  }

  describe(): string {
    return `three chunkservers, three copies, ${this.#tls ? 'mutual TLS' : 'no TLS'}, no short-circuit`
  }
}
