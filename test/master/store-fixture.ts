import BetterSqlite3 from 'better-sqlite3'
import { createHash } from 'node:crypto'
import { FsError } from '#src/core/errors.ts'
import { generation, nodeId, rootIno, type Ino, type SessionId } from '#src/core/ids.ts'
import { nameFromText, nameToBytes } from '#src/core/name.ts'
import type { CommandContext, QueryContext, QueryOp, Result } from '#src/master/namespace/context.ts'
import type { CommandOp } from '#src/wire/commands.ts'
import { executeCommand } from '#src/master/namespace/execute-command.ts'
import { executeQuery } from '#src/master/namespace/execute-query.ts'
import { type StoreOptions, Store } from '#src/master/store/store.ts'
import type { Attr } from '#src/wire/gen/cairn/v1/common.ts'
import {
  CloneRange,
  Commit,
  Create,
  Link,
  PunchRange,
  Rename,
  SetAttr,
  SetXattr,
  Unlink,
} from '#src/wire/gen/cairn/v1/session.ts'

export const bytes = (text: string): Buffer => nameToBytes(nameFromText(text))

export const format = {
  cluster: Buffer.alloc(16, 7),
  blockBytes: 65536,
  copies: 2,
  minCopies: 1,
  created: 1_000n,
}

/** Only what is not the default. */
type Some<T> = Partial<T>

/** A store in memory with two nodes and two sessions, driven as the engine drives it. */
export class Fixture implements Disposable {
  readonly store: Store
  time = 1_000_000n
  session = 1n as SessionId
  /** Sessions that are said to have an inode open. */
  readonly openIn = new Map<bigint, SessionId[]>()
  /** Ids of blocks that have to be put again, in hex. */
  readonly lost = new Set<string>()
  space = Number.MAX_SAFE_INTEGER

  constructor(options?: StoreOptions) {
    this.store = Store.format(new BetterSqlite3(':memory:'), format, options)
    this.store.transaction(() => {
      for (let i = 0; i < 2; i += 1) {
        this.#addSession()
        this.#addNode()
      }
      for (let i = 0; i < 10; i += 1) this.store.counters.issue('generation')
    })
  }

  get ctx(): CommandContext {
    return {
      session: this.session,
      time: this.time,
      dedupDomain: new Uint8Array(0),
      verify: stored => {
        if (this.lost.has(Buffer.from(stored.id).toString('hex'))) return 'again'
        if (stored.key !== 0n) return []
        return [1n, 2n].map(node => ({ node: nodeId(node), generation: generation(3n) }))
      },
      mayHold: () => true,
      openIn: ino => this.openIn.get(ino) ?? [],
      hasSpace: bytesWanted => bytesWanted <= this.space,
    }
  }

  /** One command in a transaction of its own. */
  run(op: CommandOp): Result {
    return this.store.transaction(() => this.store.savepoint(() => executeCommand(this.store, op, this.ctx)))
  }

  ask(op: QueryOp): Result {
    const ctx: QueryContext = {
      isSettled: () => true,
      locations: () => [{ node: 1n, address: 'a:1', zone: '', host: 'h' }],
      tokens: () => ({ until: 1n, make: block => Buffer.from(block.subarray(0, 4)) }),
      space: () => ({ totalBytes: 100n, availableBytes: 50n }),
    }
    return executeQuery(this.store, op, ctx)
  }

  /** The errno of a command that must fail, and leaves nothing behind. */
  fails(op: CommandOp): string {
    const before = this.store.db.serialize()
    try {
      this.run(op)
    } catch (thrown) {
      if (!(thrown instanceof FsError)) throw thrown
      if (!before.equals(this.store.db.serialize())) this.#compareTables(before)
      return thrown.code
    }
    return 'none'
  }

  create(parent: bigint, name: string, mode: number, more: Some<Create> = {}): { attr: Attr; parent: Attr } {
    const value = this.createOp(parent, name, mode, more)
    return entryOf(this.run(value))
  }

  createOp(
    parent: bigint,
    name: string,
    mode: number,
    more: Some<Create> = {},
  ): CommandOp & { $case: 'create' } {
    const value = Create.fromPartial({ parent, name: bytes(name), mode, exclusive: true, ...more })
    return { $case: 'create', value }
  }

  link(ino: bigint, parent: bigint, name: string): { attr: Attr; parent: Attr } {
    return entryOf(this.run(this.linkOp(ino, parent, name)))
  }

  linkOp(ino: bigint, parent: bigint, name: string): CommandOp & { $case: 'link' } {
    return { $case: 'link', value: Link.fromPartial({ ino, parent, name: bytes(name) }) }
  }

  unlinkOp(parent: bigint, name: string, more: Some<Unlink> = {}): CommandOp & { $case: 'unlink' } {
    return { $case: 'unlink', value: Unlink.fromPartial({ parent, name: bytes(name), ...more }) }
  }

  unlink(
    parent: bigint,
    name: string,
    more: Some<Unlink> = {},
  ): { attr: Attr; parent: Attr; orphaned: boolean } {
    const result = this.run(this.unlinkOp(parent, name, more))
    if (result.$case !== 'remove') throw new Error(result.$case)
    return result.value as { attr: Attr; parent: Attr; orphaned: boolean }
  }

  renameOp(
    from: readonly [bigint, string],
    to: readonly [bigint, string],
    more: Some<Rename> = {},
  ): CommandOp & { $case: 'rename' } {
    const target = this.store.dirents.find(to[0], bytes(to[1]))?.ino ?? 0n
    const value = Rename.fromPartial({
      parent: from[0],
      name: bytes(from[1]),
      newParent: to[0],
      newName: bytes(to[1]),
      expectedTarget: target,
      ...more,
    })
    return { $case: 'rename', value }
  }

  setAttrOp(ino: bigint, change: Some<SetAttr>): CommandOp & { $case: 'setAttr' } {
    return { $case: 'setAttr', value: SetAttr.fromPartial({ ino, ...change }) }
  }

  setAttr(ino: bigint, change: Some<SetAttr>): Attr {
    return attrOf(this.run(this.setAttrOp(ino, change)))
  }

  setXattrOp(
    ino: bigint,
    name: string,
    value: Uint8Array,
    more: Some<SetXattr> = {},
  ): CommandOp & { $case: 'setXattr' } {
    return {
      $case: 'setXattr',
      value: SetXattr.fromPartial({ ino, name: bytes(name), value: Buffer.from(value), ...more }),
    }
  }

  getXattr(ino: bigint, name: string): Buffer | undefined {
    return this.store.xattrs.get(ino, bytes(name))
  }

  commitOp(
    ino: bigint,
    extents: readonly { offset: number; length: number; content: string; blockOffset?: number }[],
    more: Some<Commit> = {},
  ): CommandOp & { $case: 'commit' } {
    const contents = [...new Set(extents.map(extent => extent.content))]
    const value = Commit.fromPartial({
      ino,
      extents: extents.map(({ offset, length, content, blockOffset }) => ({
        offset: BigInt(offset),
        length: BigInt(length),
        block: contents.indexOf(content),
        blockOffset: blockOffset ?? 0,
      })),
      blocks: contents.map(content => ({ id: blockId(content), length: content.length })),
      ...more,
    })
    return { $case: 'commit', value }
  }

  commit(...args: Parameters<Fixture['commitOp']>): Extract<Result, { $case: 'commit' }>['value'] {
    const result = this.run(this.commitOp(...args))
    if (result.$case !== 'commit') throw new Error(result.$case)
    return result.value
  }

  cloneOp(value: Some<CloneRange>): CommandOp & { $case: 'cloneRange' } {
    return { $case: 'cloneRange', value: CloneRange.fromPartial(value) }
  }

  punchOp(value: Some<PunchRange>): CommandOp & { $case: 'punchRange' } {
    return { $case: 'punchRange', value: PunchRange.fromPartial(value) }
  }

  attr(ino: bigint): Attr {
    return attrOf(this.ask({ $case: 'getAttr', value: { ino } }))
  }

  lookup(parent: bigint, name: string): Attr | undefined {
    const result = this.ask({ $case: 'lookup', value: { parent, name: bytes(name) } })
    if (result.$case !== 'entry') throw new Error(result.$case)
    return result.value.attr
  }

  list(ino: bigint): string[] {
    const result = this.ask({
      $case: 'readDir',
      value: { ino, after: 0n, limit: 0, attrs: false, removing: false },
    })
    if (result.$case !== 'readDir') throw new Error(result.$case)
    return result.value.entries.map(entry => Buffer.from(entry.name).toString())
  }

  readonly root: Ino = rootIno;

  [Symbol.dispose](): void {
    this.store.close()
  }

  #addSession(): void {
    const id = this.store.sessions.issueId()
    this.store.sessions.began({
      id,
      epoch: 1n,
      secret: Buffer.alloc(8),
      host: 'h',
      mountpoint: '/m',
      pid: 1,
      program: 'p',
      zone: '',
      readOnly: false,
      started: 1n,
      acked: 0n,
      identity: '',
      export: '',
      domain: new Uint8Array(0),
    })
  }

  #addNode(): void {
    const id = this.store.nodes.issueId()
    this.store.nodes.registered({
      id,
      store: Buffer.from(id.toString()),
      key: Buffer.alloc(32),
      incarnation: 1n,
      address: 'a:1',
      zone: '',
      host: 'h',
      totalBytes: 1e12,
      usedBytes: 0,
      knownSequence: 0n,
      seen: 1n,
      draining: false,
      identity: '',
    })
  }

  /** Pages may differ where rows do not (the counters of a rolled back command may not). */
  #compareTables(before: Buffer): void {
    const old = new BetterSqlite3(before)
    try {
      const tables = old
        .prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'table'")
        .pluck()
        .all()
      for (const table of tables) {
        if (table === 'counters') continue
        const sql = `SELECT * FROM ${table}`
        const [then, now] = [old, this.store.db].map(db => JSON.stringify(db.prepare(sql).raw().all()))
        if (then !== now) throw new Error(`a failed command changed ${table}`)
      }
    } finally {
      old.close()
    }
  }
}

export const blockId = (content: string): Buffer => createHash('sha256').update(content).digest()

function entryOf(result: Result): { attr: Attr; parent: Attr } {
  if (result.$case !== 'entry') throw new Error(result.$case)
  return result.value as { attr: Attr; parent: Attr }
}

export function attrOf(result: Result): Attr {
  if (result.$case !== 'attr' && result.$case !== 'clone') throw new Error(result.$case)
  return result.value.attr as Attr
}
