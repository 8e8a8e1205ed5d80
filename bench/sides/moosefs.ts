import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { command } from './command.ts'
import { isMounted } from './mounts.ts'
import type { PeerNetwork } from './peer-network.ts'
import { PeerSide } from './peer-side.ts'

const copies = 3
/** What Debian installs for the first start of a master. */
const emptyMetadata = '/var/lib/mfs/metadata.mfs.empty'
const patienceMs = 30_000

/** A master, three chunkservers and a mount of MooseFS; all settings but addresses and folders are the defaults. */
export class MooseFsSide extends PeerSide {
  readonly name = 'MooseFS'
  #version = ''

  constructor(scratch: string, network: PeerNetwork) {
    super('moosefs', scratch, network)
  }

  async start(): Promise<void> {
    mkdirSync(this.dir, { recursive: true })
    // `version: 3.0.117-1 ; build: …`
    this.#version = /version: (\S+)/.exec(await command('mfsmaster', ['-v']))?.[1] ?? '?'
    const [master = '', ...nodes] = this.network.addresses
    await this.#daemon('mfsmaster', 'master', {
      EXPORTS_FILENAME: this.#file('exports.cfg', '* / rw,alldirs,admin,maproot=0:0\n* . rw\n'),
      TOPOLOGY_FILENAME: this.#file('topology.cfg', ''),
    })
    for (const [index, address] of nodes.entries()) {
      const name = `chunkserver-${String(index + 1)}`
      const disk = path.join(this.data, `${name}-disk`)
      mkdirSync(disk, { recursive: true })
      await this.#daemon('mfschunkserver', name, {
        HDD_CONF_FILENAME: this.#file(`${name}-hdd.cfg`, `${disk}\n`),
        MASTER_HOST: master,
        BIND_HOST: address,
        CSSERV_LISTEN_HOST: address,
      })
    }
    await this.mount()
    await this.network.run('mfssetgoal', String(copies), this.dir)
    await this.#awaitNodes()
  }

  describe(): string {
    return `${this.#version}, goal ${String(copies)}, three chunkservers; the defaults: chunkservers do not sync when a chunk is closed (HDD_FSYNC_BEFORE_CLOSE = 0), the master writes its change log in the background (CHANGELOG_SAVE_MODE = 0), daemons run at nice -19`
  }

  #file(name: string, text: string): string {
    mkdirSync(this.data, { recursive: true })
    const file = path.join(this.data, name)
    writeFileSync(file, text)
    return file
  }

  async #daemon(program: string, name: string, settings: Record<string, string>): Promise<void> {
    const data = path.join(this.data, name)
    mkdirSync(data)
    if (program === 'mfsmaster') copyFileSync(emptyMetadata, path.join(data, 'metadata.mfs'))
    const all = { WORKING_USER: 'root', WORKING_GROUP: 'root', DATA_PATH: data, ...settings }
    const file = this.#file(
      `${name}.cfg`,
      Object.entries(all)
        .map(([key, value]) => `${key} = ${value}\n`)
        .join(''),
    )
    await this.network.run(program, '-c', file, 'start')
  }

  protected async mount(): Promise<void> {
    await this.network.run('mfsmount', this.dir, '-H', this.network.addresses[0] ?? '')
    if (!isMounted(this.dir)) throw new Error(`mfsmount has not mounted ${this.dir}`)
  }

  /** They attach some time after they have started. */
  async #awaitNodes(): Promise<void> {
    const file = path.join(this.dir, 'is-everybody-there')
    for (let waited = 0; ; waited += 500) {
      // A file is made in one go by a process of its own: without nodes the write waits.
      await command('sh', ['-c', 'echo yes > "$1" && sync "$1"', 'sh', file])
      const info = await this.network.run('mfsfileinfo', file)
      await command('rm', [file])
      if (info.includes(`copy ${String(copies)}:`)) return
      if (waited > patienceMs) throw new Error(`MooseFS has not made ${String(copies)} copies: ${info}`)
      await sleep(500)
    }
  }
}
