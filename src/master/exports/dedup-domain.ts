/**
 * Dedup domains: what ids of blocks are made with (core/checksum.ts). Who is in another one has other blocks for the same
 * content, on other places of the disks, counted and removed by themselves: so nothing that is answered, shown or slow tells
 * that somebody else has that content. Mounts that see everything have the cluster's, in which ids are plain.
 */
import { createHash } from 'node:crypto'
import { dedupDomainBytes, noDedupDomain } from '../../core/checksum.ts'
import type { ExportRow } from '../store/exports.ts'

/** Of a session that begins: of the export, or of all that share; `cluster` is the id of the cluster. */
export function dedupDomainOf(row: ExportRow | undefined, cluster: Uint8Array): Uint8Array {
  if (row === undefined) return noDedupDomain
  if (row.dedup === 'own') return row.domain
  // Never what files of mounts that see everything are stored in: those may be in exports that do not share.
  return createHash('sha256')
    .update('cairn shared dedup')
    .update(cluster)
    .digest()
    .subarray(0, dedupDomainBytes)
}
