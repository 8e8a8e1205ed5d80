import type { BackupStatus, RestoreStatus, StatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import { nsPerMs } from '../../core/units.ts'
import type { Turn } from '../engine/turn.ts'
import type { LeaseTable } from '../leases/lease-table.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import type { SafeMode } from '../nodes/safe-mode.ts'
import type { Space } from '../placement/space.ts'
import type { Repair } from '../repair/repair.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'
import type { Drains } from './drain.ts'

export interface StatusParts {
  readonly startedMs: number
  /** Version of this program. */
  readonly program: string
  readonly nodes: NodeRegistry
  readonly sessions: SessionRegistry
  readonly leases: LeaseTable
  readonly space: Space
  readonly repair: Repair
  readonly safeMode: SafeMode
  readonly drains: Drains
}

const ms = (duration: number): bigint => BigInt(Math.max(0, Math.round(duration)))

/** The cluster as an operator sees it. */
export function statusOf(turn: Turn, parts: StatusParts): StatusReply {
  const { store, now } = turn
  const { nodes, sessions, leases, space, repair } = parts
  const { cluster, copies, minCopies, blockBytes } = store.format.facts
  const { live, condemned } = store.blocks
  const counts = repair.counts
  const reasons = reasonsOf(turn, parts, minCopies, copies)
  reasons.degraded.push(...metadataReasons(turn, parts))
  return {
    health: reasons.down.length > 0 ? 'down' : reasons.degraded.length > 0 ? 'degraded' : 'ok',
    reasons: [...reasons.down, ...reasons.degraded],
    cluster,
    program: parts.program,
    uptimeMs: ms(now - parts.startedMs),
    nodes: [...nodes.all()].map(node => ({
      id: node.id,
      address: node.row.address,
      zone: node.zone,
      host: node.host,
      state: node.state,
      reason: node.reason,
      usedBytes: BigInt(node.row.usedBytes),
      totalBytes: BigInt(node.row.totalBytes),
      blocks: BigInt(node.blocks),
      silentMs: ms(now - node.heardMs),
      ...drainOf(node, parts.drains),
      scrub: node.scrub,
    })),
    blocks: {
      total: live.count,
      underReplicated: BigInt(counts.underReplicated),
      missing: BigInt(counts.missing),
      condemned: condemned.count,
      bytes: live.bytes,
    },
    mounts: [...sessions.all()].map(session => ({
      session: session.id,
      host: session.row.host,
      mountpoint: session.row.mountpoint,
      pid: session.row.pid,
      program: session.row.program,
      state: session.connection === undefined ? 'silent' : 'connected',
      silentMs: ms(now - session.heardMs),
      dirtyBytes: session.dirtyBytes,
      leases: BigInt(leases.countOf(session.id)),
      calls: BigInt(session.calls),
    })),
    inodes: store.inodes.count,
    totalBytes: BigInt(space.totalBytes),
    availableBytes: BigInt(space.availableBytes),
    copies,
    minCopies: Math.min(minCopies, copies),
    blockBytes,
    rssBytes: BigInt(turn.rssBytes),
    backups: backupStatus(turn),
    restore: restoreStatus(turn),
    safeMode: parts.safeMode.reason,
    notes: notesOf(parts, copies),
  }
}

/** A copy of the database this many periods old is too old. */
const patience = 2.5

function backupStatus({ backups, time }: Turn): BackupStatus | undefined {
  if (backups === undefined) return undefined
  const { everyMs, taken, bytes, count, allBytes, failing, problems } = backups
  return {
    everyMs: ms(everyMs),
    taken,
    ageMs: taken === 0n || time < taken ? 0n : (time - taken) / nsPerMs,
    bytes: BigInt(bytes),
    count,
    allBytes: BigInt(allBytes),
    failing,
    problems,
  }
}

function restoreStatus({ store }: Turn): RestoreStatus | undefined {
  const { last, pending, unverified } = store.restores
  if (last === undefined) return undefined
  const { taken, restored, byHand } = last
  return { pending: pending !== undefined, taken, restored, unverified: unverified.size, byHand }
}

/** What is the matter with the database itself and its copies. */
function metadataReasons(turn: Turn, { startedMs }: StatusParts): string[] {
  const reasons: string[] = []
  const { pending, unverified } = turn.store.restores
  if (pending !== undefined)
    reasons.push(
      pending.byHand
        ? `the metadata is older than what chunkservers were told (about ${isoTime(pending.taken)}): nothing is removed until cairn restore confirm`
        : `the metadata was restored from a backup of ${isoTime(pending.taken)}: nothing is removed until cairn restore confirm`,
    )
  if (unverified.size > 0)
    reasons.push(`${count(unverified.size, 'chunkserver')} not compared with the restored metadata yet`)
  const { backups } = turn
  if (backups === undefined || backups.everyMs === 0) return reasons
  if (backups.failing !== '') reasons.push(`the metadata cannot be backed up: ${backups.failing}`)
  const limitMs = backups.everyMs * patience
  const ageMs = Number((turn.time - backups.taken) / nsPerMs)
  if (turn.now - startedMs > limitMs && ageMs > limitMs)
    reasons.push(
      backups.taken === 0n
        ? 'there is no copy of the metadata'
        : `the newest copy of the metadata is of ${isoTime(backups.taken)}`,
    )
  if (backups.problems > 0) reasons.push('the metadata has problems: see cairn fsck')
  return reasons
}

const isoTime = (ns: bigint): string => new Date(Number(ns / nsPerMs)).toISOString()

function drainOf(node: Node, drains: Drains) {
  if (!node.row.draining)
    return { draining: false, blocksLeft: 0n, bytesLeft: 0n, bytesPerSecond: 0n, leftMs: 0n }
  const { blocks, bytes, bytesPerSecond, leftMs } = drains.progressOf(node)
  return {
    draining: true,
    blocksLeft: BigInt(blocks),
    bytesLeft: BigInt(bytes),
    bytesPerSecond: ms(bytesPerSecond),
    leftMs: ms(leftMs),
  }
}

function notesOf({ nodes }: StatusParts, copies: number): string[] {
  const staying = [...nodes.all()].filter(node => !node.row.draining)
  const hosts = new Set(staying.map(node => node.host)).size
  if (staying.length < copies || hosts >= copies) return []
  return [
    `copies of a block share a machine: ${count(copies, 'copy', 'copies')} wanted, ${count(hosts, 'machine')}`,
  ]
}

function reasonsOf(
  turn: Turn,
  { nodes, repair, space, safeMode }: StatusParts,
  minCopies: number,
  copies: number,
): { readonly down: string[]; readonly degraded: string[] } {
  const down: string[] = []
  const degraded: string[] = []
  const all = [...nodes.all()]
  const up = all.filter(node => node.isUp)
  const { underReplicated, missing } = repair.counts
  if (up.length < Math.min(minCopies, copies))
    down.push(`${count(up.length, 'chunkserver')} up: nothing can be written`)
  if (missing > 0) down.push(`${count(missing, 'block')} without a reachable copy`)
  for (const node of all) {
    if (!node.isUp)
      degraded.push(`chunkserver ${node.id} (${node.row.address}) ${downBecause(node, nodes, turn.now)}`)
    else if (node.failingSinceMs !== undefined)
      degraded.push(`chunkserver ${node.id} is out of service, its disk fails: ${node.reason}`)
    else if (node.refusing) degraded.push(`chunkserver ${node.id} takes no new blocks: ${node.reason}`)
    if (node.removalStopped !== '')
      degraded.push(`chunkserver ${node.id} cannot delete: ${node.removalStopped}`)
  }
  if (safeMode.isOn) degraded.push(`safe mode: ${safeMode.reason}`)
  if (up.length > 0 && space.isShort)
    degraded.push('space runs out: what was removed is deleted at once, without its grace time')
  if (underReplicated > 0) degraded.push(`${count(underReplicated, 'block')} with too few copies`)
  if (up.length < copies && up.length === all.length)
    degraded.push(`${count(copies, 'copy', 'copies')} wanted, only ${count(up.length, 'chunkserver')} known`)
  return { down, degraded }
}

function downBecause(node: Node, nodes: NodeRegistry, now: number): string {
  const what = node.leftInOrder ? 'is down, stopped in order' : 'is down'
  const left = (nodes.givenUpAtMs(node) ?? now) - now
  return left <= 0 ? what : `${what}: its copies are made anew in ${Math.ceil(left / 1000)} s`
}

const count = (number: number, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 ? one : many}`
