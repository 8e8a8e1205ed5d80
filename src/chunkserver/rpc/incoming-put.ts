import type { Checksums } from '../../core/checksum.ts'
import { FsError } from '../../core/errors.ts'
import { blockIdToBytes } from '../../core/ids.ts'
import type { PutBegin, PutOutcome } from '../../wire/gen/cairn/v1/blocks.ts'
import type { Grant, Target } from '../../wire/gen/cairn/v1/common.ts'
import type { BlockStore } from '../blocks/block-store.ts'
import { type BlockClaim, BlockVerifier } from '../blocks/block-verifier.ts'
import type { IncomingFile } from '../blocks/incoming-file.ts'
import { isSmall, storedBytes } from '../blocks/stored-bytes.ts'
import type { Authority } from './authority.ts'
import type { PeerPut } from './peer-link.ts'
import type { Peers } from './peers.ts'

export interface PutParts {
  readonly store: BlockStore
  readonly authority: Authority
  readonly peers: Peers
  readonly checksums: Checksums
  /** How long a node may make no progress before the nodes from it on are given up, ms, if the sender does not say. */
  readonly peerPatienceMs: number
}

/**
 * A block that arrives: checked, written and passed on part by part. Its own copy and those behind it in
 * the chain fail independently; a wrong block fails all of them. The last part is passed on only when the
 * whole block has proved right, so that no node behind can complete a wrong one.
 */
export class IncomingPut {
  readonly #parts: PutParts
  readonly #claim: BlockClaim
  readonly #chain: readonly Target[]
  /** Of a put with a good grant. */
  readonly #verifier: BlockVerifier | undefined
  readonly #node: bigint
  #grant: Grant | undefined
  #own: OwnCopy | undefined
  #ownError: FsError | undefined
  #forward: PeerPut | undefined
  #forwardError: FsError | undefined

  constructor(parts: PutParts, claim: BlockClaim, begin: PutBegin, verifyId: boolean) {
    this.#parts = parts
    this.#claim = claim
    this.#chain = begin.chain
    this.#node = begin.grant?.node ?? 0n
    try {
      this.#grant = parts.authority.checkGrant(begin.grant, claim)
    } catch (error) {
      // Nor is anything passed on for somebody without a right to be here.
      this.#ownError = FsError.from(error)
      return
    }
    this.#verifier = new BlockVerifier(parts.checksums, claim, { verifyId, domain: this.#grant.dedupDomain })
    try {
      this.#own = new OwnCopy(parts.store, claim)
    } catch (error) {
      this.#ownError = FsError.from(error)
    }
    this.#startChain(begin, verifyId)
  }

  /** All bytes have arrived and are right. */
  get complete(): boolean {
    return this.#verifier?.complete === true
  }

  /** Neither this node nor one behind it can still store the block: no need to wait for the rest of it. */
  get hopeless(): boolean {
    return this.#own === undefined && this.#forward === undefined
  }

  /** Resolves when the buffer is free. Throws what makes the whole put fail, which is then to be aborted. */
  accept(data: Uint8Array): Promise<void> {
    this.#verifier?.update(data)
    this.#forward?.send(data)
    return Promise.all([this.#write(data), this.#forward?.drained()]).then(() => undefined)
  }

  /** Call once complete, or when hopeless. Resolves with all outcomes when each is final. */
  async finish(): Promise<PutOutcome[]> {
    const [own, behind] = await Promise.all([this.#finishOwn(), this.#finishChain()])
    return [own, ...behind]
  }

  /** Outcomes of a put that failed as a whole. */
  failed(error: FsError): PutOutcome[] {
    return [this.#node, ...this.#chain.map(({ node }) => node)].map(node => failureOf(node, error))
  }

  /** Gives the block up; nothing is kept. */
  abort(): void {
    this.#own?.abandon()
    this.#own = undefined
    this.#forward?.cancel()
    this.#forward = undefined
  }

  #startChain(begin: PutBegin, verifyId: boolean): void {
    const [next, ...rest] = this.#chain
    if (next === undefined) return
    const { authority, peers, peerPatienceMs } = this.#parts
    const cluster = authority.membership?.cluster ?? new Uint8Array(0)
    const { id, length, checksums } = this.#claim
    // What this node does not verify itself, the next must.
    const onward = { block: { id: blockIdToBytes(id), length, checksums }, grant: next.grant, chain: rest }
    const patienceMs = patienceFor(this.#chain.length, begin.patienceMs, peerPatienceMs)
    this.#forward = peers
      .to(next.address, cluster)
      .put({ ...onward, verifyId: begin.verifyId && !verifyId, patienceMs })
    this.#forward.outcomes.catch((error: unknown) => {
      this.#forwardError = FsError.from(error)
      this.#forward = undefined
    })
  }

  async #write(data: Uint8Array): Promise<void> {
    const own = this.#own
    if (own === undefined) return
    try {
      await own.append(data)
    } catch (error) {
      this.#ownError ??= FsError.from(error)
      this.#parts.store.noteFailure(this.#ownError)
      if (this.#own === own) this.#own = undefined
      own.abandon()
    }
  }

  async #finishOwn(): Promise<PutOutcome> {
    const own = this.#own
    this.#own = undefined
    if (own === undefined || this.#grant === undefined)
      return failureOf(this.#node, this.#ownError ?? new FsError('EIO', 'block was not stored'))
    try {
      const generation = await own.commit(this.#grant.generation)
      const receipt = this.#parts.authority.receipt(this.#grant, this.#claim, generation)
      return { node: this.#node, index: 0, receipt, error: undefined }
    } catch (error) {
      return failureOf(this.#node, FsError.from(error))
    }
  }

  async #finishChain(): Promise<PutOutcome[]> {
    if (this.#chain.length === 0) return []
    if (this.#forward === undefined) return this.#brokenChain(this.#forwardError)
    try {
      const outcomes = await this.#forward.outcomes
      const of = new Map(outcomes.map(outcome => [outcome.node, outcome]))
      return this.#chain.map(
        ({ node }) => of.get(node) ?? failureOf(node, new FsError('EIO', 'the node before it does not tell')),
      )
    } catch (error) {
      return this.#brokenChain(FsError.from(error))
    }
  }

  /** Only the node that broke is to blame, if one is: what is behind it was not tried. */
  #brokenChain(error: FsError | undefined): PutOutcome[] {
    return this.#chain.map(({ node }, index) =>
      failureOf(
        node,
        index === 0 && error !== undefined
          ? error
          : new FsError('ECANCELED', 'block was not passed on to it'),
      ),
    )
  }
}

/** This node's copy on its way: a file, or, of a small block, memory. Room is promised to it until it ends. */
class OwnCopy {
  readonly #store: BlockStore
  readonly #claim: BlockClaim
  readonly #file: IncomingFile | undefined
  readonly #rowData: Uint8Array[] = []
  readonly #bytes: number
  #ended = false

  /** Throws when there is no room. */
  constructor(store: BlockStore, claim: BlockClaim) {
    this.#store = store
    this.#claim = claim
    this.#bytes = storedBytes(claim.length)
    store.space.promise(this.#bytes)
    this.#file = isSmall(claim.length) ? undefined : store.receive()
  }

  async append(data: Uint8Array): Promise<void> {
    if (this.#file === undefined) this.#rowData.push(data)
    else await this.#file.append(data)
  }

  /** Resolves with the stored generation. */
  async commit(generation: bigint): Promise<bigint> {
    try {
      return this.#file === undefined
        ? await this.#store.putRow(this.#claim, generation, Buffer.concat(this.#rowData))
        : await this.#store.putFile(this.#claim, generation, this.#file)
    } finally {
      this.#end()
    }
  }

  abandon(): void {
    void this.#file?.discard()
    this.#end()
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#store.space.settle(this.#bytes)
  }
}

/**
 * How long a node waits for the `behind` nodes that follow it: an equal share for each, and one for itself, of what
 * its sender waits (0: unknown). So each of a chain gives up before who waits for it, and names who did not answer:
 * else the first, which is well, would be taken for the one that hangs.
 */
export function patienceFor(behind: number, senderMs: number, perNodeMs: number): number {
  const most = perNodeMs * behind
  return senderMs === 0 ? most : Math.min(most, Math.ceil((senderMs * behind) / (behind + 1)))
}

export function failureOf(node: bigint, error: FsError, index = 0): PutOutcome {
  return { node, index, receipt: undefined, error: { errno: error.errno, message: error.message } }
}
