import type { Checksums } from '../../core/checksum.ts'
import type { Env, Log } from '../../core/env.ts'
import { FsError, messageOf, UsageError } from '../../core/errors.ts'
import type { BlockId } from '../../core/ids.ts'
import { pieceBytes } from '../../core/limits.ts'
import type { Disk } from '../disk/disk.ts'
import type { BlockIndex } from './block-index.ts'
import { type BlockReader, FileReader, RowReader } from './block-reader.ts'
import type { BlockClaim } from './block-verifier.ts'
import { DamageList } from './damage.ts'
import { IncomingFile } from './incoming-file.ts'
import { type BlockRow, place, type StoreIdentity, type Totals, type UnprovenFile } from './index-protocol.ts'
import { KeptReaders } from './kept-readers.ts'
import { KeyedMutex } from './keyed-mutex.ts'
import { folderOf, pathOf, proofPathOf, temporaryFolder } from './layout.ts'
import { PopularBlocks } from './popular-blocks.ts'
import { clusterOf, noteCluster, proveFolder, refuseOther, whatOfProof } from './proof.ts'
import { adoptedGeneration, readFound, recoverStore } from './recover-store.ts'
import { Space, type SpaceOptions } from './space.ts'

export interface StoreOptions extends SpaceOptions {
  readonly env: Env
  readonly disk: Disk
  readonly index: BlockIndex
  readonly checksums: Checksums
  /** The folder as other processes of this machine see it, if they may read the files of blocks. */
  readonly sharedAs?: string | undefined
  /** There are files of blocks and no index: it is made from them, as that of a new store. */
  readonly rebuild?: boolean
  /** The folder was emptied or exchanged while it was in use: the store is out of service. Called once. */
  readonly gone?: (why: UsageError) => void
}

/** How a process of this machine finds the files of blocks, and knows that it sees the same folder. */
export interface SharedFolder {
  readonly folder: string
  readonly proofFile: string
  readonly proof: Uint8Array
}

/** How much is read at a time to verify a stored block. */
const verifyBytes = 16 * pieceBytes
const vacuumPages = 256
/** After so many rounds of housekeeping without a change the disk is tried. */
const quietRoundsMax = 5
/** Who reads less than this at a time most likely comes again. */
const keptReadBytes = 4 * pieceBytes

/**
 * The blocks of one disk. Small ones are rows of the index, larger ones files:
 *
 *   temporary file, its bytes synced → renamed to its id → folder synced → row committed → receipt
 *   row removed, name noted as unlinked → file unlinked → (later) folder synced → note removed
 *
 * The row decides: a crash between any two steps leaves a file without a row, which the next opening
 * adopts, or keeps unused until the master proves it (a dedup domain), never a row without its file.
 */
export class BlockStore {
  readonly damages = new DamageList()
  /** Files without a row that the opening kept, since it could not prove them: see recoverStore and `adopt`. */
  readonly unproven = new Map<BlockId, UnprovenFile>()
  readonly space: Space
  readonly #disk: Disk
  readonly #index: BlockIndex
  readonly #checksums: Checksums
  readonly #log: Log
  readonly #locks = new KeyedMutex<BlockId>()
  readonly #changed = new Set<() => void>()
  readonly #popular = new PopularBlocks()
  readonly #readers = new KeptReaders()
  /** Unlinked, but perhaps not yet on stable storage. */
  #unlinked: BlockId[] = []
  /** Temporary files, and blocks without a row, whose files a failing disk would not remove. */
  readonly #abandoned = new Set<string>()
  readonly #stuck = new Set<BlockId>()
  #vacuum = false
  #quietRounds = 0
  #identity: StoreIdentity
  #totals: Totals
  #temporaries = 0
  #scrubbed: BlockId | undefined
  #shared: SharedFolder | undefined
  readonly #onGone: (why: UsageError) => void
  #gone: FsError | undefined

  /** Recovers what a crash left. Rejects with a UsageError for a folder that must not be used. */
  static async open(options: StoreOptions): Promise<BlockStore> {
    const opened = await options.index.ask('open', { store: new Uint8Array(options.env.random.bytes(16)) })
    const store = new BlockStore(options, opened)
    store.#scrubbed = opened.scrubbed
    if (!opened.fresh) await refuseOther(options.disk, store.#identity.store)
    await recoverStore({
      ...options,
      opened,
      rebuild: options.rebuild === true,
      damages: store.damages,
      unproven: store.unproven,
      log: store.#log,
    })
    await proveFolder(options.disk, store.#identity.store)
    await store.#knowCluster()
    store.#totals = await options.index.ask('totals', {})
    store.space.usedBytes = store.#totals.bytes
    await store.space.refresh()
    if (options.sharedAs !== undefined) await store.#share(options.sharedAs, options.env.random.bytes(16))
    return store
  }

  private constructor(options: StoreOptions, opened: { identity: StoreIdentity; totals: Totals }) {
    this.#disk = options.disk
    this.#index = options.index
    this.#checksums = options.checksums
    this.#log = options.env.log.child({ part: 'blocks' })
    this.#identity = opened.identity
    this.#totals = opened.totals
    this.#onGone = options.gone ?? (() => undefined)
    this.space = new Space(options.disk, opened.totals.bytes, options)
  }

  /** Where else something may be kept than blocks. */
  get disk(): Disk {
    return this.#disk
  }

  get identity(): StoreIdentity {
    return this.#identity
  }

  /** The folder was emptied or exchanged while it was in use. */
  get isGone(): boolean {
    return this.#gone !== undefined
  }

  /** Undefined where only this process reads the files. */
  get shared(): SharedFolder | undefined {
    return this.#shared
  }

  /** Transactions of the index so far, each with one sync. */
  get indexSyncs(): number {
    return this.#index.syncs
  }

  get totals(): Totals {
    return this.#totals
  }

  /** For questions about changes, digests and listings. */
  get index(): Pick<BlockIndex, 'ask'> {
    return this.#index
  }

  /** The last block that the scrubber has seen, also across restarts. */
  get scrubbed(): BlockId | undefined {
    return this.#scrubbed
  }

  /** Calls back after changes were committed. */
  onChange(callback: () => void): () => void {
    this.#changed.add(callback)
    return () => this.#changed.delete(callback)
  }

  /** The master accepted this store. */
  async join(cluster: Uint8Array, node: bigint): Promise<void> {
    const own = new Uint8Array(cluster)
    await noteCluster(this.#disk, own)
    await this.#index.ask('join', { cluster: own, node })
    this.#identity = { ...this.#identity, cluster: own, node }
  }

  /** Stores a small block whose bytes were verified. Resolves with the generation that is on stable storage. */
  async putRow(claim: BlockClaim, generation: bigint, data: Uint8Array): Promise<bigint> {
    const { id, length, checksums } = claim
    return this.#locks.run(id, () => this.#commit({ id, generation, length, checksums, data }))
  }

  /** Begins to receive a large block; the caller verifies its bytes. */
  receive(): IncomingFile {
    const { incarnation } = this.#identity
    const path = `${temporaryFolder}/${incarnation}-${this.#temporaries++}`
    return new IncomingFile(this.#disk, path, left => this.#abandoned.add(left))
  }

  /** Stores a large block whose bytes were verified and appended. Resolves as putRow; on failure nothing is kept. */
  async putFile(claim: BlockClaim, generation: bigint, file: IncomingFile): Promise<bigint> {
    try {
      await file.finish()
      return await this.#locks.run(claim.id, () => this.#place(claim, generation, file))
    } catch (error) {
      throw this.noteFailure(error)
    } finally {
      await file.discard()
    }
  }

  /**
   * Opens a block of which `bytes` are to be read for somebody (0: they go nowhere). ENOENT if it is not
   * here, EIO if it should be and is not.
   */
  async read(id: BlockId, bytes = 0): Promise<BlockReader> {
    if (bytes === 0 || bytes > keptReadBytes) return this.#open(id, bytes)
    const suits = ({ row, once }: FileReader): boolean => once !== this.#popular.note(id, bytes, row.length)
    return this.#readers.use(id, () => this.#open(id, bytes), suits)
  }

  /** For who reads the files of blocks itself: the row of a block in a file, a reader of one in its row. */
  async readUnlessInFile(id: BlockId): Promise<BlockRow | BlockReader> {
    const found = await this.#index.ask('get', { id })
    if (found === undefined) throw absent(id)
    const { row, data } = found
    return row.place === place.row ? new RowReader(row, data ?? new Uint8Array(0)) : row
  }

  /** Tells what a read found wrong; for the master. Where the whole folder is gone, that is no news of a block. */
  noteDamage(row: BlockRow, what: string): void {
    this.#readers.drop(row.id)
    if (this.#gone !== undefined) return
    this.#log.warn('block is damaged', { block: row.id, what })
    this.damages.add({ id: row.id, generation: row.generation, what })
  }

  /** Whether the bytes of a stored block match its checksums. ENOENT and EIO as `read`. */
  async verify(reader: BlockReader, pace?: (bytes: number) => Promise<void>): Promise<boolean> {
    const { id, length, checksums } = reader.row
    for (let at = 0; at < length; at += verifyBytes) {
      const { bytes, release } = await reader.read(at, Math.min(verifyBytes, length - at))
      const count = bytes.length
      const first = at / pieceBytes
      const expected = checksums.subarray(first * 8, (first + Math.ceil(count / pieceBytes)) * 8)
      const wrong = this.#checksums.mismatch(id, bytes, expected, first)
      release()
      if (wrong !== -1) return false
      await pace?.(count)
    }
    return true
  }

  /** Removes exactly this instance; another one, or none, is no error. */
  async remove(id: BlockId, generation: bigint): Promise<void> {
    await this.#locks.run(id, async () => {
      const { removed, unlink, totals } = await this.#index
        .ask('remove', { id, generation })
        .catch((error: unknown) => {
          throw this.noteFailure(error)
        })
      if (!removed) return
      this.#count(totals)
      this.damages.delete(id)
      this.#readers.drop(id)
      this.#vacuum ||= !unlink
      if (unlink) await this.#unlink(id)
    })
  }

  /**
   * The master says that the unproven file is the block that it is named by, with the content that `unproven` says. It is read
   * once more: what has another content by now is kept as it was. Resolves with whether the block is stored.
   */
  async adopt(id: BlockId): Promise<boolean> {
    return this.#locks.run(id, async () => {
      const kept = this.unproven.get(id)
      if (kept === undefined) return false
      const found = await readFound({ disk: this.#disk, checksums: this.#checksums }, id)
      if (found?.sha256 !== kept.sha256) {
        this.#log.warn('file without a row has changed: it is kept, unused', { file: pathOf(id) })
        return false
      }
      const { length, checksums } = found
      await this.#commit({ id, generation: adoptedGeneration, length, checksums, data: undefined })
      this.unproven.delete(id)
      this.#log.info('block without a row was adopted by the word of the master', { block: id })
      return true
    })
  }

  /** Remembers where the scrubber is. */
  async setScrubbed(id: BlockId | undefined): Promise<void> {
    this.#scrubbed = id
    await this.#index.ask('scrubbed', { id })
  }

  /**
   * Housekeeping, to be called every few seconds: free space, a failed disk, what deletions left. `moved` hears of each
   * answer of the disk, for who wants to know whether it hangs.
   */
  async maintain(moved: () => void = () => undefined): Promise<void> {
    this.#readers.sweep()
    await this.#prove()
    await this.space.refresh()
    if (this.space.failure !== undefined && this.#gone === undefined) await this.#probe()
    else if (this.#quietRounds++ >= quietRoundsMax) await this.#tryWriting()
    moved()
    if (this.space.failure === undefined) await this.#clearAway(moved)
    await this.#forgetUnlinked(moved)
    if (this.#vacuum) this.#vacuum = (await this.#index.ask('vacuum', { pages: vacuumPages })) > 0
  }

  /** In order: the next opening need not compare folder and index, unless a file is left that has no row. */
  async close(): Promise<void> {
    await this.#locks.idle()
    await this.#readers.close()
    await this.#unshare()
    await this.#forgetUnlinked(() => undefined)
    if (this.#stuck.size === 0) await this.#index.closeInOrder()
    else await this.#index.close()
  }

  async #open(id: BlockId, bytes: number): Promise<BlockReader> {
    const found = await this.#index.ask('get', { id })
    if (found === undefined) throw absent(id)
    if (found.row.place === place.row) return new RowReader(found.row, found.data ?? new Uint8Array(0))
    const once = !this.#popular.note(id, bytes, found.row.length)
    try {
      return new FileReader(found.row, await this.#disk.open(pathOf(id), once), once)
    } catch (error) {
      return this.#missing(found.row, error)
    }
  }

  /**
   * The folder says whose it is, too: of an index that was made anew the master of another cluster, to which the node is
   * started by mistake, would have all blocks removed, as none of its own.
   */
  async #knowCluster(): Promise<void> {
    const { cluster, node } = this.#identity
    if (cluster.length > 0) {
      // Of a store of an older version. A full disk must not keep it from being opened.
      await noteCluster(this.#disk, cluster).catch((error: unknown) =>
        this.#log.warn('the folder does not say of which cluster it is', { error: messageOf(error) }),
      )
      return
    }
    const noted = await clusterOf(this.#disk)
    if (noted !== undefined) await this.join(noted, node)
  }

  /** Puts the proof into the folder; without it nobody else reads there. */
  async #share(folder: string, proof: Uint8Array): Promise<void> {
    const proofFile = proofPathOf(this.#identity.incarnation)
    try {
      const file = await this.#disk.create(proofFile)
      try {
        await file.append(proof)
        await file.datasync()
      } finally {
        await file.close()
      }
      this.#shared = { folder, proofFile, proof }
    } catch (error) {
      this.#log.warn('mounts of this machine cannot read block files by themselves', {
        error: messageOf(error),
      })
    }
  }

  async #unshare(): Promise<void> {
    const shared = this.#shared
    this.#shared = undefined
    try {
      if (shared !== undefined) await this.#disk.unlink(shared.proofFile)
    } catch (error) {
      // The next opening empties the folder.
      this.#log.debug('the proof of this start stays', { error: messageOf(error) })
    }
  }

  async #place(claim: BlockClaim, generation: bigint, file: IncomingFile): Promise<bigint> {
    const { id, length, checksums } = claim
    if (!(await this.#holds(claim))) {
      await file.place(pathOf(id))
      // Until it has a row. One that was kept before stays without one, too.
      if (!this.unproven.has(id)) this.#stuck.add(id)
      await this.#disk.syncFolder(folderOf(id))
    }
    const stored = await this.#commit({ id, generation, length, checksums, data: undefined })
    this.#stuck.delete(id)
    this.unproven.delete(id)
    return stored
  }

  /** A stored copy that is right is kept, so that a repeated put costs no second write. */
  async #holds({ id, checksums }: BlockClaim): Promise<boolean> {
    const row = await this.#index.ask('lookup', { id })
    if (row?.place !== place.file || Buffer.compare(row.checksums, checksums) !== 0) return false
    try {
      const reader = new FileReader(row, await this.#disk.open(pathOf(id), true), true)
      try {
        return await this.verify(reader)
      } finally {
        await reader.close()
      }
    } catch (error) {
      this.#log.warn('stored block cannot be read and is written anew', {
        block: id,
        error: messageOf(error),
      })
      return false
    }
  }

  async #commit(
    put: BlockClaim & { generation: bigint; checksums: Uint8Array; data: Uint8Array | undefined },
  ): Promise<bigint> {
    try {
      const { generation, totals } = await this.#index.ask('put', put)
      this.damages.delete(put.id)
      this.#readers.drop(put.id)
      this.#count(totals)
      return generation
    } catch (error) {
      throw this.noteFailure(error)
    }
  }

  async #unlink(id: BlockId): Promise<void> {
    try {
      await this.#disk.unlink(pathOf(id))
    } catch (error) {
      // The row is gone, which is what counts; the note makes the next opening try again.
      if (FsError.from(error).code !== 'ENOENT') {
        this.#stuck.add(id)
        this.#log.warn('file of a removed block stays for now', { block: id, error: messageOf(error) })
        return
      }
    }
    this.#unlinked.push(id)
  }

  /** Removes what a failing disk would not remove when its time had come. */
  async #clearAway(moved: () => void): Promise<void> {
    for (const path of [...this.#abandoned]) {
      await this.#disk.unlink(path).catch((error: unknown) => {
        if (FsError.from(error).code !== 'ENOENT') throw error
      })
      this.#abandoned.delete(path)
      moved()
    }
    for (const id of [...this.#stuck]) {
      await this.#locks.run(id, async () => {
        // A put that was under way has come to its end, or another one has stored it since.
        const row = await this.#index.ask('lookup', { id })
        if (this.#stuck.delete(id) && row === undefined) await this.#unlink(id)
      })
      moved()
    }
  }

  async #forgetUnlinked(moved: () => void): Promise<void> {
    const gone = this.#unlinked
    if (gone.length === 0) return
    this.#unlinked = []
    try {
      for (const folder of new Set(gone.map(folderOf))) {
        await this.#disk.syncFolder(folder)
        moved()
      }
      await Promise.all(gone.map(id => this.#index.ask('forgetUnlinked', { id }).then(moved)))
    } catch (error) {
      this.#unlinked.push(...gone)
      throw error
    }
  }

  async #missing(row: BlockRow, error: unknown): Promise<never> {
    const { code } = FsError.from(error)
    if (code === 'ENOENT') await this.#prove()
    const still = await this.#index.ask('lookup', { id: row.id })
    if (still === undefined) throw absent(row.id)
    // Anything else (too many files, say) is no fault of the block.
    if (code === 'ENOENT' || code === 'EIO')
      this.noteDamage(still, `its file cannot be opened: ${messageOf(error)}`)
    throw new FsError('EIO', `block ${row.id} cannot be opened: ${messageOf(error)}`, { cause: error })
  }

  /** Whether the disk takes writes again. */
  async #probe(): Promise<void> {
    try {
      await this.#writeSome()
      this.space.recovered()
      this.#log.info('disk takes writes again')
    } catch (error) {
      this.#log.debug('disk still fails', { error: messageOf(error) })
    }
  }

  /** A disk that nobody writes to may have turned read-only: the master is to know before it counts on it. */
  async #tryWriting(): Promise<void> {
    this.#quietRounds = 0
    await this.#writeSome().catch((error: unknown) => this.noteFailure(error))
  }

  async #writeSome(): Promise<void> {
    const file = this.receive()
    try {
      await file.append(Buffer.alloc(4096))
      await file.finish()
      await this.setScrubbed(this.#scrubbed)
    } finally {
      await file.discard()
    }
  }

  /** What the disk answered to a write: if it takes none any more, no puts are taken until it does. */
  noteFailure(error: unknown): FsError {
    const failure = FsError.from(error)
    const before = this.space.failure
    this.space.failed(failure)
    if (before === undefined && this.space.failure !== undefined)
      this.#log.error('the disk takes no writes: out of service for new blocks, reads go on', {
        error: failure.message,
      })
    return failure
  }

  /** Looks whether the folder is still the one that was opened. */
  async #prove(): Promise<void> {
    if (this.#gone !== undefined) return
    let found: Awaited<ReturnType<typeof whatOfProof>>
    try {
      found = await whatOfProof(this.#disk, this.#identity.store)
    } catch (error) {
      this.noteFailure(error)
      return
    }
    if (found === 'right') return
    const what = `the folder was ${found === 'missing' ? 'emptied or unmounted' : 'exchanged'} while it was in use`
    this.#gone = new FsError('EIO', what)
    this.space.failed(this.#gone)
    this.#onGone(new UsageError(what))
  }

  #count(totals: Totals): void {
    this.#quietRounds = 0
    // Answers come in the order of the commits.
    this.#totals = totals
    this.space.usedBytes = totals.bytes
    for (const callback of this.#changed) callback()
  }
}

function absent(id: BlockId): FsError {
  return new FsError('ENOENT', `block ${id} is not here`)
}
