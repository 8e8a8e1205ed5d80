import type { BackupStatus, RestoreStatus, StatusReply } from '../../wire/gen/cairn/v1/admin.ts'
import { nsPerMs } from '../../core/units.ts'
import type { Turn } from '../engine/turn.ts'
import type { LeaseTable } from '../leases/lease-table.ts'
import type { NodeRegistry } from '../nodes/node-registry.ts'
import type { Space } from '../placement/space.ts'
import type { Repair } from '../repair/repair.ts'
import type { SessionRegistry } from '../sessions/session-registry.ts'

export interface StatusParts {
  readonly startedMs: number
  /** Version of this program. */
  readonly program: string
  readonly nodes: NodeRegistry
  readonly sessions: SessionRegistry
  readonly leases: LeaseTable
  readonly space: Space
  readonly repair: Repair
}

const ms = (duration: number): bigint => BigInt(Math.max(0, Math.round(duration)))

/** The cluster as an operator sees it. */
export function statusOf(turn: Turn, parts: StatusParts): StatusReply {
  const { store, now } = turn
  const { nodes, sessions, leases, space, repair } = parts
  const { cluster, copies, minCopies, blockBytes } = store.format.facts
  const { live, condemned } = store.blocks
  const counts = repair.counts
  const reasons = reasonsOf(parts, minCopies, copies)
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

function reasonsOf(
  { nodes, repair, space }: StatusParts,
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
    if (!node.isUp) degraded.push(`chunkserver ${node.id} (${node.row.address}) is down`)
    else if (node.refusing) degraded.push(`chunkserver ${node.id} takes no new blocks: ${node.reason}`)
    if (node.removalStopped !== '')
      degraded.push(`chunkserver ${node.id} cannot delete: ${node.removalStopped}`)
  }
  if (up.length > 0 && space.isShort)
    degraded.push('space runs out: what was removed is deleted at once, without its grace time')
  if (underReplicated > 0) degraded.push(`${count(underReplicated, 'block')} with too few copies`)
  if (up.length < copies && up.length === all.length)
    degraded.push(`${count(copies, 'copy', 'copies')} wanted, only ${count(up.length, 'chunkserver')} known`)
  return { down, degraded }
}

const count = (number: number, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 ? one : many}`
