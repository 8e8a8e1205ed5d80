import type { CallDef } from '../../core/network.ts'
import type { ClusterView } from '../../console/cluster-view.ts'
import type { AdminMethod } from '../../master/engine/io.ts'
import type { MasterServer } from '../../master/rpc/server.ts'
import { adminBrowse, adminInfo, adminRebalance, adminRepairStatus } from '../../wire/services.ts'
import { nextSteps } from '../next-steps.ts'

/** The master as the console of its own process sees it: it asks what `cairn status` and its like ask. */
export function consoleView(server: MasterServer): ClusterView {
  const ask = async <Request, Response>(
    method: AdminMethod,
    { request, response }: CallDef<Request, Response>,
    value: Request,
  ): Promise<Response> => response.decode(await server.ask(method, request.encode(value)))
  return {
    measure: () => server.measure(),
    repairStatus: () => ask('repairStatus', adminRepairStatus, {}),
    // No action: it only tells.
    rebalanceStatus: () => ask('rebalance', adminRebalance, { action: 0 }),
    browse: request => ask('browse', adminBrowse, request),
    extents: (ino, offset, limit) => ask('info', adminInfo, { ino, offset, limit, withoutPath: true }),
    findings: status =>
      status.findings.map(found => ({
        text: found.text,
        severity: found.severity === 'down' || found.severity === 'degraded' ? found.severity : 'note',
        steps: nextSteps(found, status),
      })),
  }
}
