import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { command } from './command.ts'
import { isMounted } from './mounts.ts'
import type { PeerNetwork } from './peer-network.ts'
import { PeerSide } from './peer-side.ts'

const bricks = 3
const volume = 'bench'
const patienceMs = 30_000

/** A daemon with three bricks of one volume, and a mount, of GlusterFS; the volume's options are the defaults. */
export class GlusterFsSide extends PeerSide {
  readonly name = 'GlusterFS'
  #version = ''

  constructor(scratch: string, network: PeerNetwork) {
    super('glusterfs', scratch, network)
  }

  async start(): Promise<void> {
    this.#version = /glusterfs (\S+)/.exec(await command('glusterfs', ['--version']))?.[1] ?? '?'
    for (const folder of [this.dir, this.#folder('run'), this.#folder('log'), this.#folder('state')])
      mkdirSync(folder, { recursive: true })
    const file = path.join(this.data, 'glusterd.vol')
    writeFileSync(file, this.#management())
    const pid = path.join(this.data, 'glusterd.pid')
    await this.network.run(
      'glusterd',
      '-f',
      file,
      '-p',
      pid,
      '-l',
      path.join(this.#folder('log'), 'glusterd.log'),
    )
    await this.#awaitDaemon()
    const places = Array.from(
      { length: bricks },
      (_, n) => `${this.#address}:${this.#folder(`brick-${String(n + 1)}`)}`,
    )
    await this.#gluster('volume', 'create', volume, 'replica', String(bricks), ...places, 'force')
    await this.#gluster('volume', 'start', volume)
    await this.mount()
  }

  describe(): string {
    return `${this.#version}, replica ${String(bricks)}, three bricks; the defaults: write-behind, io-cache, quick-read and stat-prefetch on, bricks sync on fsync`
  }

  get #address(): string {
    return this.network.addresses[0] ?? ''
  }

  #folder(name: string): string {
    return path.join(this.data, name)
  }

  get #socket(): string {
    return path.join(this.#folder('run'), 'glusterd.sock')
  }

  #management(): string {
    return [
      'volume management',
      '  type mgmt/glusterd',
      `  option working-directory ${this.#folder('state')}`,
      `  option run-directory ${this.#folder('run')}`,
      `  option logging-directory ${this.#folder('log')}`,
      `  option glusterd-sockfile ${this.#socket}`,
      '  option transport-type socket',
      '  option transport.socket.keepalive-time 10',
      '  option transport.socket.keepalive-interval 2',
      '  option transport.socket.read-fail-log off',
      '  option transport.socket.listen-port 24007',
      '  option ping-timeout 0',
      '  option event-threads 1',
      '  option max-port 60999',
      'end-volume',
      '',
    ].join('\n')
  }

  #gluster(...args: string[]): Promise<string> {
    return this.network.run('gluster', '--mode=script', `--glusterd-sock=${this.#socket}`, ...args)
  }

  async #awaitDaemon(): Promise<void> {
    for (let waited = 0; ; waited += 200)
      try {
        await this.#gluster('pool', 'list')
        return
      } catch (error) {
        if (waited > patienceMs) throw error
        await sleep(200)
      }
  }

  protected async mount(): Promise<void> {
    const log = path.join(this.#folder('log'), 'mount.log')
    await this.network.run(
      'glusterfs',
      `--volfile-server=${this.#address}`,
      `--volfile-id=/${volume}`,
      '-l',
      log,
      this.dir,
    )
    // It returns before the bricks are connected.
    for (let waited = 0; ; waited += 100)
      try {
        if (!isMounted(this.dir)) throw new Error(`glusterfs has not mounted ${this.dir}: see ${log}`)
        await command('stat', ['--file-system', this.dir])
        return
      } catch (error) {
        if (waited > patienceMs) throw error
        await sleep(100)
      }
  }
}
