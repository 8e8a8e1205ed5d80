/** The administration calls: decoded, answered from the store and the engine's parts, encoded. */
import { FsError } from '../../core/errors.ts'
import { copiesMax } from '../../core/limits.ts'
import { decodeWhole } from '../../wire/codec.ts'
import * as wire from '../../wire/gen/cairn/v1/admin.ts'
import { fileOffset, toIno, u32, u63 } from '../../wire/validate.ts'
import type { AdminMethod, EngineMeasures } from '../engine/io.ts'
import { restoreReport } from '../backup/restore-report.ts'
import type { Turn } from '../engine/turn.ts'
import { fsck } from '../fsck/fsck.ts'
import type { Planner } from '../placement/planner.ts'
import type { ReadKeys } from '../sessions/read-keys.ts'
import type { Session } from '../sessions/session-registry.ts'
import { wireAttr } from '../store/inodes.ts'
import { activityOf } from './activity.ts'
import { browse } from './browse.ts'
import type { Damaged } from './damaged.ts'
import {
  createExport,
  type ExportParts,
  listExports,
  releaseIdentity,
  removeExport,
  setExport,
} from './exports.ts'
import { type HoldingParts, leasesOf, locksOf } from './holdings.ts'
import { evicted, labelled } from './members.ts'
import { rebalanced, repairStatusOf, scrubbed } from './keeping.ts'
import { pathOf } from './paths.ts'
import { type RemovalParts, removalStatusOf } from './removal-status.ts'
import type { RemoveNode } from './remove-node.ts'
import type { SetCopies } from './set-copies.ts'
import { statusOf } from './status.ts'

const rowsMax = 10_000

export interface AdminParts extends HoldingParts, RemovalParts, ExportParts {
  readonly planner: Planner
  readonly readKeys: ReadKeys
  readonly setCopies: SetCopies
  readonly removeNode: RemoveNode
  readonly damaged: Damaged
  readonly measures: () => EngineMeasures
  /** Ends a session for good. */
  readonly evict: (session: Session) => void
}

export class Admin {
  readonly #turn: Turn
  readonly #parts: AdminParts
  /** Checks that wait for the end of the step. */
  readonly #fscks: number[] = []

  constructor(turn: Turn, parts: AdminParts) {
    this.#turn = turn
    this.#parts = parts
  }

  /** Answers now, or in a later step. */
  receive(call: number, method: AdminMethod, bytes: Uint8Array): void {
    try {
      const answer = this.#run(call, method, bytes)
      if (answer !== undefined) this.#turn.out.answer(call, answer)
    } catch (thrown) {
      if (!this.#turn.store.canGoOn(thrown)) throw thrown
      const error = FsError.from(thrown)
      this.#turn.out.failure(call, error.code, error.message)
    }
  }

  /** What is answered in steps, of about `budget` rows. True if there is more to do now. */
  step(budget: number): boolean {
    const { setCopies, drains, removeNode, damaged } = this.#parts
    let more = false
    for (const job of [setCopies, drains, removeNode, damaged]) more = job.step(budget) || more
    return more
  }

  /** What reads the whole database as of the last commit. */
  afterCommit(): void {
    const calls = this.#fscks.splice(0)
    if (calls.length === 0) return
    const reply = wire.FsckReply.encode(fsck(this.#turn.store)).finish()
    for (const call of calls) this.#turn.out.answer(call, reply)
  }

  #run(call: number, method: AdminMethod, bytes: Uint8Array): Uint8Array | undefined {
    switch (method) {
      case 'status':
        decodeWhole(wire.StatusRequest, 'StatusRequest', bytes)
        return wire.StatusReply.encode(statusOf(this.#turn, this.#parts)).finish()
      case 'info':
        return wire.InfoReply.encode(this.#info(decodeWhole(wire.InfoRequest, 'InfoRequest', bytes))).finish()
      case 'setCopies': {
        const request = decodeWhole(wire.SetCopiesRequest, 'SetCopiesRequest', bytes)
        const copies = u32(request.copies, 'copies', copiesMax, 1)
        this.#parts.setCopies.begin(call, toIno(request.ino), copies, request.recursive)
        return undefined
      }
      case 'fsck':
        decodeWhole(wire.FsckRequest, 'FsckRequest', bytes)
        this.#fscks.push(call)
        return undefined
      case 'listBlocks': {
        const request = decodeWhole(wire.ListBlocksRequest, 'ListBlocksRequest', bytes)
        return wire.ListBlocksReply.encode(this.#listBlocks(request)).finish()
      }
      case 'backup':
      case 'readBackup':
        throw new FsError('EOPNOTSUPP', 'This master takes no backups')
      case 'restoreStatus':
        decodeWhole(wire.RestoreStatusRequest, 'RestoreStatusRequest', bytes)
        return wire.RestoreStatusReply.encode(restoreReport(this.#turn.store)).finish()
      case 'confirmRestore':
        this.#confirmRestore(decodeWhole(wire.ConfirmRestoreRequest, 'ConfirmRestoreRequest', bytes))
        return wire.ConfirmRestoreReply.encode({}).finish()
      case 'setDraining': {
        const request = decodeWhole(wire.SetDrainingRequest, 'SetDrainingRequest', bytes)
        const reply = this.#parts.drains.begin(call, request)
        return reply === undefined ? undefined : wire.SetDrainingReply.encode(reply).finish()
      }
      case 'removeNode':
        this.#parts.removeNode.begin(call, decodeWhole(wire.RemoveNodeRequest, 'RemoveNodeRequest', bytes))
        return undefined
      case 'damaged':
        decodeWhole(wire.DamagedRequest, 'DamagedRequest', bytes)
        this.#parts.damaged.begin(call)
        return undefined
      case 'browse': {
        const request = decodeWhole(wire.BrowseRequest, 'BrowseRequest', bytes)
        return wire.BrowseReply.encode(browse(this.#turn.store, request)).finish()
      }
      case 'createExport': {
        const request = decodeWhole(wire.CreateExportRequest, 'CreateExportRequest', bytes)
        return wire.ExportReply.encode(createExport(this.#turn, this.#parts, request)).finish()
      }
      case 'setExport': {
        const request = decodeWhole(wire.SetExportRequest, 'SetExportRequest', bytes)
        return wire.ExportReply.encode(setExport(this.#turn, this.#parts, request)).finish()
      }
      case 'removeExport': {
        const request = decodeWhole(wire.RemoveExportRequest, 'RemoveExportRequest', bytes)
        return wire.ExportReply.encode(removeExport(this.#turn, this.#parts, request)).finish()
      }
      case 'listExports':
        decodeWhole(wire.ListExportsRequest, 'ListExportsRequest', bytes)
        return wire.ListExportsReply.encode(listExports(this.#turn, this.#parts)).finish()
      case 'releaseIdentity': {
        const request = decodeWhole(wire.ReleaseIdentityRequest, 'ReleaseIdentityRequest', bytes)
        releaseIdentity(this.#turn, this.#parts, request.identity)
        return wire.ReleaseIdentityReply.encode({}).finish()
      }
      case 'repairStatus': {
        decodeWhole(wire.RepairStatusRequest, 'RepairStatusRequest', bytes)
        const reply = repairStatusOf(this.#turn, this.#parts.repair, this.#parts.safeMode)
        return wire.RepairStatusReply.encode(reply).finish()
      }
      case 'rebalance': {
        const request = decodeWhole(wire.RebalanceRequest, 'RebalanceRequest', bytes)
        return wire.RebalanceReply.encode(rebalanced(this.#parts.repair, request)).finish()
      }
      case 'scrub': {
        const request = decodeWhole(wire.ScrubRequest, 'ScrubRequest', bytes)
        return wire.ScrubReply.encode(scrubbed(this.#turn, this.#parts.nodes, request)).finish()
      }
      case 'evictMount': {
        const request = decodeWhole(wire.EvictMountRequest, 'EvictMountRequest', bytes)
        return wire.EvictMountReply.encode(evicted(this.#turn, this.#parts, request)).finish()
      }
      case 'labelNode':
        labelled(this.#turn, this.#parts, decodeWhole(wire.LabelNodeRequest, 'LabelNodeRequest', bytes))
        return wire.LabelNodeReply.encode({}).finish()
      case 'locks': {
        const request = decodeWhole(wire.LocksRequest, 'LocksRequest', bytes)
        return wire.LocksReply.encode(locksOf(this.#turn, this.#parts, request)).finish()
      }
      case 'leases': {
        const request = decodeWhole(wire.LeasesRequest, 'LeasesRequest', bytes)
        return wire.LeasesReply.encode(leasesOf(this.#turn, this.#parts, request)).finish()
      }
      case 'activity':
        decodeWhole(wire.ActivityRequest, 'ActivityRequest', bytes)
        return wire.ActivityReply.encode(activityOf(this.#turn, this.#parts.measures())).finish()
      case 'removalStatus':
        decodeWhole(wire.RemovalStatusRequest, 'RemovalStatusRequest', bytes)
        return wire.RemovalStatusReply.encode(removalStatusOf(this.#turn, this.#parts)).finish()
    }
  }

  #confirmRestore({ anyway }: wire.ConfirmRestoreRequest): void {
    const { store, out, time } = this.#turn
    const { restores } = store
    if (restores.pending === undefined) throw new FsError('EINVAL', 'There is no restore to confirm')
    const unseen = [...restores.unverified]
    if (unseen.length > 0 && !anyway)
      throw new FsError(
        'EBUSY',
        `What is on chunkserver ${unseen.join(', ')} is not known yet, so that the report is not complete: let it attach, or confirm with --anyway`,
      )
    restores.confirm(time)
    out.log('warn', 'the restore is confirmed: what nobody refers to may be removed', { anyway })
  }

  #info(request: wire.InfoRequest): wire.InfoReply {
    const { store } = this.#turn
    const ino = toIno(request.ino)
    const inode = store.inodes.find(ino)
    if (inode === undefined) throw new FsError('ENOENT', `There is no inode ${ino}`)
    const from = fileOffset(request.offset)
    const limit = Math.min(u32(request.limit, 'limit'), rowsMax)
    const rows = limit === 0 ? [] : store.extents.within(ino, from, Number.MAX_SAFE_INTEGER, limit + 1)
    const shown = rows.slice(0, limit)
    return {
      attr: wireAttr(inode),
      copies: inode.copies,
      extents: shown.map(row => {
        const block = store.blocks.byKey(row.block)
        return {
          offset: BigInt(row.offset),
          length: BigInt(row.length),
          blockKey: row.block,
          block: block?.id ?? new Uint8Array(0),
          blockOffset: row.blockOffset,
          blockLength: block?.length ?? 0,
          locations: this.#parts.planner.locations(row.block, undefined),
          copiesWanted: block?.wanted ?? 0,
        }
      }),
      more: rows.length > limit,
      extentsTotal: BigInt(store.extents.count(ino)),
      path: request.withoutPath ? new Uint8Array(0) : pathOf(store, ino),
    }
  }

  #listBlocks(request: wire.ListBlocksRequest): wire.ListBlocksReply {
    const { store } = this.#turn
    const limit = Math.min(Math.max(1, u32(request.limit, 'limit')), rowsMax)
    const blocks = store.blocks.liveAfter(u63(request.afterKey, 'after_key'), limit)
    const tokens = this.#parts.readKeys.maker()
    return {
      blocks: blocks.map(({ key, id, length, wanted, domain }) => ({
        key,
        id,
        length,
        wanted,
        dedupDomain: domain,
        locations: this.#parts.planner.locations(key, undefined),
        token: tokens.make(id),
      })),
    }
  }
}
