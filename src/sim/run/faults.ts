import { KiB, second } from '../../core/units.ts'
import type { MountMachine } from '../cluster/mount-machine.ts'
import type { NodeMachine } from '../cluster/node-machine.ts'
import type { HostEnv } from '../world/host.ts'
import type { Prng } from '../world/prng.ts'
import { cutBetween } from '../world/sim-network.ts'
import type { World } from '../world/world.ts'
import { type Cluster, nodeCapacityBytes } from './cluster.ts'
import type { Focus, Plan } from './plan.ts'

/** Breaks machines, disks and ways, each for a while; the seed decides what and when. */
export class Faults {
  readonly #world: World
  readonly #cluster: Cluster
  readonly #plan: Plan
  readonly #prng: Prng
  readonly #crashMount: (index: number) => void
  readonly #startMount: (index: number) => void
  /** For faults that came later: seeds keep the others. */
  readonly #aside: Prng
  #on = false
  #nodeLost = false

  constructor(
    world: World,
    cluster: Cluster,
    plan: Plan,
    mounts: { readonly crash: (index: number) => void; readonly start: (index: number) => void },
  ) {
    this.#world = world
    this.#cluster = cluster
    this.#plan = plan
    this.#prng = world.fork()
    this.#aside = world.aside('faults')
    this.#crashMount = mounts.crash
    this.#startMount = mounts.start
    const { master, nodes } = cluster
    master.crashesNow = () => this.#crashesNow(0.005, master.name, () => this.#startMaster())
    for (const node of nodes)
      node.crashesNow = () => this.#crashesNow(0.002, node.name, () => this.#startNode(node))
  }

  begin(): void {
    this.#on = true
    this.#next()
  }

  /** Everything is repaired and started. */
  end(): void {
    const { network, points } = this.#world
    this.#on = false
    points.disarm()
    network.heal()
    for (const { name, env } of this.#machines) if (env !== undefined) this.#goOn(name, env)
    Object.assign(network.weather, { cut: 0, slow: 0, maxDelay: 2 })
    const { master, nodes, mounts } = this.#cluster
    master.slowness = 1
    master.crowded = 0
    master.full = false
    if (!master.up) master.start()
    for (const node of nodes) {
      node.disk.capacityBytes = nodeCapacityBytes
      this.#mend(node)
      if (!node.up) node.start()
    }
    for (const [index, mount] of mounts.entries()) if (!mount.up) this.#startMount(index)
  }

  #next(): void {
    this.#world.timeline.after(this.#prng.between(50, this.#plan.faultEveryMs), () => {
      if (!this.#on) return
      this.#strike()
      this.#next()
    })
  }

  /** Undoes a fault after a while, unless all was repaired before. */
  #later(least: number, most: number, undo: () => void): void {
    this.#world.timeline.after(this.#prng.between(least, most), () => {
      if (this.#on) undo()
    })
  }

  #strike(): void {
    const prng = this.#prng
    const { nodes, mounts } = this.#cluster
    const { focus } = this.#plan
    if (focus !== undefined && this.#aside.chance(0.8)) {
      this.#strikeOnly(focus)
      return
    }
    const pick = <T>(items: readonly T[]) => prng.pick(items)
    const fault = this.#plan.shared
      ? pick([
          () => this.#master(),
          () => this.#node(prng.below(nodes.length)),
          () => this.#mount(prng.below(mounts.length)),
          () => this.#mount(prng.below(mounts.length)),
          () => this.#pause(prng.pick(this.#machines)),
          () => this.#pause(prng.pick(mounts)),
          () => this.#pause(prng.pick(mounts)),
          () => this.#partition(),
          () => this.#isolate(prng.pick(mounts).name),
          () => this.#isolate(prng.pick(mounts).name),
          () => this.#storm(),
          () => this.#slowMaster(),
        ])
      : pick([
          () => this.#master(),
          () => this.#master(),
          () => this.#node(prng.below(nodes.length)),
          () => this.#node(prng.below(nodes.length)),
          () => this.#node(prng.below(nodes.length)),
          () => this.#allNodes(),
          () => this.#mount(prng.below(mounts.length)),
          () => this.#partition(),
          () => this.#partition(),
          () => this.#isolate(prng.pick(this.#cluster.machineNames)),
          () => this.#storm(),
          () => this.#fill(prng.below(nodes.length)),
          () => this.#slowMaster(),
          () => this.#powerCut(),
          () => this.#crashPoint(),
          () => this.#crashPoint(),
          () => this.#crashPoint(),
          () => this.#fail(prng.pick(nodes)),
          () => this.#rot(),
          () => this.#rot(),
          () => this.#putBack(),
          () => this.#setClock(),
        ])
    fault()
  }

  #strikeOnly(focus: Focus): void {
    const { mounts } = this.#cluster
    const strikes: Record<Focus, () => void> = {
      crowded: () => this.#crowdMaster(),
      rotten: () => this.#rot(),
      lonely: () => this.#leaveOne(),
      away: () => this.#sendAway(this.#aside.pick(mounts)),
    }
    strikes[focus]()
  }

  #master(): void {
    const { master } = this.#cluster
    if (!master.up) return
    this.#say('crash master')
    master.crash(this.#prng.chance(0.3))
    const most = this.#prng.chance(0.2) ? 20 * second : 3 * second
    this.#later(20, most, () => this.#startMaster())
  }

  #startMaster(): void {
    const { master } = this.#cluster
    if (master.up) return
    this.#say('start master')
    master.start()
  }

  #node(index: number): void {
    const node = this.#cluster.nodes[index]
    if (node?.up !== true) return
    if (this.#mayLose(node) && this.#aside.chance(0.15)) {
      this.#loseDisk(node)
      return
    }
    const power = this.#prng.chance(0.5)
    this.#say(`crash ${node.name}${power ? ' (power)' : ''}`)
    node.crash(this.#prng.chance(0.3), power)
    const most = this.#prng.chance(0.3) ? 25 * second : 3 * second
    this.#later(20, most, () => this.#startNode(node))
  }

  /** Once in a run, and not besides a disk that rots: the other copies are needed. */
  #mayLose(node: NodeMachine): boolean {
    const frail = this.#frail
    return !this.#plan.shared && !this.#nodeLost && (frail === undefined || frail === node)
  }

  /** It comes back with an empty disk; or never, if the others are enough. */
  #loseDisk(node: NodeMachine): void {
    this.#nodeLost = true
    const { nodes } = this.#cluster
    const { copies, disaster } = this.#plan
    const forGood = !disaster && nodes.length > copies && this.#aside.chance(0.5)
    this.#say(`${node.name} is lost ${forGood ? 'for good' : 'with its disk'}`)
    node.loseDisk(this.#aside.chance(0.3), forGood)
    const most = this.#aside.chance(0.5) ? 25 * second : 3 * second
    this.#world.timeline.after(this.#aside.between(20, most), () => {
      if (this.#on && !forGood) this.#startNode(node)
    })
  }

  #startNode(node: NodeMachine): void {
    if (node.up || node.gone) return
    this.#say(`start ${node.name}`)
    node.start()
  }

  /** Machines also stop between a commit and its answer, where retries must not do things twice. */
  #crashesNow(probability: number, name: string, restart: () => void): boolean {
    if (!this.#on || !this.#prng.chance(probability)) return false
    this.#say(`${name} stops after a commit`)
    this.#later(20, 3 * second, restart)
    return true
  }

  #allNodes(): void {
    for (let index = 0; index < this.#cluster.nodes.length; index++) this.#node(index)
  }

  #mount(index: number): void {
    const mount = this.#cluster.mounts[index]
    if (mount?.up !== true) return
    this.#say(`crash ${mount.name}`)
    this.#crashMount(index)
    this.#later(20, 5 * second, () => {
      if (!mount.up) this.#startMount(index)
    })
  }

  #powerCut(): void {
    this.#say('power cut')
    this.#master()
    this.#allNodes()
    for (let index = 0; index < this.#cluster.mounts.length; index++) this.#mount(index)
  }

  #partition(): void {
    const prng = this.#prng
    const names = this.#cluster.machineNames
    const a = prng.pick(names)
    const b = prng.pick(names.filter(name => name !== a))
    const ways = prng.pick(['both', 'both', 'there', 'back'] as const)
    this.#say(`cut ${a} ${b} ${ways}`)
    cutBetween(this.#world.network, a, b, ways)
    this.#later(50, prng.chance(0.3) ? 30 * second : 5 * second, () => this.#heal(a, b))
  }

  /** One machine is cut off from all others. */
  #isolate(alone: string): void {
    const prng = this.#prng
    const names = this.#cluster.machineNames
    const others = names.filter(name => name !== alone)
    this.#say(`cut off ${alone}`)
    for (const other of others) cutBetween(this.#world.network, alone, other, 'both')
    this.#later(50, prng.chance(0.4) ? 30 * second : 4 * second, () => {
      for (const other of others) this.#heal(alone, other)
    })
  }

  /** A mount stops, or hears nothing, until its session has died. */
  #sendAway(mount: MountMachine): void {
    const ms = this.#aside.between(2, 14) * second
    if (this.#aside.chance(0.5)) {
      const { env } = mount
      if (env === undefined || env.stopped) return
      this.#say(`stop ${mount.name}`)
      env.stop()
      this.#world.timeline.after(ms, () => {
        if (this.#on) this.#goOn(mount.name, env)
      })
      return
    }
    const others = this.#cluster.machineNames.filter(name => name !== mount.name)
    const cut = this.#aside.chance(0.5) ? others : [this.#cluster.master.name]
    this.#say(`cut off ${mount.name} from ${cut.join()}`)
    for (const other of cut) cutBetween(this.#world.network, mount.name, other, 'both')
    this.#world.timeline.after(ms, () => {
      if (this.#on) for (const other of cut) this.#heal(mount.name, other)
    })
  }

  /** Of the chunkservers, nobody reaches but one; at last its disk is gone, once in a run. */
  #leaveOne(): void {
    const { machineNames, nodes } = this.#cluster
    const one = this.#frail ?? this.#aside.pick(nodes)
    const others = nodes.filter(node => node !== one).map(({ name }) => name)
    const ways = machineNames.flatMap(a => others.filter(b => b !== a).map(b => [a, b] as const))
    this.#say(`only ${one.name} is left`)
    for (const [a, b] of ways) cutBetween(this.#world.network, a, b, 'both')
    this.#world.timeline.after(this.#aside.between(500, 4 * second), () => {
      if (!this.#on) return
      if (one.up && this.#mayLose(one) && this.#aside.chance(0.5)) this.#loseDisk(one)
      for (const [a, b] of ways) this.#heal(a, b)
    })
  }

  get #machines() {
    const { master, nodes, mounts } = this.#cluster
    return [master, ...nodes, ...mounts]
  }

  /** A machine stops and goes on, perhaps after all that it held was given to others. */
  #pause(machine: { readonly name: string; readonly env: HostEnv | undefined }): void {
    const { env } = machine
    if (env === undefined || env.stopped) return
    this.#say(`stop ${machine.name}`)
    env.stop()
    this.#later(20, this.#prng.chance(0.5) ? 12 * second : 3 * second, () => this.#goOn(machine.name, env))
  }

  #goOn(name: string, env: HostEnv): void {
    if (!env.stopped) return
    this.#say(`${name} goes on`)
    env.goOn()
  }

  #heal(a: string, b: string): void {
    this.#say(`heal ${a} ${b}`)
    this.#world.network.setCut(a, b, false)
    this.#world.network.setCut(b, a, false)
  }

  /** Links break and stall. */
  #storm(): void {
    const { weather } = this.#world.network
    this.#say('storm')
    Object.assign(weather, {
      cut: this.#prng.between(0, 0.02),
      slow: this.#prng.between(0, 0.05),
      maxDelay: 10,
    })
    this.#later(500, 8 * second, () => {
      this.#say('storm ends')
      Object.assign(weather, { cut: 0, slow: 0, maxDelay: 2 })
    })
  }

  #fill(index: number): void {
    const node = this.#cluster.nodes[index]
    if (node === undefined) return
    if (this.#aside.chance(0.7)) this.#crowdMaster()
    this.#say(`fill ${node.name}`)
    node.disk.capacityBytes = node.disk.usedBytes + this.#prng.below(256 * KiB)
    this.#later(500, 15 * second, () => {
      node.disk.capacityBytes = nodeCapacityBytes
    })
  }

  /** It keeps what is left in reserve; or some commits find no room: the step is undone, and the engine begins anew. */
  #crowdMaster(): void {
    const { master } = this.#cluster
    const how = this.#aside.pick(['crowded', 'full', 'both'] as const)
    if (how !== 'crowded') master.full = true
    if (how !== 'full') master.crowded = this.#aside.pick([0.01, 0.1, 0.5])
    this.#say(`the disk of ${master.name} is ${how === 'full' ? 'nearly full' : 'full now and then'}`)
    this.#world.timeline.after(
      this.#aside.between(500, (this.#plan.focus === 'crowded' ? 2 : 10) * second),
      () => {
        if (!this.#on) return
        this.#say(`the disk of ${master.name} has room`)
        master.crowded = 0
        master.full = false
      },
    )
  }

  /** Its disk fails now and then, fails always, or takes no writes any more. */
  #fail(node: NodeMachine): void {
    const { disk } = node
    if (!node.up || disk.failing > 0 || disk.readOnly) return
    disk.readOnly = this.#prng.chance(0.3)
    disk.failing = this.#prng.pick([0.05, 0.3, 1])
    this.#say(`${node.name}'s disk ${disk.readOnly ? 'turns read-only' : `fails (${disk.failing})`}`)
    this.#later(200, this.#prng.chance(0.3) ? 25 * second : 5 * second, () => this.#mend(node))
  }

  #mend({ disk, name }: NodeMachine): void {
    if (disk.failing === 0 && !disk.readOnly) return
    this.#say(`${name}'s disk works again`)
    disk.failing = 0
    disk.readOnly = false
  }

  /** One that lost its disk has harmed what it may: its new one can be the second of two copies. */
  get #frail(): NodeMachine | undefined {
    const { frail } = this.#plan
    return frail === undefined
      ? undefined
      : this.#cluster.nodes.find(({ name, lost }) => name === `node${frail + 1}` && !lost)
  }

  /** Only one disk rots: with two good copies of everything nothing is lost by it. */
  #rot(): void {
    const node = this.#frail
    for (let count = 1 + this.#prng.below(3); count > 0 && node !== undefined; count--)
      this.#say(`${node.name}: a bit flips in ${node.rot() ?? 'nothing'}`)
  }

  /** The same disk comes back as it was some time ago. */
  #putBack(): void {
    const node = this.#frail
    if (node?.up !== true) return
    this.#say(`crash ${node.name} (power)`)
    node.crash(this.#prng.chance(0.3), true)
    if (node.keepOrPutBack()) this.#say(`${node.name}: its disk is put back to an older state`)
    this.#later(20, 5 * second, () => this.#startNode(node))
  }

  /** Somebody sets the clock of a machine. */
  #setClock(): void {
    const prng = this.#prng
    const { master, nodes, mounts } = this.#cluster
    const { name, wall } = prng.chance(0.5) ? master : prng.pick([...nodes, ...mounts])
    const seconds = Math.round(prng.between(-1, 1) * prng.pick([2, 50, 4000]))
    this.#say(`the clock of ${name} is set by ${seconds} s`)
    wall.aheadNs += BigInt(seconds) * 1_000_000_000n
  }

  /** Whatever machine comes to wait for a thing next stops there. */
  #crashPoint(): void {
    const { points, timeline } = this.#world
    if (points.names.length === 0) return
    const point = this.#prng.pick(points.names)
    const skip = this.#prng.below(3)
    points.arm(point, skip, machine => {
      // What is done already of this instant still happens: the machine stops where it waits.
      timeline.after(0, () => {
        if (this.#on) this.#stopAt(machine, point)
      })
    })
  }

  #stopAt(machine: string, point: string): void {
    const { master, nodes, mounts } = this.#cluster
    this.#say(`${machine} stops at ${point}`)
    const node = nodes.find(({ name }) => name === machine)
    const mount = mounts.findIndex(({ name }) => name === machine)
    if (machine === master.name) this.#master()
    else if (node !== undefined) this.#node(nodes.indexOf(node))
    else if (mount !== -1) this.#mount(mount)
  }

  #slowMaster(): void {
    if (this.#plan.shared && this.#aside.chance(0.4)) this.#crowdMaster()
    this.#say('slow master')
    this.#cluster.master.slowness = this.#prng.between(10, 200)
    this.#later(100, 4 * second, () => {
      this.#cluster.master.slowness = 1
    })
  }

  #say(what: string): void {
    this.#world.say('*', what)
  }
}
