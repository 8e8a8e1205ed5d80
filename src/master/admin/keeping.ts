/** What is asked and told of repair, rebalancing and scrubbing. */
import { FsError } from '../../core/errors.ts'
import * as wire from '../../wire/gen/cairn/v1/admin.ts'
import { toNodeId, u63 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { NodeRegistry } from '../nodes/node-registry.ts'
import type { SafeMode } from '../nodes/safe-mode.ts'
import { repairClasses } from '../repair/plan-repair.ts'
import { timeFor } from '../repair/rate-meter.ts'
import type { Repair } from '../repair/repair.ts'

const whole = (value: number): bigint => BigInt(Math.max(0, Math.round(value)))
const permille = (share: number): number => Math.round(share * 1000)

export function repairStatusOf(turn: Turn, repair: Repair, safeMode: SafeMode): wire.RepairStatusReply {
  const { now } = turn
  const classes = repairClasses.map(name => ({ name, ...repair.queue.sizeOf(name) }))
  const perSecond = repair.bytesCopied.perSecond(now)
  const left = classes.filter(({ name }) => name !== 'lost' && name !== 'surplus')
  const bytes = left.reduce((sum, each) => sum + each.bytes, 0)
  return {
    safeMode: safeMode.reason,
    classes: classes.map(each => ({
      name: each.name,
      blocks: whole(each.blocks),
      bytes: whole(each.bytes),
    })),
    searching: repair.isScanning,
    copiesUnderWay: whole(repair.orders.size),
    bytesUnderWay: whole(repair.orders.bytes),
    bytesPerSecond: whole(perSecond),
    blocksPerSecond: whole(repair.blocksCopied.perSecond(now)),
    leftMs: whole(timeFor(bytes, perSecond)),
    copied: whole(repair.totals.copied),
    failed: whole(repair.totals.failed),
  }
}

export function rebalanced(repair: Repair, { action }: wire.RebalanceRequest): wire.RebalanceReply {
  const { rebalance } = repair
  if (action === wire.RebalanceRequest_Action.ACTION_START) rebalance.isOn = true
  if (action === wire.RebalanceRequest_Action.ACTION_STOP) rebalance.isOn = false
  const { nodes, bytesLeft } = rebalance.plan
  const shares = nodes.map(node => node.usedShare)
  return {
    running: rebalance.isOn,
    fullestPermille: permille(Math.max(0, ...shares)),
    emptiestPermille: permille(shares.length === 0 ? 0 : Math.min(...shares)),
    bytesLeft: whole(bytesLeft),
    bytesPerSecond: whole(rebalance.perSecond),
    leftMs: whole(timeFor(bytesLeft, rebalance.perSecond)),
  }
}

export function scrubbed(turn: Turn, nodes: NodeRegistry, request: wire.ScrubRequest): wire.ScrubReply {
  const bytesPerSecond = u63(request.bytesPerSecond, 'bytes_per_second')
  const asked = request.node === 0n ? undefined : nodes.find(toNodeId(request.node, 'node'))
  if (request.node !== 0n && asked?.connection === undefined)
    throw new FsError(
      'ENOENT',
      `Chunkserver ${request.node} is ${asked === undefined ? 'not known' : 'down'}`,
    )
  let count = 0n
  for (const { connection } of asked === undefined ? nodes.all() : [asked]) {
    if (connection === undefined) continue
    turn.out.node(connection, { $case: 'scrub', value: { bytesPerSecond } })
    count += 1n
  }
  return { nodes: count }
}
