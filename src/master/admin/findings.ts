/** What an operator should know of the cluster, worst first: each with a code, so that programs can tell them apart. */
import { nsPerMs } from '../../core/units.ts'
import type { Finding } from '../../wire/gen/cairn/v1/admin.ts'
import type { Turn } from '../engine/turn.ts'
import type { Node, NodeRegistry } from '../nodes/node-registry.ts'
import type { StatusParts } from './status-parts.ts'

export type Severity = 'down' | 'degraded' | 'note'

/** A copy of the database this many periods old is too old. */
const patience = 2.5
/** What would be lost with the master's disk is seconds; this is more. */
const lagLimitMs = 30_000

export function findingsOf(turn: Turn, parts: StatusParts): Finding[] {
  const { copies, minCopies } = turn.store.format.facts
  return [
    ...serving(turn, parts, Math.min(minCopies, copies)),
    ...ofNodes(turn, parts),
    ...keeping(parts, copies),
    ...ofMetadata(turn, parts),
    ...notes(turn, parts, copies),
  ]
}

const finding = (
  severity: Severity,
  code: string,
  text: string,
  about: { readonly node?: bigint; readonly session?: bigint } = {},
): Finding => ({ severity, code, text, node: about.node ?? 0n, session: about.session ?? 0n })

/** What keeps programs from going on. */
function serving({ diskFull }: Turn, { nodes, repair }: StatusParts, needed: number): Finding[] {
  const found: Finding[] = []
  if (diskFull)
    found.push(
      finding('down', 'master-disk-full', 'the disk of the master is full: changes are refused, reads go on'),
    )
  const up = [...nodes.all()].filter(node => node.isUp).length
  const { missing } = repair.counts
  if (up < needed)
    found.push(finding('down', 'too-few-nodes-up', `${count(up, 'chunkserver')} up: nothing can be written`))
  if (missing > 0)
    found.push(finding('down', 'blocks-missing', `${count(missing, 'block')} without a reachable copy`))
  return found
}

function ofNodes(turn: Turn, { nodes }: StatusParts): Finding[] {
  return [...nodes.all()].flatMap(node => {
    const found: Finding[] = []
    const add = (code: string, text: string): void => {
      found.push(finding('degraded', code, `chunkserver ${nameOf(turn, node)} ${text}`, { node: node.id }))
    }
    if (!node.isUp) add('node-down', downBecause(node, nodes, turn.now))
    else if (node.failingSinceMs !== undefined)
      add('node-failing', `is out of service, its disk fails: ${node.reason}`)
    else if (node.refusing) add('node-refusing', `takes no new blocks: ${node.reason}`)
    if (node.removalStopped !== '') add('node-cannot-delete', `cannot delete: ${node.removalStopped}`)
    return found
  })
}

function keeping({ nodes, repair, space, safeMode }: StatusParts, copies: number): Finding[] {
  const found: Finding[] = []
  const all = [...nodes.all()]
  const up = all.filter(node => node.isUp).length
  const { underReplicated } = repair.counts
  const add = (code: string, text: string): void => void found.push(finding('degraded', code, text))
  if (safeMode.isOn) add('safe-mode', `safe mode: ${safeMode.reason}`)
  if (up > 0 && space.isShort)
    add('space-short', 'space runs out: what was removed is deleted at once, without its grace time')
  if (underReplicated > 0) add('under-replicated', `${count(underReplicated, 'block')} with too few copies`)
  if (up < copies && up === all.length)
    add('too-few-nodes', `${count(copies, 'copy', 'copies')} wanted, only ${count(up, 'chunkserver')} known`)
  return found
}

/** What is the matter with the database itself and its copies. */
function ofMetadata(turn: Turn, parts: StatusParts): Finding[] {
  const { startedMs } = parts
  const found = ofLog(turn, parts)
  const add = (code: string, text: string): void => void found.push(finding('degraded', code, text))
  const { pending, unverified } = turn.store.restores
  if (pending !== undefined)
    add(
      'restore-pending',
      pending.byHand
        ? `the metadata is older than what chunkservers were told (about ${isoTime(pending.taken)}): nothing is removed until cairn restore confirm`
        : `the metadata was restored from a backup of ${isoTime(pending.taken)}: nothing is removed until cairn restore confirm`,
    )
  if (unverified.size > 0)
    add(
      'restore-unverified',
      `${count(unverified.size, 'chunkserver')} not compared with the restored metadata yet`,
    )
  const { backups, integrity } = turn
  const problems = integrity?.problems ?? []
  const first = problems[0] === undefined ? '' : `, such as: ${problems[0]}`
  if (problems.length > 0 || (backups?.problems ?? 0) > 0)
    add('metadata-problems', `the metadata has problems: see cairn fsck${first}; no block is removed`)
  const [different] = integrity?.differences ?? []
  if (different !== undefined)
    add(
      'metadata-differs',
      `the metadata is not what it was in an earlier copy, though nobody changed it: ${different}${integrity?.endangered === true ? '; no block is removed' : ''}`,
    )
  const [unreadable] = integrity?.unreadable ?? []
  if (unreadable !== undefined)
    add('backup-unreadable', `a copy of the metadata cannot be read: ${unreadable}`)
  if (integrity !== undefined && integrity.failing !== '')
    add('metadata-unchecked', `the metadata cannot be checked: ${integrity.failing}`)
  if (backups === undefined || backups.everyMs === 0) return found
  if (backups.failing !== '') add('backup-failing', `the metadata cannot be backed up: ${backups.failing}`)
  const limitMs = backups.everyMs * patience
  const ageMs = Number((turn.time - backups.taken) / nsPerMs)
  if (turn.now - startedMs > limitMs && ageMs > limitMs)
    add(
      'backup-old',
      backups.taken === 0n
        ? 'there is no copy of the metadata'
        : `the newest copy of the metadata is of ${isoTime(backups.taken)}`,
    )
  return found
}

/** Whether the loss of the master's disk would cost more than seconds. */
function ofLog({ log, now }: Turn, { startedMs, nodes }: StatusParts): Finding[] {
  const found: Finding[] = []
  if (log === undefined) return found
  const add = (code: string, text: string): void => void found.push(finding('degraded', code, text))
  if (log.failing !== '') add('log-failing', `the metadata cannot be copied to chunkservers: ${log.failing}`)
  // While there are too few chunkservers that is what is said.
  const up = [...nodes.all()].filter(node => node.isUp).length
  if (log.lagMs > lagLimitMs && now - startedMs > lagLimitMs && up >= log.wanted)
    add(
      'log-behind',
      `changes of the last ${seconds(log.lagMs)} are not on ${count(log.wanted, 'chunkserver')}: they would be lost with the disk of the master`,
    )
  return found
}

function notes(turn: Turn, { nodes, sessions }: StatusParts, copies: number): Finding[] {
  const found: Finding[] = []
  const staying = [...nodes.all()].filter(node => !node.row.draining)
  const hosts = new Set(staying.map(node => node.host)).size
  if (staying.length >= copies && hosts < copies)
    found.push(
      finding(
        'note',
        'copies-share-machines',
        `copies of a block share a machine: ${count(copies, 'copy', 'copies')} wanted, ${count(hosts, 'machine')}`,
      ),
    )
  const { leaseMs, leaseMarginMs, insecure } = turn.settings
  if (insecure)
    found.push(finding('note', 'insecure', 'no TLS: whoever reaches the master reads and changes everything'))
  for (const session of sessions.all()) {
    if (session.connection !== undefined) continue
    const leftMs = Math.max(0, session.heardMs + leaseMs + leaseMarginMs - turn.now)
    const { host, mountpoint } = session.row
    found.push(
      finding(
        'note',
        'mount-silent',
        `mount ${session.id} (${mountpoint} on ${host}) is not connected: what it holds is free in ${seconds(leftMs)}`,
        { session: session.id },
      ),
    )
  }
  return found
}

function nameOf({ store }: Turn, { id, row }: Node): string {
  const label = store.nodeLabels.of(id)
  return `${id} (${label === '' ? '' : `${label}, `}${row.address})`
}

function downBecause(node: Node, nodes: NodeRegistry, now: number): string {
  const what = node.leftInOrder ? 'is down, stopped in order' : 'is down'
  const left = (nodes.givenUpAtMs(node) ?? now) - now
  return left <= 0 ? what : `${what}: its copies are made anew in ${seconds(left)}`
}

const seconds = (ms: number): string => `${Math.ceil(ms / 1000)} s`

const isoTime = (ns: bigint): string => new Date(Number(ns / nsPerMs)).toISOString()

const count = (number: number, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 ? one : many}`
