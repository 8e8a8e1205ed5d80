import type { Env } from '../../core/env.ts'
import { FsError } from '../../core/errors.ts'
import { wireVersion, wireVersionMin } from '../../core/limits.ts'
import type { Network } from '../../core/network.ts'
import { second } from '../../core/units.ts'
import type { LogUp } from '../../wire/gen/cairn/v1/log.ts'
import { logMac } from '../../wire/mac.ts'
import { logFollow } from '../../wire/services.ts'
import type { LogNode } from './log-state.ts'

/** What who speaks to a node about the log works with. */
export interface LogParts {
  readonly env: Env
  readonly network: Network
  readonly cluster: Uint8Array
  /** Of the master. */
  readonly incarnation: bigint
}

const patienceMs = 20 * second

export function helloTo({ cluster, incarnation }: LogParts, { node, key }: LogNode): LogUp {
  const mac = logMac(key, node, incarnation)
  const versions = { versionMin: wireVersionMin, versionMax: wireVersion }
  return { item: { $case: 'hello', value: { ...versions, cluster, node, incarnation, mac } } }
}

/** Tells a node that what it may have of the log is needed no more. */
export function dropLog(parts: LogParts, node: LogNode, failed: (error: FsError) => void): void {
  const link = parts.network.dial(node.address, logFollow)
  const timer = parts.env.timers.after(patienceMs, () =>
    link.close(new FsError('ETIMEDOUT', 'it does not answer')),
  )
  let dropped = false
  link.onFrame(({ item }) => {
    if (item?.$case === 'welcome') link.send({ item: { $case: 'drop', value: {} } })
    if (item?.$case !== 'stored') return
    dropped = true
    link.close()
  })
  link.onClose(error => {
    timer.cancel()
    if (!dropped) failed(error ?? new FsError('ECONNRESET', 'it closed the connection'))
  })
  link.send(helloTo(parts, node))
}
