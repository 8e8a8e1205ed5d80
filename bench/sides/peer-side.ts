import path from 'node:path'
import { command } from './command.ts'
import { detach } from './mounts.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Side } from './side.ts'

/** Another file system in a network of its own: its daemons keep what they have below `data`. */
export abstract class PeerSide implements Side {
  abstract readonly name: string
  readonly key: string
  readonly dir: string
  protected readonly data: string
  protected readonly network: PeerNetwork

  constructor(key: string, scratch: string, network: PeerNetwork) {
    this.key = key
    this.dir = path.join(scratch, `${key}-mnt`)
    this.data = path.join(scratch, key)
    this.network = network
  }

  abstract start(): Promise<void>
  abstract describe(): string
  protected abstract mount(): Promise<void>

  async settle(): Promise<void> {
    await command('sync', ['-f', this.data])
  }

  async remount(): Promise<void> {
    await command('umount', [this.dir])
    await this.mount()
  }

  async stop(): Promise<void> {
    // Its daemons are the network's to end: they keep nothing that is needed again.
    detach(this.dir)
  }
}
