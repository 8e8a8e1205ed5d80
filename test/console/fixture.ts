import type { ClusterView } from '#src/console/cluster-view.ts'
import { FsError } from '#src/core/errors.ts'
import type { OperationTime } from '#src/core/operation-times.ts'
import * as admin from '#src/wire/gen/cairn/v1/admin.ts'

/** A cluster with one node, one mount and one file, whose name is not UTF-8. */
export const oddName = Buffer.from('<b>\xff\n', 'latin1')

const attr = (ino: bigint, mode: number) => ({
  ...{ ino, mode, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 5n, allocated: 5n },
  ...{ atime: 0n, mtime: 1_700_000_000_000_000_000n, ctime: 0n, btime: 0n },
})

export const status = (): admin.StatusReply =>
  admin.StatusReply.fromPartial({
    health: 'degraded',
    reasons: ['chunkserver 1 (10.0.0.2:9421) is down'],
    cluster: Buffer.alloc(16, 0xab),
    program: '1.2.3',
    nodes: [
      {
        id: 1n,
        address: '10.0.0.2:9421',
        host: 'h',
        state: 'down',
        usedBytes: 10n,
        totalBytes: 100n,
        blocks: 1n,
      },
    ],
    mounts: [{ session: 7n, host: 'h', mountpoint: '/mnt', state: 'connected', dirtyBytes: 3n }],
    blocks: { total: 1n, underReplicated: 1n },
    inodes: 2n,
    totalBytes: 100n,
    availableBytes: 90n,
    copies: 2,
  })

export class FakeCluster implements ClusterView {
  readonly asked: string[] = []
  calls: OperationTime[] = []
  failing: FsError | undefined

  async measure() {
    this.asked.push('measure')
    if (this.failing !== undefined) throw this.failing
    return { status: status(), calls: this.calls, steps: [] }
  }

  async repairStatus() {
    return admin.RepairStatusReply.fromPartial({ bytesPerSecond: 5n })
  }

  async rebalanceStatus() {
    return admin.RebalanceReply.fromPartial({ fullestPermille: 100 })
  }

  async browse(request: admin.BrowseRequest) {
    const path = Buffer.from(request.path)
    this.asked.push(`browse ${path.toString('latin1')} after ${request.after} up to ${request.limit}`)
    if (path.toString() === '/none') throw new FsError('ENOENT', 'There is no such path')
    if (path.includes(oddName)) return admin.BrowseReply.fromPartial({ attr: attr(2n, 0o100644), copies: 2 })
    return admin.BrowseReply.fromPartial({
      attr: attr(1n, 0o040755),
      copies: 2,
      entries: [{ name: oddName, cookie: 9n, attr: attr(2n, 0o100644), copies: 2 }],
      more: request.after === 0n,
    })
  }

  async extents(ino: bigint, offset: bigint, limit: number) {
    this.asked.push(`extents ${ino} from ${offset} up to ${limit}`)
    return admin.InfoReply.fromPartial({
      attr: attr(ino, 0o100644),
      copies: 2,
      extents: [
        {
          offset: 0n,
          length: 5n,
          block: Buffer.alloc(32, 0xcd),
          blockLength: 5,
          locations: [{ node: 1n, address: '10.0.0.2:9421', zone: 'z' }],
          copiesWanted: 2,
        },
      ],
      more: offset === 0n,
      extentsTotal: 2n,
    })
  }

  findings() {
    return [{ text: 'chunkserver 1 is down', severity: 'degraded' as const, steps: ['start it'] }]
  }
}
