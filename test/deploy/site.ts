import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Machines } from '../support/machines.js'
import { Container } from './container.js'

const run = promisify(execFile)
const folder = path.resolve('build/deploy')
const base = path.join(folder, 'bookworm')
const stores = ['store1', 'store2', 'store3'] as const

export const masterAddress = '10.77.0.1:9420'

export interface NodeLine {
  readonly id: string
  readonly address: string
  readonly state: string
  readonly draining: boolean
  readonly drained?: boolean
}

interface StatusLine {
  readonly health: string
  readonly reasons: readonly string[]
  readonly master: { readonly version: string }
  readonly nodes: readonly NodeLine[]
  readonly blocks: { readonly underReplicated: string; readonly missing: string }
  /** Up to this time, ns, all changes are on chunkservers. */
  readonly log: { readonly covered: string }
}

/** Five bare Debian machines on one switch, and what is asked of them again and again. */
export class Site {
  readonly #machines: Machines
  readonly #dir: string
  readonly #all = new Map<string, Container>()
  /** By the names that docs/operations.md has in their places. */
  readonly tokens = new Map<string, string>()

  static async make(): Promise<Site> {
    const dir = mkdtempSync(path.join(folder, 'cairn-deploy-'))
    const site = new Site(await Machines.make('master', ...stores, 'client'), dir)
    try {
      for (const name of ['master', ...stores, 'client']) site.add(name, name)
    } catch (error) {
      await site.dispose()
      throw error
    }
    return site
  }

  readonly #alsoEnd: (() => Promise<void>)[] = []

  private constructor(machines: Machines, dir: string) {
    this.#machines = machines
    this.#dir = dir
    mkdirSync(this.shared)
  }

  /** What all machines see as /shared. */
  get shared(): string {
    return path.join(this.#dir, 'shared')
  }

  /** A new bare machine at the address of `place`, which is off. */
  add(name: string, place: string): Container {
    const binds: Record<string, string> = { '/shared': this.shared }
    if (name.startsWith('store'))
      for (const disk of ['disk1', 'disk2']) {
        binds[`/srv/${disk}`] = path.join(this.#dir, `${name}-${disk}`)
        mkdirSync(path.join(this.#dir, `${name}-${disk}`))
      }
    const container = new Container(this.#machines.get(place), path.join(this.#dir, name), base, binds)
    this.#all.set(name, container)
    return container
  }

  get all(): readonly Container[] {
    return [...this.#all.values()]
  }

  get stores(): readonly Container[] {
    return stores.map(name => this.get(name))
  }

  get(name: string): Container {
    const container = this.#all.get(name)
    if (container === undefined) throw new Error(`there is no machine ${name}`)
    return container
  }

  async status(): Promise<StatusLine> {
    const { output, code } = await this.get('client').try(`cairn status --json --master ${masterAddress}`)
    if (!output.startsWith('{')) throw new Error(`${output.trimEnd()} (exit code ${code})`)
    return JSON.parse(output) as StatusLine
  }

  /** Until the cluster says that it is well, with so many chunkservers. */
  async healthy(nodes: number): Promise<void> {
    await until(`a healthy cluster of ${nodes} chunkservers`, async () => {
      const status = await this.status()
      const up = status.nodes.filter(({ state }) => state === 'up')
      if (status.health === 'ok' && up.length === nodes && status.nodes.length === nodes) return undefined
      return `${status.health}: ${status.reasons.join('; ')}, ${up.length} of ${status.nodes.length} up`
    })
  }

  /** What `cairn` prints as JSON, whatever its exit code. */
  async ask(command: string): Promise<unknown> {
    const { output } = await this.get('client').try(`cairn ${command} --json --master ${masterAddress}`)
    return JSON.parse(output)
  }

  /** A machine that is lost: it never comes back, and another one may have its address. */
  async lose(name: string): Promise<void> {
    await this.get(name).dispose()
    this.#all.delete(name)
  }

  /** What is to be cleaned up, too. */
  alsoEnd(end: () => Promise<void>): void {
    this.#alsoEnd.push(end)
  }

  /** What cannot be cleaned up keeps nothing else from being so. */
  async dispose(): Promise<void> {
    const ends = [
      ...this.#alsoEnd,
      ...this.all.map(container => () => container.dispose()),
      () => this.#machines.dispose(),
      async () => {
        await run('rm', ['--recursive', '--force', '--one-file-system', this.#dir])
      },
    ]
    const failures: unknown[] = []
    for (const end of ends) await end().catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw new AggregateError(failures, `${failures.length} things are left`)
  }
}

/** Asks until there is no more reason to wait. */
export async function until(what: string, reason: () => Promise<string | undefined>): Promise<void> {
  let last: string | undefined = 'not asked'
  const deadline = Date.now() + 150_000
  while (Date.now() < deadline) {
    try {
      last = await reason()
    } catch (error) {
      last = error instanceof Error ? error.message : String(error)
    }
    if (last === undefined) return
    await sleep(500)
  }
  throw new Error(`waited in vain for ${what}: ${last}`)
}
