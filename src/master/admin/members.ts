/** What an operator does to one mount or one node. */
import { FsError } from '../../core/errors.ts'
import type { EvictMountReply, EvictMountRequest, LabelNodeRequest } from '../../wire/gen/cairn/v1/admin.ts'
import { text, toNodeId, u63 } from '../../wire/validate.ts'
import type { Turn } from '../engine/turn.ts'
import type { Session } from '../sessions/session-registry.ts'
import type { StatusParts } from './status-parts.ts'
import { mountsOf } from './status.ts'

const labelMax = 100

interface EvictParts extends StatusParts {
  readonly evict: (session: Session) => void
}

/** What it had not stored is lost to it, as after a silence of its lease time. */
export function evicted(turn: Turn, parts: EvictParts, request: EvictMountRequest): EvictMountReply {
  const id = u63(request.session, 'session')
  const session = [...parts.sessions.all()].find(each => each.id === id)
  if (session === undefined) throw new FsError('ENOENT', `There is no mount ${id}`)
  const mount = mountsOf(turn, parts).find(each => each.session === id)
  if (!request.dryRun) parts.evict(session)
  return { mount }
}

export function labelled(turn: Turn, { nodes }: StatusParts, request: LabelNodeRequest): void {
  const node = nodes.find(toNodeId(request.node, 'node'))
  if (node === undefined) throw new FsError('ENOENT', `There is no chunkserver ${request.node}`)
  const label = text(request.label, 'label', labelMax)
  // It goes into log lines and tables.
  if (/\p{Cc}/u.test(label)) throw new FsError('EINVAL', 'label: contains control characters')
  turn.store.nodeLabels.set(node.id, label)
}
