import type { Attr } from '#src/core/attr.ts'
import { type ErrnoName, FsError } from '#src/core/errors.ts'
import { blockIdToBytes, type BlockId, ino, type Ino } from '#src/core/ids.ts'
import type { AttrPort, ClusterFacts, MasterPort, Result, ResultOf } from '#src/client/ports.ts'
import type { Op } from '#src/wire/commands.ts'
import type { Commit, Extent, BlockInfo } from '#src/wire/gen/cairn/v1/session.ts'
import type { Location } from '#src/wire/gen/cairn/v1/common.ts'
import { attrToWire } from '#src/wire/attr.ts'
import { toBlockId } from '#src/wire/validate.ts'
import { nsPerMs } from '#src/core/units.ts'
import { noToken } from '#src/client/read/extent-map.ts'
import { type FakeNodes, tokenFor } from './fake-nodes.ts'
import type { VirtualEnv } from './virtual-env.ts'

interface Cell {
  readonly id: BlockId
  readonly at: number
}

/** Of every byte of a file: which block, and where in it. */
class Cells {
  #ids: BlockId[] = []
  /** Index of the block plus 1; 0 in a hole. */
  #blocks = new Int32Array(0)
  #offsets = new Int32Array(0)

  get length(): number {
    return this.#blocks.length
  }

  get allocated(): number {
    return this.#blocks.reduce((sum, block) => sum + (block === 0 ? 0 : 1), 0)
  }

  /** Names of the blocks in use. */
  get blocks(): Set<BlockId> {
    return new Set(
      [...new Set(this.#blocks)].map(block => this.#ids[block - 1]).filter(id => id !== undefined),
    )
  }

  at(index: number): Cell | undefined {
    const id = this.#ids[(this.#blocks[index] ?? 0) - 1]
    return id === undefined ? undefined : { id, at: this.#offsets[index] ?? 0 }
  }

  /** End of the run of bytes from `from` on that follow each other in one block, or are a hole. */
  runEnd(from: number, to: number): number {
    const block = this.#blocks[from] ?? 0
    const offset = (this.#offsets[from] ?? 0) - from
    let end = from + 1
    const stop = Math.min(to, this.length)
    while (end < stop && this.#blocks[end] === block && (block === 0 || this.#offsets[end] === offset + end))
      end++
    return end
  }

  set(from: number, to: number, id: BlockId, at: number): void {
    this.#grow(to)
    let block = this.#ids.indexOf(id) + 1
    if (block === 0) block = this.#ids.push(id)
    this.#blocks.fill(block, from, to)
    for (let i = from; i < to; i++) this.#offsets[i] = at + i - from
  }

  clear(from: number, to: number): void {
    this.#blocks.fill(0, from, to)
  }

  truncate(size: number): void {
    this.#blocks = this.#blocks.slice(0, size)
    this.#offsets = this.#offsets.slice(0, size)
  }

  #grow(size: number): void {
    if (size <= this.length) return
    const [blocks, offsets] = [this.#blocks, this.#offsets]
    this.#blocks = new Int32Array(size)
    this.#offsets = new Int32Array(size)
    this.#blocks.set(blocks)
    this.#offsets.set(offsets)
  }
}

interface FakeFile {
  size: number
  mtime: bigint
  readonly cells: Cells
}

export interface MasterFaults {
  planFails: number
  commitFails: number
  again: number
  maxDelayMs: number
}

const commands = new Set(['commit'])

/** A master in memory that keeps every byte's place, with delays and faults. */
export class FakeMaster implements MasterPort, AttrPort {
  facts: ClusterFacts
  identity = { session: 1n, epoch: 1n }
  readonly faults: MasterFaults
  readonly files = new Map<Ino, FakeFile>()
  readonly blocks = new Map<BlockId, { key: bigint; length: number; nodes: Set<bigint> }>()
  readonly calls: Op['$case'][] = []
  readonly commits: Commit[] = []
  /** Thrown by questions for the extents of many files. */
  extentsFail: FsError | undefined
  /** Files of which nothing is told ahead. */
  readonly left = new Set<bigint>()
  readonly damage: bigint[] = []
  /** How long the right to read a block lasts. */
  tokenMs = 600_000
  spaceBytes = Number.MAX_SAFE_INTEGER
  usedBytes = 0
  diskFull = false
  /** Whether this mount holds write leases. */
  alone = true
  /** Answered to a plan when too few nodes are up. */
  tooFew: ErrnoName = 'EIO'
  /** What a plan for these inodes is refused with. */
  refusePlan: (inos: readonly Ino[]) => FsError | undefined = () => undefined
  /** Thrown by the next commits. */
  commitError: FsError | undefined
  readonly #env: VirtualEnv
  readonly #random: () => number
  readonly #nodes: FakeNodes
  readonly #known = new Map<Ino, Attr>()
  #lastCommandAt = 0
  /** Replies to commands leave in the order of their execution. */
  #lastReplyAt = 0
  #keys = 0n

  readonly rules = { noShortCircuit: false }

  constructor(
    env: VirtualEnv,
    random: () => number,
    nodes: FakeNodes,
    blockBytes: number,
    faults: MasterFaults,
  ) {
    this.#env = env
    this.#random = random
    this.#nodes = nodes
    this.faults = faults
    this.facts = {
      ...{ version: 2, cluster: new Uint8Array(16), blockBytes, copies: 3, minCopies: 2 },
      dedupDomain: new Uint8Array(0),
    }
  }

  /** Keys of tokens: the nodes know the latest alone. */
  get tokenEra(): number {
    return this.#nodes.tokenEra
  }

  get #tokensUntil(): bigint {
    return this.time() + BigInt(this.tokenMs) * nsPerMs
  }

  time(): bigint {
    return this.#env.clock.wall()
  }

  async call<Case extends Result['$case']>(op: Op, expect: Case): Promise<ResultOf<Case>> {
    this.calls.push(op.$case)
    let delay = this.#random() * this.faults.maxDelayMs
    if (commands.has(op.$case)) {
      const at = Math.max(this.#lastCommandAt, this.#env.nowMs + delay)
      this.#lastCommandAt = at
      delay = at - this.#env.nowMs
    }
    await this.#env.timers.sleep(delay)
    let result: Result | FsError
    try {
      result = this.#execute(op)
    } catch (thrown) {
      result = FsError.from(thrown)
    }
    await this.#reply(commands.has(op.$case))
    if (result instanceof FsError) throw result
    if (result.$case !== expect) throw new Error(`expected ${expect}, got ${result.$case}`)
    return result.value as ResultOf<Case>
  }

  committed(number: Ino): Attr {
    return this.#known.get(number) ?? this.attrOf(number)
  }

  latest(resolved: Attr): Attr {
    return this.#known.get(resolved.ino) ?? resolved
  }

  creation(): undefined {
    return undefined
  }

  noteCommitted(attr: Attr): void {
    this.#known.set(attr.ino, attr)
  }

  isAlone(): boolean {
    return this.alone
  }

  keepsPages(): boolean {
    return false
  }

  attrOf(number: Ino): Attr {
    const file = this.fileOf(number)
    const { allocated } = file.cells
    const times = { atime: 0n, mtime: file.mtime, ctime: file.mtime, btime: 0n }
    return {
      ino: number,
      mode: 0o100644,
      nlink: 1,
      uid: 0,
      gid: 0,
      rdev: 0,
      size: file.size,
      allocated,
      ...times,
    }
  }

  fileOf(number: Ino): FakeFile {
    let file = this.files.get(number)
    if (file === undefined) this.files.set(number, (file = { size: 0, mtime: 0n, cells: new Cells() }))
    return file
  }

  /** What the cluster has of a file, read from the nodes' own blocks. */
  contentOf(number: Ino): Buffer {
    const { size, cells } = this.fileOf(number)
    const content = Buffer.alloc(size)
    for (let from = 0, to = 0; from < Math.min(size, cells.length); from = to) {
      to = cells.runEnd(from, size)
      const cell = cells.at(from)
      if (cell === undefined) continue
      const holder = this.#nodes.nodes.find(node => node.blocks.has(cell.id))
      holder?.blocks.get(cell.id)?.copy(content, from, cell.at, cell.at + to - from)
    }
    return content
  }

  async truncate(number: Ino, size: number): Promise<void> {
    await this.#command(number, () => {
      const file = this.fileOf(number)
      file.size = size
      file.cells.truncate(size)
    })
  }

  async punch(number: Ino, from: number, to: number): Promise<void> {
    await this.#command(number, () => {
      const { cells } = this.fileOf(number)
      cells.clear(from, to)
    })
  }

  async #command(number: Ino, apply: () => void): Promise<void> {
    const at = Math.max(this.#lastCommandAt, this.#env.nowMs + this.#random() * this.faults.maxDelayMs)
    this.#lastCommandAt = at
    await this.#env.timers.sleep(at - this.#env.nowMs)
    apply()
    await this.#reply(true)
    this.noteCommitted(this.attrOf(number))
  }

  async #reply(ordered: boolean): Promise<void> {
    const at = this.#env.nowMs + this.#random() * this.faults.maxDelayMs
    if (ordered) this.#lastReplyAt = Math.max(at, this.#lastReplyAt)
    await this.#env.timers.sleep((ordered ? this.#lastReplyAt : at) - this.#env.nowMs)
  }

  #execute(op: Op): Result {
    switch (op.$case) {
      case 'plan': {
        if (this.#random() < this.faults.planFails) throw new FsError('EAGAIN', 'no plan now')
        const refusal = this.refusePlan(op.value.blocks.map(block => ino(block.ino)))
        if (refusal !== undefined) throw refusal
        const { exclude, have } = op.value
        const others = [...exclude, ...have]
        const up = this.#nodes.nodes.filter(node => !others.includes(node.id) && !node.down)
        if (up.length + have.length < this.facts.minCopies) throw new FsError(this.tooFew, 'too few nodes')
        const targets = up.slice(0, this.facts.copies - have.length).map(node => ({
          node: node.id,
          address: node.address,
          grant: {
            node: node.id,
            generation: 1n,
            session: 1n,
            epoch: 1n,
            expiry: 0n,
            mac: new Uint8Array(32),
            dedupDomain: new Uint8Array(0),
          },
        }))
        const blocks = op.value.blocks.map(({ id }) => {
          const known = this.blocks.get(toBlockId(id))
          return {
            key: known?.key ?? 0n,
            targets: known === undefined ? targets : [],
            copies: 0,
            minCopies: 0,
          }
        })
        return {
          $case: 'plan',
          value: { blocks, copies: this.facts.copies, minCopies: this.facts.minCopies },
        }
      }
      case 'commit':
        return this.#commit(op.value)
      case 'getExtents': {
        const { ino: number, offset, length, limit } = op.value
        return this.#extents(ino(number), Number(offset), Number(offset + length), limit)
      }
      case 'getExtentsOf': {
        if (this.extentsFail !== undefined) throw this.extentsFail
        const files = op.value.inos
          .filter(number => !this.left.has(number))
          .map(number => {
            const { value } = this.#extents(ino(number), 0, this.fileOf(ino(number)).size, 1000)
            return { ino: number, extents: value }
          })
        return { $case: 'extentsOf', value: { files } }
      }
      case 'reserveSpace': {
        const free = this.spaceBytes - this.usedBytes
        if (free <= 0) throw new FsError('ENOSPC')
        const bytes = op.value.bytes < BigInt(free) ? op.value.bytes : BigInt(free)
        return { $case: 'reserveSpace', value: { bytes, freeing: false } }
      }
      case 'reportDamage':
        this.damage.push(op.value.node)
        return { $case: 'done', value: {} }
      default:
        throw new FsError('EOPNOTSUPP', op.$case)
    }
  }

  #commit(commit: Commit): Result {
    if (this.commitError !== undefined) throw this.commitError
    if (this.#random() < this.faults.commitFails) throw new FsError('ENOSPC', 'no space now')
    const again = commit.blocks.flatMap((_, index) => (this.#random() < this.faults.again ? [index] : []))
    const tokensUntil = this.#tokensUntil
    if (again.length > 0)
      return {
        $case: 'commit',
        value: { attr: undefined, again, keys: [], early: false, tokens: [], tokensUntil },
      }
    if (commit.extents.length > 1000) throw new FsError('E2BIG')
    const ids = commit.blocks.map(block => {
      const id = toBlockId(block.id)
      const known = this.blocks.get(id)
      if (block.key === 0n) {
        if (block.receipts.length < this.facts.minCopies) throw new FsError('EIO', 'too few receipts')
        for (const { node } of block.receipts)
          if (this.#nodes.nodes.find(one => one.id === node)?.blocks.has(id) !== true)
            throw new Error(`node ${node} has no ${id}`)
      } else if (known === undefined) throw new FsError('ENOENT', 'no such key')
      if (known === undefined) {
        const nodes = new Set(block.receipts.map(({ node }) => node))
        this.blocks.set(id, { key: ++this.#keys, length: block.length, nodes })
        this.usedBytes += block.length * nodes.size
      }
      return { id, length: block.length }
    })
    const file = this.fileOf(ino(commit.ino))
    let after = 0
    for (const extent of commit.extents) {
      const offset = Number(extent.offset)
      const length = Number(extent.length)
      const block = ids[extent.block]
      if (offset < after) throw new Error('extents of a commit overlap')
      if (block === undefined || length < 1 || extent.blockOffset + length > block.length)
        throw new Error('an extent reaches out of its block')
      file.cells.set(offset, offset + length, block.id, extent.blockOffset)
      after = offset + length
      file.size = Math.max(file.size, after)
    }
    if (commit.mtime !== undefined) file.mtime = commit.mtime.value
    this.commits.push(commit)
    const attr = attrToWire(this.attrOf(ino(commit.ino)))
    const tokens = ids.map(({ id }) => tokenFor(id, tokensUntil, this.tokenEra))
    return { $case: 'commit', value: { attr, again: [], keys: [], early: false, tokens, tokensUntil } }
  }

  #extents(number: Ino, from: number, to: number, limit: number): Extract<Result, { $case: 'extents' }> {
    const file = this.fileOf(number)
    const extents: Extent[] = []
    const blocks: BlockInfo[] = []
    const indexes = new Map<BlockId, number>()
    let end = to
    for (let at = from; at < Math.min(to, file.cells.length); ) {
      const cell = file.cells.at(at)
      const stop = file.cells.runEnd(at, to)
      if (cell === undefined) {
        at = stop
        continue
      }
      if (extents.length === limit) {
        end = at
        break
      }
      let index = indexes.get(cell.id)
      const info = this.#info(cell.id)
      if (index === undefined && info !== undefined) {
        indexes.set(cell.id, (index = blocks.length))
        blocks.push(info)
      }
      extents.push({ offset: BigInt(at), length: BigInt(stop - at), block: index ?? 0, blockOffset: cell.at })
      at = stop
    }
    const tokensUntil = this.#tokensUntil
    for (const block of blocks) block.token = tokenFor(toBlockId(block.id), tokensUntil, this.tokenEra)
    const value = { extents, blocks, end: BigInt(end), attr: attrToWire(this.attrOf(number)), tokensUntil }
    return { $case: 'extents', value }
  }

  #info(id: BlockId): BlockInfo | undefined {
    const block = this.blocks.get(id)
    if (block === undefined) return undefined
    const locations = [...block.nodes].map(
      (node): Location => ({ node, address: `node${node}:1`, zone: '', host: `host${node}` }),
    )
    return { key: block.key, id: blockIdToBytes(id), length: block.length, locations, token: noToken }
  }
}
