import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { blockBytesMax, blockBytesMin, copiesMax, wireVersion, wireVersionMin } from '../../core/limits.ts'
import { hour, second } from '../../core/units.ts'
import type { Welcome } from '../../wire/gen/cairn/v1/session.ts'
import { bytesUpTo, toDedupDomain, toIno, u32, u63 } from '../../wire/validate.ts'
import type { ClusterFacts } from '../ports.ts'

/** What the export that the session is of allows, which the master sees to: knowing it, the mount need not ask in vain. */
export interface Rules {
  readonly readOnly: boolean
  /** The master judges each change: none is promised. */
  readonly judged: boolean
  readonly noSetuid: boolean
  readonly noDevices: boolean
  readonly noShortCircuit: boolean
}

/** What the master said of the session and the cluster, checked. */
export interface Welcomed {
  readonly facts: ClusterFacts
  readonly identity: { readonly session: bigint; readonly epoch: bigint }
  readonly secret: Uint8Array
  readonly root: Ino
  readonly rules: Rules
  readonly leaseMs: number
  readonly heartbeatMs: number
}

/** `before`: the facts of an earlier session, which must be of the same cluster. */
export function welcomeFromWire(wire: Welcome, before: ClusterFacts | undefined): Welcomed {
  const version = u32(wire.version, 'welcome.version', wireVersion, wireVersionMin)
  const blockBytes = u32(wire.blockBytes, 'welcome.block_bytes', blockBytesMax, blockBytesMin)
  if ((blockBytes & (blockBytes - 1)) !== 0)
    throw new FsError('EPROTO', `welcome.block_bytes: ${blockBytes} is no power of two`)
  const cluster = Uint8Array.from(bytesUpTo(wire.cluster, 64, 'welcome.cluster'))
  if (before !== undefined && Buffer.compare(before.cluster, cluster) !== 0)
    throw new FsError('EPROTO', 'welcome.cluster: another cluster than before')
  return {
    facts: {
      version,
      cluster,
      blockBytes,
      copies: u32(wire.copies, 'welcome.copies', copiesMax, 1),
      minCopies: u32(wire.minCopies, 'welcome.min_copies', copiesMax, 1),
      dedupDomain: Uint8Array.from(toDedupDomain(wire.dedupDomain, 'welcome.dedup_domain')),
    },
    identity: { session: u63(wire.session, 'welcome.session'), epoch: u63(wire.epoch, 'welcome.epoch') },
    secret: Uint8Array.from(bytesUpTo(wire.secret, 64, 'welcome.secret')),
    root: toIno(wire.root, 'welcome.root'),
    rules: {
      readOnly: wire.readOnly,
      judged: wire.judged,
      noSetuid: wire.noSetuid,
      noDevices: wire.noDevices,
      noShortCircuit: wire.noShortCircuit,
    },
    leaseMs: u32(wire.leaseMs, 'welcome.lease_ms', hour, second),
    heartbeatMs: u32(wire.heartbeatMs, 'welcome.heartbeat_ms', hour, 100),
  }
}
