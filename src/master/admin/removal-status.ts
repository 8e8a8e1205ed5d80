/** How far the removal of what nobody refers to any more is. */
import { hour, minute, nsPerMs } from '../../core/units.ts'
import type { RemovalAge, RemovalClass, RemovalStatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import type { Turn } from '../engine/turn.ts'
import { ns } from '../nodes/node-registry.ts'
import type { Removal } from '../removal/removal.ts'
import { blockState } from '../store/blocks.ts'
import type { StatusParts } from './status-parts.ts'

/** Rows that are counted with their bytes: what is more is said to be more. */
const countedMax = 50_000
const ages = [10 * minute, 1 * hour, 2 * hour]

export interface RemovalParts extends StatusParts {
  readonly removal: Removal
  /** Why nothing may be removed now; empty when it may. */
  readonly paused: () => string
}

export function removalStatusOf(turn: Turn, parts: RemovalParts): RemovalStatusReply {
  const { store, settings } = turn
  const { nodes, removal, space } = parts
  const { condemned } = store.blocks
  const strays = store.strays.byNode(countedMax)
  const orders = removal.ordersByNode()
  const of = (id: bigint) => strays.nodes.find(each => each.node === id)
  return {
    paused: parts.paused(),
    short: space.isShort,
    graceMs: BigInt(space.isShort ? settings.condemnedShortMs : settings.condemnedMs),
    condemned: {
      count: condemned.count,
      bytes: condemned.bytes,
      oldestMs: ageMs(turn, store.blocks.oldestLeaving(blockState.condemned)),
      more: false,
    },
    deleting: deletingOf(turn),
    strays: {
      count: sum(strays.nodes.map(({ count }) => count)),
      bytes: sum(strays.nodes.map(({ bytes }) => bytes)),
      oldestMs: strays.nodes.reduce((most, { since }) => larger(most, ageMs(turn, since)), 0n),
      more: strays.more,
    },
    ages: agesOf(turn),
    orphans: store.orphans.count(),
    takingApart: store.doomed.first() !== undefined,
    ordersUnderWay: sumOf(orders.values()),
    nodes: [...nodes.all()].map(node => ({
      node: node.id,
      orders: orders.get(node) ?? 0,
      stopped: node.removalStopped,
      strays: of(node.id)?.count ?? 0n,
      strayBytes: of(node.id)?.bytes ?? 0n,
    })),
  }
}

function deletingOf(turn: Turn): RemovalClass {
  const { blocks } = turn.store
  const oldestMs = ageMs(turn, blocks.oldestLeaving(blockState.deleting))
  return { ...blocks.deleting(countedMax), oldestMs }
}

/** Condemned blocks by age: each bound, and what is older than all. */
function agesOf({ store, time }: Turn): RemovalAge[] {
  const youngerThan = (ms: number): bigint => store.blocks.countCondemned(time - ns(ms))
  let before = 0n
  const rows = ages.map(upTo => {
    const younger = youngerThan(upTo)
    const count = younger - before
    before = younger
    return { upToMs: BigInt(upTo), count }
  })
  return [...rows, { upToMs: 0n, count: store.blocks.condemned.count - before }]
}

const ageMs = ({ time }: Turn, since: bigint | undefined): bigint =>
  since === undefined || since > time ? 0n : (time - since) / nsPerMs

const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b)
const sum = (values: readonly bigint[]): bigint => values.reduce((total, value) => total + value, 0n)
const sumOf = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0)
