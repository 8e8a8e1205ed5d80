import { blockIdOf, createChecksums, type Checksums } from '../core/checksum.ts'
import { silentLog } from '../core/env.ts'
import { FsError } from '../core/errors.ts'
import { blockIdFromBytes } from '../core/ids.ts'
import type { Network } from '../core/network.ts'
import { second } from '../core/units.ts'
import { BlockLink } from '../client/blocks/block-link.ts'
import { realEnv } from '../env/real-env.ts'
import type { ListedBlock } from '../wire/gen/cairn/v1/admin.ts'
import type { Location } from '../wire/gen/cairn/v1/common.ts'
import { adminListBlocks, adminStatus, blocksOpen } from '../wire/services.ts'
import { toDedupDomain } from '../wire/validate.ts'
import { ask } from './admin-client.ts'

export interface DataReport {
  readonly problems: readonly string[]
  readonly copies: bigint
  readonly bytes: bigint
  /** Copies on nodes that are down, of blocks that have all their copies elsewhere: not read, and not missed. */
  readonly unread: readonly { readonly node: bigint; readonly address: string; readonly copies: number }[]
}

const pageBlocks = 500
/** Copies read at once over all nodes: enough to keep their disks busy, at most this many blocks in memory. */
const concurrent = 6
const stallMs = 20 * second

/**
 * Reads every copy of every referenced block from the node that should hold it, and verifies all of it. Copies on nodes
 * that the master knows to be down are no use to ask for: a block is a problem if it lacks copies without them.
 */
export async function checkBlocks(network: Network, master: string): Promise<DataReport> {
  const env = realEnv(silentLog)
  const checksums = await createChecksums()
  const { cluster, nodes } = await ask(network, master, adminStatus, {})
  const down = new Set(nodes.filter(({ state }) => state === 'down').map(({ id }) => id))
  const unread = new Map<bigint, { node: bigint; address: string; copies: number }>()
  const links = new Map<string, BlockLink>()
  const linkTo = (address: string): BlockLink => {
    const known = links.get(address)
    if (known !== undefined) return known
    const identity = { cluster, session: 0n, epoch: 0n }
    const link = new BlockLink(env, network.dial(address, blocksOpen), identity, () => links.delete(address))
    links.set(address, link)
    return link
  }
  const problems: string[] = []
  let copies = 0n
  let bytes = 0n
  try {
    for (let afterKey = 0n; ; ) {
      const page = await ask(network, master, adminListBlocks, { afterKey, limit: pageBlocks })
      if (page.blocks.length === 0) return { problems, copies, bytes, unread: [...unread.values()] }
      const work: { block: ListedBlock; location: Location }[] = []
      for (const block of page.blocks) {
        if (block.locations.length === 0) problems.push(`block ${name(block)} is on no node`)
        const there = block.locations.filter(({ node }) => !down.has(node))
        const gone = block.locations.filter(({ node }) => down.has(node))
        for (const location of there) work.push({ block, location })
        if (gone.length > 0 && there.length < block.wanted)
          problems.push(
            `block ${name(block)} has ${String(there.length)} of ${String(block.wanted)} copies: ` +
              `${gone.map(where).join(', ')} ${gone.length === 1 ? 'is' : 'are'} down`,
          )
        else
          for (const { node, address } of gone) {
            const sum = unread.get(node) ?? { node, address, copies: 0 }
            sum.copies++
            unread.set(node, sum)
          }
      }
      await eachConcurrently(work, async ({ block, location }) => {
        const problem = await checkCopy(linkTo(location.address), block, checksums)
        copies++
        bytes += BigInt(block.length)
        if (problem !== undefined)
          problems.push(`block ${name(block)} on node ${where(location)}: ${problem}`)
      })
      afterKey = page.blocks.at(-1)?.key ?? afterKey
    }
  } finally {
    for (const link of links.values()) link.close()
  }
}

/** What is wrong with one copy, undefined if nothing is. */
async function checkCopy(
  link: BlockLink,
  block: ListedBlock,
  checksums: Checksums,
): Promise<string | undefined> {
  const parts: Uint8Array[] = []
  const sums: Uint8Array[] = []
  let at = 0
  try {
    await link.get(
      { id: block.id, offset: 0, length: block.length, local: false, token: block.token },
      data => {
        if (data.offset !== at)
          throw new FsError('EPROTO', `data for offset ${String(data.offset)}, expected ${String(at)}`)
        at += data.data.length
        parts.push(Uint8Array.from(data.data))
        sums.push(Uint8Array.from(data.checksums))
      },
      stallMs,
    )
  } catch (error) {
    return FsError.from(error).message
  }
  return verify(block, Buffer.concat(parts), Buffer.concat(sums), checksums)
}

function verify(
  { id: bytes, length, dedupDomain }: ListedBlock,
  data: Buffer,
  sums: Buffer,
  checksums: Checksums,
): string | undefined {
  const id = blockIdFromBytes(bytes)
  if (data.length !== length) return `has ${String(data.length)} bytes, should have ${String(length)}`
  const piece = checksums.mismatch(id, data, sums)
  if (piece >= 0) return `piece ${String(piece)} does not match its checksum`
  if (blockIdOf(data, toDedupDomain(dedupDomain, 'block.dedup_domain')) !== id)
    return 'its content is not that of its id'
  return undefined
}

async function eachConcurrently<T>(items: readonly T[], action: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values()
  const worker = async () => {
    for (const item of rest) await action(item)
  }
  await Promise.all(Array.from({ length: concurrent }, worker))
}

const name = (block: ListedBlock): string => Buffer.from(block.id).toString('hex').slice(0, 16)
const where = (location: Location): string => `${location.node.toString()} (${location.address})`
