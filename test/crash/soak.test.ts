import { promises as fs, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { MiB } from '#src/core/units.ts'
import { residentBytes } from '../support/processes.js'
import { flipBits } from '../support/flip-bit.js'
import { Dice } from '../support/random-calls.js'
import { runPython } from '../support/run-python.js'
import { SpreadCluster } from '../support/spread-cluster.js'

/**
 * A cluster of real processes, each on a machine of its own, under a load on two mounts that verifies itself, while
 * everything that breaks in practice breaks, one after the other. No call may fail, nothing may be wrong, and at the
 * end all is whole and small. CAIRN_SOAK_SECONDS: how long (10 minutes: 600), CAIRN_SOAK_SEED: in which order.
 */
const soakMs = Number(process.env['CAIRN_SOAK_SECONDS'] ?? '120') * 1000
const seed = Number(process.env['CAIRN_SOAK_SEED'] ?? String(Date.now() % 1_000_000))
const nodeCount = 4
/** For one fault and the return to full copies after it. */
const settleMs = 120_000
/** For reading all that was written and is not deleted yet. */
const scrubMs = 400_000

interface Status {
  nodes: { id: number; address: string; state: string }[]
  blocks: { total: number; underReplicated: number }
}

class Soak {
  readonly #t: ExecutionContext
  readonly cluster: SpreadCluster
  readonly #dice = new Dice(seed)

  constructor(t: ExecutionContext, cluster: SpreadCluster) {
    this.#t = t
    this.cluster = cluster
  }

  /** Exit code 1 is bad news, as is to be expected here. */
  async json<T>(...args: string[]): Promise<T> {
    const said = await this.cluster
      .cairnOn('master', ...args, '--master', this.cluster.master, '--json')
      .catch((error: unknown) => {
        const { code, stdout } = error as { code?: number; stdout?: string }
        if (code !== 1 || stdout === undefined || stdout === '') throw error
        return stdout
      })
    return JSON.parse(said) as T
  }

  async #until(met: () => Promise<boolean>, whatNot: string, withinMs = settleMs): Promise<void> {
    const until = Date.now() + withinMs
    while (!(await met())) {
      if (Date.now() > until) throw new Error(`${whatNot}: ${await this.#state()}`)
      await sleep(300)
    }
  }

  /** For who looks for the reason. */
  async #state(): Promise<string> {
    const asked = [['health'], ['node', 'ls'], ['repair', 'status'], ['gc', 'status'], ['damaged']]
    const said = asked.map(
      async command => `${command.join(' ')}: ${JSON.stringify(await this.json(...command))}`,
    )
    return (await Promise.allSettled(said))
      .map(result => (result.status === 'fulfilled' ? result.value : String(result.reason)))
      .join('\n')
  }

  /** All chunkservers are up, and every block has its copies. */
  async settled(): Promise<void> {
    const isWhole = async (): Promise<boolean> => {
      // The master may be on its way back.
      const status = await this.json<Status>('status').catch(() => undefined)
      if (status === undefined) return false
      const up = status.nodes.filter(({ state }) => state === 'up').length
      return up === nodeCount && status.nodes.length === nodeCount && status.blocks.underReplicated === 0
    }
    await this.#until(isWhole, 'not whole again')
  }

  async numberOf(index: number): Promise<string> {
    const { nodes } = await this.json<Status>('status')
    const node = nodes.find(({ address }) => address === this.cluster.addressOf(index))
    if (node === undefined) throw new Error(`node ${String(index)} is not listed`)
    return String(node.id)
  }

  /** Kinds of faults, in an order that the dice decide; all of them before one comes again. */
  round(): { name: string; strike: () => Promise<void> }[] {
    const { cluster } = this
    const dice = this.#dice
    const node = dice.below(nodeCount)
    const name = `node-${String(node)}`
    const faults = {
      'a chunkserver is killed': async () => {
        await cluster.stopDaemon(name, 'SIGKILL')
        await sleep(dice.below(4000))
        await cluster.startNode(node)
      },
      'the master is killed': async () => {
        await cluster.stopDaemon('master', 'SIGKILL')
        await sleep(dice.below(3000))
        await cluster.startMaster()
      },
      'a chunkserver is cut off': async () => {
        await cluster.network.cut(name)
        await sleep(2000 + dice.below(5000))
        await cluster.network.heal(name)
      },
      'a mount reaches no chunkserver': async () => {
        const mount = dice.pick(['a', 'b'])
        for (let index = 0; index < nodeCount; index++)
          await cluster.network.part(mount, `node-${String(index)}`)
        await sleep(1000 + dice.below(4000))
        await cluster.network.heal(mount)
      },
      'a mount is cut off': async () => {
        const mount = dice.pick(['a', 'b'])
        await cluster.network.cut(mount)
        await sleep(1000 + dice.below(4000))
        await cluster.network.heal(mount)
      },
      'a mount is stopped': async () => {
        const { pid } = cluster.mount(dice.pick(['a', 'b']))
        process.kill(pid, 'SIGSTOP')
        await sleep(1000 + dice.below(3000))
        process.kill(pid, 'SIGCONT')
      },
      'a disk is full': async () => {
        await cluster.stopDaemon(name, 'SIGTERM')
        await cluster.startNode(node, '--capacity', '1MiB')
        await sleep(3000)
        await cluster.stopDaemon(name, 'SIGTERM')
        await cluster.startNode(node)
      },
      'bits flip': async () => {
        this.#t.log(`  in ${String(flipInBlocks(cluster.folderOf(node), dice))} blocks`)
        await this.json('scrub', 'start')
      },
      'a chunkserver is emptied and replaced': async () => {
        const number = await this.numberOf(node)
        await this.json('node', 'drain', number)
        const isEmpty = async (): Promise<boolean> => {
          const nodes = await this.json<{ id: number; drained?: boolean }[]>('node', 'ls')
          return nodes.find(({ id }) => String(id) === number)?.drained === true
        }
        await this.#until(isEmpty, `node ${number} does not get empty`)
        await cluster.stopDaemon(name, 'SIGTERM')
        await this.#replace(node, number)
      },
      'a disk is lost': async () => {
        const number = await this.numberOf(node)
        await cluster.stopDaemon(name, 'SIGKILL')
        const isRepaired = async (): Promise<boolean> =>
          (await this.json<Status>('status')).blocks.underReplicated === 0
        await this.#until(isRepaired, 'copies are not made anew')
        await this.#replace(node, number)
      },
    }
    return shuffled(Object.entries(faults), dice).map(([what, strike]) => ({
      name: `${what} (${name})`,
      strike,
    }))
  }

  /** Every block is read and verified once. */
  async scrub(): Promise<void> {
    const began = Date.now()
    await this.json('scrub', 'start', '--rate', '500MiB')
    const isDone = async (): Promise<boolean> =>
      (await this.json<{ finished?: string }[]>('scrub', 'status')).every(
        ({ finished }) => finished !== undefined && Date.parse(finished) > began,
      )
    await this.#until(isDone, 'the scrubbers do not end', scrubMs)
  }

  /** The old number is forgotten; a new disk comes in its place. */
  async #replace(node: number, number: string): Promise<void> {
    await this.json('node', 'remove', number)
    rmSync(this.cluster.folderOf(node), { recursive: true })
    await this.cluster.startNode(node)
  }
}

function shuffled<T>(items: readonly T[], dice: Dice): T[] {
  const left = [...items]
  const order: T[] = []
  while (left.length > 0) order.push(...left.splice(dice.below(left.length), 1))
  return order
}

/** One bit in each of a few block files. */
function flipInBlocks(folder: string, dice: Dice): number {
  const blocks = path.join(folder, 'blocks')
  const files = readdirSync(blocks, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => path.join(entry.parentPath, entry.name))
  return shuffled(files, dice)
    .slice(0, 5)
    .filter(file => {
      try {
        return flipBits(file, dice)
      } catch (thrown) {
        // It was deleted meanwhile.
        if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false
        throw thrown
      }
    }).length
}

test('whatever breaks under a load, no call fails, nothing is wrong, and all is whole again', async t => {
  t.timeout(soakMs + 600_000)
  t.log(`seed ${String(seed)}`)
  const cluster = await SpreadCluster.start({
    mounts: ['a', 'b'],
    wait: 180,
    nodes: nodeCount,
    nodesApart: true,
    masterFlags: ['--repair-delay', '15'],
  })
  t.teardown(() => cluster.dispose())
  const soak = new Soak(t, cluster)
  const stop = path.join(cluster.dir, 'stop')
  const [a, b] = [cluster.on('a'), cluster.on('b')]
  const load = { over: false }
  const loads = [
    runPython('soak_load.py', [`${String(seed)}-a`, stop, a, a, b], soakMs + 550_000),
    runPython('soak_load.py', [`${String(seed)}-b`, stop, b, b, a], soakMs + 550_000),
  ]
  const loading = Promise.all(loads).finally(() => {
    load.over = true
  })
  // What is wrong is heard at the end, or when a fault finds the load ended.
  loading.catch(() => undefined)
  const end = Date.now() + soakMs
  let faults = 0
  while (Date.now() < end && !load.over)
    for (const { name, strike } of soak.round()) {
      if (Date.now() >= end) break
      t.log(name)
      await strike()
      await soak.settled()
      faults += 1
    }
  await fs.writeFile(stop, '')
  const said = (await loading).flat().map(line => JSON.parse(line) as { calls: number; written: number })
  t.log(`${String(faults)} faults; ${said.map(({ calls }) => String(calls)).join(' and ')} calls`)
  t.true(faults >= 5)
  t.true(said.every(({ calls }) => calls > 50))
  for (const name of ['a', 'b']) await cluster.cairnOn(name, 'sync', cluster.on(name))
  // What was damaged last may not have been looked at.
  await soak.scrub()
  await soak.settled()
  t.deepEqual(await cluster.fsck(), [])
  const sizes: [string, number, number][] = [
    ['master', cluster.pidOf('master'), 300],
    ...Array.from({ length: nodeCount }, (_, index): [string, number, number] => [
      `node ${String(index)}`,
      cluster.pidOf(`node-${String(index)}`),
      300,
    ]),
    ...['a', 'b'].map((name): [string, number, number] => [`mount ${name}`, cluster.mount(name).pid, 450]),
  ]
  for (const [name, pid, most] of sizes) {
    const resident = Math.round(residentBytes(pid) / MiB)
    t.true(resident > 0 && resident < most, `${name}: ${String(resident)} MiB resident`)
  }
})
