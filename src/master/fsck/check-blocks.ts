import { dedupDomainBytes } from '../../core/checksum.ts'
import { blockIdBytes } from '../../core/ids.ts'
import { blockState } from '../store/blocks.ts'
import type { Store } from '../store/store.ts'
import type { Findings } from './findings.ts'
import { Merged, type Row, rowsOf } from './merge.ts'

/** Each block against the extents that name it and the replicas it has. */
export function checkBlocks(store: Store, findings: Findings): void {
  using refs = new Merged(store, 'SELECT block, count(*) FROM extents GROUP BY block ORDER BY block')
  using replicas = new Merged(store, 'SELECT block, count(*) FROM replicas GROUP BY block ORDER BY block')
  const unknown = ([key]: Row): void =>
    findings.add('replica of no block', `Block ${String(key)} is missing, but there are replicas of it`)

  const sql =
    'SELECT key, refs, have, state, length, length(id), wanted, length(domain) FROM blocks ORDER BY key'
  for (const row of rowsOf(store, sql)) {
    const key = row[0] as bigint
    // Extents that name a missing block are checkExtents' matter.
    checkBlock(store, row, refs.at(key)?.[1] ?? 0n, replicas.at(key, unknown)?.[1] ?? 0n, findings)
  }
  refs.rest(() => undefined)
  replicas.rest(unknown)

  const strangers = `SELECT r.node, count(*) FROM replicas r LEFT JOIN nodes n ON n.id = r.node
    WHERE n.id IS NULL GROUP BY r.node`
  for (const [node, count] of rowsOf(store, strangers)) {
    findings.add(
      'replica on no node',
      `${String(count)} replicas are on node ${String(node)}, which is unknown`,
    )
  }
}

function checkBlock(store: Store, row: Row, named: bigint, stored: bigint, findings: Findings): void {
  const [key, refs, have, state, length, idLength, wanted, domainLength] = row
  const what = `Block ${String(key)}`
  findings.check(refs === named, 'references', () => {
    return `${what} is named by ${named.toString()} extents but counts ${String(refs)} references`
  })
  findings.check(have === stored, 'replica count', () => {
    return `${what} has ${stored.toString()} replicas but counts ${String(have)}`
  })
  const live = state === BigInt(blockState.live)
  findings.check(live === (refs !== 0n), 'state of block', () => {
    return `${what} has ${String(refs)} references but is in state ${String(state)}`
  })
  findings.check(!live || stored > 0n, 'lost block', () => `${what} is in use but no node has it`)
  const fits = length !== undefined && length >= 1n && length <= BigInt(store.format.facts.blockBytes)
  findings.check(fits && idLength === BigInt(blockIdBytes) && wanted !== 0n, 'form of block', () => {
    return `${what} has a length of ${String(length)}, an id of ${String(idLength)} bytes, ${String(wanted)} copies`
  })
  findings.check(domainLength === 0n || domainLength === BigInt(dedupDomainBytes), 'dedup domain', () => {
    return `${what} has a dedup domain of ${String(domainLength)} bytes`
  })
}
