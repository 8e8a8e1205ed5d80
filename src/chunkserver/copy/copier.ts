import type { Checksums } from '../../core/checksum.ts'
import type { Log } from '../../core/env.ts'
import { FsError, messageOf } from '../../core/errors.ts'
import { type BlockId, blockIdToBytes } from '../../core/ids.ts'
import { copiesMax } from '../../core/limits.ts'
import { second } from '../../core/units.ts'
import type { GetData } from '../../wire/gen/cairn/v1/blocks.ts'
import type { Grant, Location } from '../../wire/gen/cairn/v1/common.ts'
import type { CopyOrder, CopyResult } from '../../wire/gen/cairn/v1/nodes.ts'
import { listOf, toBlockId, toBlockLength } from '../../wire/validate.ts'
import type { BlockStore } from '../blocks/block-store.ts'
import { type BlockClaim, BlockVerifier } from '../blocks/block-verifier.ts'
import { isSmall, storedBytes } from '../blocks/stored-bytes.ts'
import type { Authority } from '../rpc/authority.ts'
import type { Peers } from '../rpc/peers.ts'
import { Permits } from '../rpc/permits.ts'

export interface CopierParts {
  readonly store: BlockStore
  readonly authority: Authority
  readonly peers: Peers
  readonly checksums: Checksums
  readonly log: Log
}

/**
 * Copies at a time: enough to hide round trips, few enough to leave the disk to users, and memory free. Of small ones
 * as many as one sync of the index serves.
 */
const largeAtOnce = 3
const smallAtOnce = 128
const patienceMs = 15 * second

/** What a source sent proved wrong, or it does not have the block: another source is tried, and the master told. */
class BadSource extends FsError {}

/** Executes the master's copy orders: pulls blocks from other nodes, and trusts none of them. */
export class Copier {
  readonly #parts: CopierParts
  readonly #large = new Permits(largeAtOnce)
  readonly #small = new Permits(smallAtOnce)

  constructor(parts: CopierParts) {
    this.#parts = parts
  }

  /** Never rejects: what went wrong is in the result. */
  copy(order: CopyOrder): Promise<CopyResult> {
    const permits = isSmall(order.length) ? this.#small : this.#large
    return permits.run(() => this.#copy(order))
  }

  async #copy(order: CopyOrder): Promise<CopyResult> {
    const badSources: bigint[] = []
    try {
      const { authority } = this.#parts
      const id = toBlockId(order.id, 'copy.id')
      const length = toBlockLength(order.length, 'copy.length', authority.blockBytes)
      // The checksums come from the source and are proved by the id.
      const claim = { id, length, checksums: new Uint8Array(0) }
      const grant = authority.checkGrant(order.grant, claim)
      const generation = await this.#fromAny(
        claim,
        grant,
        listOf(order.sources, copiesMax, 'copy.sources'),
        badSources,
      )
      const receipt = authority.receipt(grant, claim, generation)
      return { order: order.order, receipt, error: undefined, badSources }
    } catch (error) {
      const { errno, message } = FsError.from(error)
      return { order: order.order, receipt: undefined, error: { errno, message }, badSources }
    }
  }

  async #fromAny(
    claim: BlockClaim,
    grant: Grant,
    sources: readonly Location[],
    badSources: bigint[],
  ): Promise<bigint> {
    let last = new FsError('EIO', `no source for block ${claim.id}`)
    for (const source of sources) {
      try {
        return await this.#from(claim, grant, source)
      } catch (error) {
        last = FsError.from(error)
        this.#parts.log.warn('cannot copy a block from a node', {
          block: claim.id,
          source: source.node,
          error: messageOf(error),
        })
        if (error instanceof BadSource) badSources.push(source.node)
      }
    }
    throw last
  }

  async #from(claim: BlockClaim, grant: Grant, source: Location): Promise<bigint> {
    const { store } = this.#parts
    const bytes = storedBytes(claim.length)
    store.space.promise(bytes)
    try {
      const { checksums, parts } = await this.#pull(claim, source)
      const proved = { ...claim, checksums }
      if (isSmall(claim.length)) return await store.putRow(proved, grant.generation, Buffer.concat(parts))
      const file = store.receive()
      for (const part of parts) void file.append(part).catch(() => undefined)
      return await store.putFile(proved, grant.generation, file)
    } finally {
      store.space.settle(bytes)
    }
  }

  /** The whole block with its checksums, verified by its SHA-256. */
  async #pull(
    { id, length }: BlockClaim,
    source: Location,
  ): Promise<{ checksums: Buffer; parts: Uint8Array[] }> {
    const parts: Uint8Array[] = []
    const sums: Uint8Array[] = []
    let received = 0
    const take = (data: GetData): void => {
      if (data.offset !== received || data.blockLength !== length || received + data.data.length > length)
        throw new BadSource(
          'EIO',
          `node ${source.node} sent ${data.data.length} bytes at ${data.offset} of block ${id}`,
        )
      received += data.data.length
      parts.push(data.data)
      sums.push(data.checksums)
    }
    try {
      const { authority, peers } = this.#parts
      const cluster = authority.membership?.cluster ?? new Uint8Array(0)
      const block = blockIdToBytes(id)
      const what = { id: block, length, token: authority.ownToken(block) }
      await peers.to(source.address, cluster).get(what, take, patienceMs)
    } catch (error) {
      throw asSourceError(error)
    }
    const checksums = Buffer.concat(sums)
    this.#prove({ id, length, checksums }, parts)
    return { checksums, parts }
  }

  #prove(claim: { id: BlockId; length: number; checksums: Buffer }, parts: readonly Uint8Array[]): void {
    try {
      const verifier = new BlockVerifier(this.#parts.checksums, claim, { verifyId: true })
      for (const part of parts) verifier.update(part)
      if (!verifier.complete)
        throw new FsError('EIO', `block ${claim.id} is shorter there than ${claim.length} bytes`)
    } catch (error) {
      throw new BadSource('EIO', messageOf(error), { cause: error })
    }
  }
}

/** A node that cannot be reached is not known to have a bad copy. */
function asSourceError(error: unknown): FsError {
  const failure = FsError.from(error)
  return failure.code === 'ENOENT' || failure.code === 'EIO'
    ? new BadSource(failure.code, failure.message)
    : failure
}
