/** The end of some runs: the master's disk is lost, and its database comes back from the chunkservers. */
import { logFolder, parseName } from '../../chunkserver/log/log-files.ts'
import { FsError } from '../../core/errors.ts'
import { second } from '../../core/units.ts'
import { adminConfirmRestore } from '../../wire/services.ts'
import { masterAddress } from '../cluster/master-machine.ts'
import type { World } from '../world/world.ts'
import type { Cluster } from './cluster.ts'
import type { Course } from './course.ts'

/** What is committed is looked at so often at least. */
const lookedMs = 1 * second
/** After all is repaired the log has followed within this. */
const followMs = 120 * second
/** The nodes have said all that they have. */
const confirmMs = 400 * second

/** False when something is wrong. Nothing is written meanwhile, so that nothing may be lost. */
export async function loseMaster(world: World, course: Course, cluster: Cluster): Promise<boolean> {
  const { master, nodes } = cluster
  if (!(await course.for(lookedMs))) return false
  const follows = (): boolean => master.log?.lagMs === 0 && master.log.covered > 0n
  if (!(await course.until(followMs, follows))) {
    world.fail(
      'the log follows',
      JSON.stringify(master.log, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
    )
    return false
  }
  const prng = world.aside('disaster')
  const followers = nodes.filter(node => node.logFiles().length > 0)
  master.crash(false)
  // What one of the nodes has may be gone, too.
  const victim = prng.pick(followers)
  const fate = prng.unit()
  if (fate < 0.33) victim.crash(false, true)
  else if (fate < 0.67)
    world.say('!', `a bit flips in ${victim.disk.rot(logFolder) ?? 'nothing'} of ${victim.name}`)
  await course.whole("the master's database comes back", async () => {
    const { records, remarks } = await master.restoreFrom(nodes.map(({ address }) => address))
    world.say('*', `restored with ${records} records; ${remarks.join('; ')}`)
    return undefined
  })
  if (!victim.up) victim.start()
  master.start()
  return confirm(world, course, cluster)
}

/** As an operator does it. */
async function confirm(world: World, course: Course, { master }: Cluster): Promise<boolean> {
  const env = world.start('operator', master.wall)
  const network = world.network.of(env)
  let confirmed = false
  const ask = async (): Promise<void> => {
    while (!confirmed && world.failure === undefined) {
      try {
        await network.call(masterAddress, adminConfirmRestore, { anyway: false }, { timeoutMs: 5 * second })
        confirmed = true
      } catch (error) {
        env.log.debug('not confirmed yet', { why: FsError.from(error).message })
        await env.delay(2 * second)
      }
    }
  }
  world.background(ask())
  if (await course.until(confirmMs, () => confirmed)) return true
  world.fail('a restore can be confirmed', `not within ${confirmMs} ms`)
  return false
}

/** What nodes keep of the log and should not; undefined when all is well. */
export async function wrongLogs({ master, nodes }: Cluster): Promise<string | undefined> {
  const log = master.log
  if (log === undefined) return 'the master is down'
  for (const node of nodes) {
    const follows = log.followers.some(({ address }) => address === node.address)
    const names = node.logFiles()
    const bases = names.filter(name => parseName(name)?.kind === 'base').length
    if (!follows && names.length > 0) return `${node.name} keeps ${names.join(', ')} and is no follower`
    if (follows && bases > 2) return `${node.name} keeps ${names.join(', ')}`
  }
  return log.followers.some(({ whole }) => whole) ? undefined : 'nobody has the log'
}
