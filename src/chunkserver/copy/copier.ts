import { type Checksums, checksumsLength } from '../../core/checksum.ts'
import type { Env, Log } from '../../core/env.ts'
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
import type { PeerLink } from '../rpc/peer-link.ts'
import type { Peers } from '../rpc/peers.ts'
import { Permits } from '../rpc/permits.ts'
import type { UserActivity } from '../rpc/user-activity.ts'
import { SmallPulls } from './small-pulls.ts'

export interface CopierParts {
  readonly env: Env
  readonly store: BlockStore
  readonly authority: Authority
  readonly peers: Peers
  readonly checksums: Checksums
  readonly users: UserActivity
  readonly log: Log
}

/**
 * Copies at a time: enough to hide round trips and syncs, few enough to leave memory free. Of small ones as many as a
 * few syncs of the index serve. While mounts want something of this node, there are fewer, and a pause after each that is
 * so many times as long as it took: one copy at a time can keep a processor or a disk busy.
 */
const largeAtOnce = { alone: 4, besideUsers: 1 }
const smallAtOnce = { alone: 256, besideUsers: 16 }
const pausesBesideUsers = 3
const pauseMsMax = 1 * second
const patienceMs = 15 * second

/** What a source sent proved wrong, or it does not have the block: another source is tried, and the master told. */
class BadSource extends FsError {}

/** Executes the master's copy orders: pulls blocks from other nodes, and trusts none of them. */
export class Copier {
  readonly #parts: CopierParts
  readonly #large: Permits
  readonly #small: Permits
  readonly #smallPulls: SmallPulls

  constructor(parts: CopierParts) {
    this.#parts = parts
    const { users, env, authority } = parts
    this.#large = new Permits(() => (users.isBusy ? largeAtOnce.besideUsers : largeAtOnce.alone))
    this.#small = new Permits(() => (users.isBusy ? smallAtOnce.besideUsers : smallAtOnce.alone))
    this.#smallPulls = new SmallPulls(env.timers, authority, patienceMs)
  }

  /** Never rejects: what went wrong is in the result. */
  copy(order: CopyOrder): Promise<CopyResult> {
    const permits = isSmall(order.length) ? this.#small : this.#large
    return new Promise((resolve, reject) => {
      permits
        .run(async () => {
          const began = this.#parts.env.clock.now()
          resolve(await this.#copy(order))
          await this.#makeRoom(began)
        })
        .catch(reject)
    })
  }

  async #makeRoom(beganMs: number): Promise<void> {
    const { users, env } = this.#parts
    if (!users.isBusy) return
    await env.timers.sleep(Math.min(pauseMsMax, (env.clock.now() - beganMs) * pausesBesideUsers))
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
      if (isSmall(claim.length)) return await this.#fromRow(claim, grant, source)
      const file = store.receive()
      try {
        // Written while the rest arrives; what proves wrong at the end gets no name.
        const append = (part: Uint8Array): void => void file.append(part).catch(() => undefined)
        const checksums = await this.#pull(claim, grant.dedupDomain, source, append)
        return await store.putFile({ ...claim, checksums }, grant.generation, file)
      } finally {
        await file.discard()
      }
    } finally {
      store.space.settle(bytes)
    }
  }

  async #fromRow(claim: BlockClaim, grant: Grant, source: Location): Promise<bigint> {
    const { store } = this.#parts
    const got = await this.#pullSmall(claim, grant.dedupDomain, source)
    if (got !== undefined) return store.putRow(got.claim, grant.generation, got.data)
    const parts: Uint8Array[] = []
    const checksums = await this.#pull(claim, grant.dedupDomain, source, part => parts.push(part))
    return store.putRow({ ...claim, checksums }, grant.generation, Buffer.concat(parts))
  }

  /** A small block, asked for together with others. Undefined if the source left it out, or does not know how. */
  async #pullSmall(
    { id, length }: BlockClaim,
    domain: Uint8Array,
    source: Location,
  ): Promise<{ claim: BlockClaim; data: Uint8Array } | undefined> {
    const peer = this.#peer(source)
    if (!peer.speaksSmall) return undefined
    const got = await this.#smallPulls.pull(peer, id)
    if (got?.data.length !== length || got.checksums.length !== checksumsLength(length)) return undefined
    const claim = { id, length, checksums: got.checksums }
    prove(id, () => this.#verifier(claim, domain).update(got.data))
    return { claim, data: got.data }
  }

  /** The whole block, part by part, verified by its id when this resolves: with its checksums. */
  async #pull(
    { id, length }: BlockClaim,
    domain: Uint8Array,
    source: Location,
    append: (part: Uint8Array) => void,
  ): Promise<Uint8Array> {
    const checksums = new Uint8Array(checksumsLength(length))
    // They are compared when the last part is there, with the block's own.
    const verifier = this.#verifier({ id, length, checksums }, domain)
    let received = 0
    let sums = 0
    const take = (data: GetData): void => {
      if (
        data.offset !== received ||
        data.blockLength !== length ||
        received + data.data.length > length ||
        sums + data.checksums.length > checksums.length
      )
        throw new BadSource(
          'EIO',
          `node ${source.node} sent ${data.data.length} bytes at ${data.offset} of block ${id}`,
        )
      received += data.data.length
      checksums.set(data.checksums, sums)
      sums += data.checksums.length
      prove(id, () => verifier.update(data.data))
      append(data.data)
    }
    try {
      const block = blockIdToBytes(id)
      const what = { id: block, length, token: this.#parts.authority.ownToken(block) }
      await this.#peer(source).get(what, take, patienceMs)
    } catch (error) {
      throw asSourceError(error)
    }
    if (!verifier.complete) throw new BadSource('EIO', `block ${id} is shorter there than ${length} bytes`)
    return checksums
  }

  #peer(source: Location): PeerLink {
    const { authority, peers } = this.#parts
    return peers.to(source.address, authority.membership?.cluster ?? new Uint8Array(0))
  }

  #verifier(claim: BlockClaim, domain: Uint8Array): BlockVerifier {
    return new BlockVerifier(this.#parts.checksums, claim, { verifyId: true, domain })
  }
}

function prove(id: BlockId, check: () => void): void {
  try {
    check()
  } catch (error) {
    throw new BadSource('EIO', `block ${id}: ${messageOf(error)}`, { cause: error })
  }
}

/** A node that cannot be reached is not known to have a bad copy. */
function asSourceError(error: unknown): FsError {
  const failure = FsError.from(error)
  return failure.code === 'ENOENT' || failure.code === 'EIO'
    ? new BadSource(failure.code, failure.message)
    : failure
}
