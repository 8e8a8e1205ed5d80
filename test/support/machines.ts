import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A network namespace: what runs in it has an address of its own. The files are those of everybody. */
export interface Machine {
  readonly name: string
  readonly address: string
  /** The file of its namespace. */
  readonly space: string
  /** In front of a command line: runs it there, as the same process. */
  readonly enter: readonly string[]
}

/**
 * Machines on one switch, which is in a namespace, too: nothing of it is seen outside, and several at once do not
 * meet. Dispose of it in teardown.
 */
export class Machines {
  readonly #id = randomBytes(3).toString('hex')
  readonly #all = new Map<string, Machine>()

  static async make(...names: readonly string[]): Promise<Machines> {
    const machines = new Machines()
    try {
      await run('ip', ['netns', 'add', machines.#space('switch')])
      await machines.#ip('switch', 'link', 'add', 'br0', 'type', 'bridge')
      await machines.#ip('switch', 'link', 'set', 'br0', 'up')
      for (const name of names) await machines.#add(name)
      return machines
    } catch (error) {
      await machines.dispose().catch((left: unknown) => {
        throw new AggregateError([error, left], 'the machines could not be made, and not all are gone')
      })
      throw error
    }
  }

  get(name: string): Machine {
    const machine = this.#all.get(name)
    if (machine === undefined) throw new Error(`there is no machine ${name}`)
    return machine
  }

  /** Pulls the cable: nothing comes or goes, and nobody is told. */
  async cut(name: string): Promise<void> {
    await this.#ip('switch', 'link', 'set', `to-${name}`, 'down')
  }

  /** One way only: what `from` sends to `to` is dropped when it arrives. */
  async deafen(to: string, from: string): Promise<void> {
    const rules = `table inet cut { chain in { type filter hook input priority 0; ip saddr ${this.get(from).address} drop; } }`
    await this.#in(to, 'nft', rules)
  }

  /** Both ways, between two machines only. */
  async part(one: string, other: string): Promise<void> {
    await this.deafen(one, other)
    await this.deafen(other, one)
  }

  async heal(name: string): Promise<void> {
    await this.#ip('switch', 'link', 'set', `to-${name}`, 'up')
    for (const each of this.#all.keys()) await this.#in(each, 'nft', 'table inet cut; flush table inet cut;')
  }

  async dispose(): Promise<void> {
    const failures: unknown[] = []
    for (const name of [...this.#all.keys(), 'switch'])
      await run('ip', ['netns', 'del', this.#space(name)]).catch((error: unknown) => {
        // One that was not made, or is gone already.
        if (!String(error).includes('No such file or directory')) failures.push(error)
      })
    this.#all.clear()
    if (failures.length > 0) throw new AggregateError(failures, 'network namespaces are left')
  }

  async #add(name: string): Promise<void> {
    const address = `10.77.0.${String(this.#all.size + 1)}`
    const space = `/var/run/netns/${this.#space(name)}`
    this.#all.set(name, { name, address, space, enter: ['nsenter', `--net=${space}`] })
    await run('ip', ['netns', 'add', this.#space(name)])
    const link = ['link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `to-${name}`]
    await this.#ip(name, ...link, 'netns', this.#space('switch'))
    await this.#ip('switch', 'link', 'set', `to-${name}`, 'master', 'br0', 'up')
    await this.#ip(name, 'addr', 'add', `${address}/24`, 'dev', 'eth0')
    for (const device of ['lo', 'eth0']) await this.#ip(name, 'link', 'set', device, 'up')
  }

  #space(name: string): string {
    return `cairn-${this.#id}-${name}`
  }

  async #ip(name: string, ...args: readonly string[]): Promise<void> {
    await run('ip', ['-n', this.#space(name), ...args])
  }

  async #in(name: string, ...command: readonly string[]): Promise<void> {
    await run('ip', ['netns', 'exec', this.#space(name), ...command])
  }
}
