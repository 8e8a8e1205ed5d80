import type {
  BackupStatus,
  LogStatus,
  MountStatus,
  RestoreStatus,
  StatusReply,
} from '../../wire/gen/cairn/v1/admin.ts'
import { nsPerMs } from '../../core/units.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node } from '../nodes/node-registry.ts'
import type { Drains } from './drain.ts'
import { findingsOf, type Severity } from './findings.ts'
import type { StatusParts } from './status-parts.ts'

const ms = (duration: number): bigint => BigInt(Math.max(0, Math.round(duration)))

/** The cluster as an operator sees it. */
export function statusOf(turn: Turn, parts: StatusParts): StatusReply {
  const { store, now } = turn
  const { nodes, space, repair } = parts
  const { cluster, copies, minCopies, blockBytes } = store.format.facts
  const { live, condemned } = store.blocks
  const counts = repair.counts
  const findings = findingsOf(turn, parts)
  const texts = (wanted: Severity): string[] =>
    findings.filter(({ severity }) => severity === wanted).map(({ text }) => text)
  const [down, degraded] = [texts('down'), texts('degraded')]
  return {
    health: down.length > 0 ? 'down' : degraded.length > 0 ? 'degraded' : 'ok',
    reasons: [...down, ...degraded],
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
      label: store.nodeLabels.of(node.id),
      load: node.load,
      removalStopped: node.removalStopped,
      compared: node.compared,
      receivedBytes: node.flow.inBytes,
      sentBytes: node.flow.outBytes,
      receivedPerSecond: BigInt(node.flow.inPerSecond),
      sentPerSecond: BigInt(node.flow.outPerSecond),
    })),
    blocks: {
      total: live.count,
      underReplicated: BigInt(counts.underReplicated),
      missing: BigInt(counts.missing),
      condemned: condemned.count,
      bytes: live.bytes,
    },
    mounts: mountsOf(turn, parts),
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
    notes: texts('note'),
    findings,
    log: logStatus(turn),
  }
}

export function mountsOf({ now, store }: Turn, { sessions, leases, locks }: StatusParts): MountStatus[] {
  const counts = locks.countBySession()
  return [...sessions.all()].map(session => ({
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
    started: session.row.started,
    zone: session.row.zone,
    readOnly: session.row.readOnly || store.exports.find(session.row.export)?.readOnly === true,
    export: session.row.export,
    locks: BigInt(counts.get(session.id)?.held ?? 0),
    fetchedBytes: session.flow.outBytes,
    storedBytes: session.flow.inBytes,
    fetchedPerSecond: BigInt(session.flow.outPerSecond),
    storedPerSecond: BigInt(session.flow.inPerSecond),
    waiting: BigInt(session.parked.size + (counts.get(session.id)?.waiting ?? 0)),
  }))
}

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

function logStatus({ log }: Turn): LogStatus | undefined {
  if (log === undefined) return undefined
  const { wanted, lagMs, covered, queuedBytes, loggedBytes, followers, failing } = log
  return {
    wanted,
    lagMs: ms(lagMs),
    covered,
    queuedBytes: BigInt(queuedBytes),
    loggedBytes: BigInt(loggedBytes),
    followers: followers.map(({ behindBytes, ...follower }) => ({
      ...follower,
      behindBytes: BigInt(behindBytes),
    })),
    failing,
  }
}

function restoreStatus({ store }: Turn): RestoreStatus | undefined {
  const { last, pending, unverified } = store.restores
  if (last === undefined) return undefined
  const { taken, restored, byHand } = last
  return { pending: pending !== undefined, taken, restored, unverified: unverified.size, byHand }
}

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
