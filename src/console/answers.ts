/** What the API answers: replies of the master as plain values, with names as people may see them. */
import { S_IFMT } from '../core/attr.ts'
import { nsPerMs } from '../core/units.ts'
import type {
  BrowsedEntry,
  BrowseReply,
  InfoExtent,
  InfoReply,
  NodeStatus,
  RebalanceReply,
  RepairStatusReply,
  StatusReply,
} from '../wire/gen/cairn/v1/admin.ts'
import type { Attr } from '../wire/gen/cairn/v1/common.ts'
import type { Finding } from './cluster-view.ts'
import { encodeName } from './percent-path.ts'
import type { Growth } from './rates.ts'
import { shownName } from './shown-name.ts'

export interface Overview {
  readonly status: StatusReply
  readonly repair: RepairStatusReply
  readonly rebalance: RebalanceReply
  readonly findings: readonly Finding[]
  readonly growth: Growth | undefined
}

export const nodesMax = 2000
export const mountsMax = 2000

export function overviewAnswer({ status, repair, rebalance, findings, growth }: Overview) {
  const { blocks, backups } = status
  return {
    health: status.health,
    findings,
    cluster: hex(status.cluster),
    program: status.program,
    uptimeMs: Number(status.uptimeMs),
    memoryBytes: Number(status.rssBytes),
    copies: status.copies,
    minCopies: status.minCopies,
    blockBytes: status.blockBytes,
    totalBytes: Number(status.totalBytes),
    availableBytes: Number(status.availableBytes),
    inodes: Number(status.inodes),
    blocks: {
      total: Number(blocks?.total ?? 0n),
      bytes: Number(blocks?.bytes ?? 0n),
      underReplicated: Number(blocks?.underReplicated ?? 0n),
      missing: Number(blocks?.missing ?? 0n),
      condemned: Number(blocks?.condemned ?? 0n),
    },
    growth: growth ?? null,
    backups:
      backups === undefined
        ? null
        : {
            everyMs: Number(backups.everyMs),
            count: backups.count,
            ageMs: backups.taken === 0n ? null : Number(backups.ageMs),
            bytes: Number(backups.bytes),
            failing: backups.failing,
          },
    nodesTotal: status.nodes.length,
    nodes: status.nodes.slice(0, nodesMax).map(nodeAnswer),
    mountsTotal: status.mounts.length,
    mounts: status.mounts.slice(0, mountsMax).map(mount => ({
      session: String(mount.session),
      host: mount.host,
      path: shownName(Buffer.from(mount.mountpoint)),
      process: mount.pid,
      program: mount.program,
      state: mount.state,
      silentMs: Number(mount.silentMs),
      dirtyBytes: Number(mount.dirtyBytes),
      leases: Number(mount.leases),
      calls: Number(mount.calls),
    })),
    repair: {
      waitingFor: repair.safeMode,
      classes: repair.classes.map(({ name, blocks: count, bytes }) => ({
        name,
        blocks: Number(count),
        bytes: Number(bytes),
      })),
      searching: repair.searching,
      copiesUnderWay: Number(repair.copiesUnderWay),
      bytesUnderWay: Number(repair.bytesUnderWay),
      bytesPerSecond: Number(repair.bytesPerSecond),
      leftMs: Number(repair.leftMs),
      copied: Number(repair.copied),
      failed: Number(repair.failed),
    },
    rebalance: {
      running: rebalance.running,
      fullestPermille: rebalance.fullestPermille,
      emptiestPermille: rebalance.emptiestPermille,
      bytesLeft: Number(rebalance.bytesLeft),
      bytesPerSecond: Number(rebalance.bytesPerSecond),
      leftMs: Number(rebalance.leftMs),
    },
  }
}

function nodeAnswer(node: NodeStatus) {
  const { scrub } = node
  return {
    id: String(node.id),
    address: node.address,
    zone: node.zone,
    host: node.host,
    state: node.state,
    reason: node.reason,
    usedBytes: Number(node.usedBytes),
    totalBytes: Number(node.totalBytes),
    blocks: Number(node.blocks),
    silentMs: Number(node.silentMs),
    draining: node.draining
      ? {
          blocksLeft: Number(node.blocksLeft),
          bytesLeft: Number(node.bytesLeft),
          leftMs: Number(node.leftMs),
        }
      : null,
    scrub:
      scrub === undefined
        ? null
        : {
            permille: scrub.permille,
            damaged: Number(scrub.damaged),
            bytesPerSecond: Number(scrub.bytesPerSecond),
            finishedMs: Number(scrub.finished / nsPerMs),
          },
  }
}

const kinds: Readonly<Record<number, string>> = {
  0o040000: 'folder',
  0o100000: 'file',
  0o120000: 'symlink',
  0o010000: 'pipe',
  0o140000: 'socket',
  0o020000: 'device',
  0o060000: 'device',
}

function attrAnswer(attr: Attr, copies: number) {
  return {
    kind: kinds[attr.mode & S_IFMT] ?? 'other',
    ino: String(attr.ino),
    mode: (attr.mode & 0o7777).toString(8).padStart(4, '0'),
    links: attr.nlink,
    owner: attr.uid,
    group: attr.gid,
    size: Number(attr.size),
    stored: Number(attr.allocated),
    changedMs: Number(attr.mtime / nsPerMs),
    copies,
  }
}

export function folderAnswer(path: Uint8Array, { attr, copies, target, entries, more }: BrowseReply) {
  return {
    path: shownName(path),
    ...(attr === undefined ? {} : attrAnswer(attr, copies)),
    target: target.length === 0 ? null : shownName(target),
    entries: entries.flatMap(entryAnswer),
    /** Where the next page begins; null: there is none. */
    after: more ? String(entries.at(-1)?.cookie ?? 0n) : null,
  }
}

function entryAnswer({ name, attr, copies }: BrowsedEntry) {
  return attr === undefined
    ? []
    : [{ name: shownName(name), part: encodeName(name), ...attrAnswer(attr, copies) }]
}

export function extentsAnswer({ attr, copies, extents, more, extentsTotal }: InfoReply) {
  const last = extents.at(-1)
  return {
    ...(attr === undefined ? {} : attrAnswer(attr, copies)),
    total: Number(extentsTotal),
    extents: extents.map(extentAnswer),
    after: more && last !== undefined ? String(last.offset + last.length) : null,
  }
}

function extentAnswer(extent: InfoExtent) {
  return {
    offset: Number(extent.offset),
    length: Number(extent.length),
    block: hex(extent.block),
    blockOffset: extent.blockOffset,
    blockLength: extent.blockLength,
    copiesWanted: extent.copiesWanted,
    copies: extent.locations.map(({ node, address, zone }) => ({ node: String(node), address, zone })),
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export type OverviewAnswer = ReturnType<typeof overviewAnswer>
export type NodeAnswer = ReturnType<typeof nodeAnswer>
export type FolderAnswer = ReturnType<typeof folderAnswer>
export type ExtentsAnswer = ReturnType<typeof extentsAnswer>

/** What the page shows of who looks. */
export interface VisitorAnswer {
  readonly name: string | null
  readonly role: string | null
  /** By a login, which can be ended. */
  readonly login: boolean
}
