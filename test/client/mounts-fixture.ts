import Database from 'better-sqlite3'
import { createChecksums } from '#src/core/checksum.ts'
import { silentLog } from '#src/core/env.ts'
import type { Ino } from '#src/core/ids.ts'
import { type Name, nameFromText } from '#src/core/name.ts'
import { realEnv } from '#src/env/real-env.ts'
import type { Caller, NewInode, Notifier, OpenFlags } from '#src/fuse/filesystem.ts'
import { type ClientOptions, Files } from '#src/client/files.ts'
import type { Op } from '#src/wire/commands.ts'
import { Session } from '#src/client/session/session.ts'
import { engineHandler } from '#src/master/rpc/open-engine.ts'
import { MasterServer } from '#src/master/rpc/server.ts'
import { Store } from '#src/master/store/store.ts'
import { MountedFileSystem } from '#src/mount/mounted-file-system.ts'
import { type Contents, MemoryData } from './memory-data.ts'
import { PairNetwork } from './pair-network.ts'

export const name = (text: string): Name => nameFromText(text)

export const root: Caller = { uid: 0, gid: 0, pid: 1, signal: new AbortController().signal }

export const file = (mode = 0o644): NewInode => ({ mode: 0o100000 | mode, umask: 0o022, rdev: 0 })
export const directory = (mode = 0o755): NewInode => ({ mode: 0o040000 | mode, umask: 0o022, rdev: 0 })

const nothing = {
  read: false,
  write: false,
  append: false,
  truncate: false,
  sync: false,
  direct: false,
  noAtime: false,
  killSuidgid: false,
}
export const reading: OpenFlags = { ...nothing, read: true }
export const writing: OpenFlags = { ...nothing, read: true, write: true }
export const plainWrite = { fromCache: false, append: false, sync: false, killSuidgid: false }

/** One mount: its file system as the driver calls it, and what it asked of the master. */
export interface Mount {
  readonly fs: MountedFileSystem
  readonly files: Files
  readonly session: Session
  readonly data: MemoryData
  /** Calls sent to the master since they were last cleared. */
  readonly calls: Op['$case'][]
  /** What the kernel was told to forget. */
  readonly forgotten: string[]
}

/** A master in this process and mounts on it, without chunkservers. */
export class Mounts {
  readonly network = new PairNetwork()
  /** Of the master's disk. */
  readonly room: { full: boolean; spent: boolean; exhausted: () => void }
  /** Processes that are being killed. */
  readonly killed = new Set<number>()
  /** The master's. */
  readonly store: Store
  readonly #server: MasterServer
  readonly #contents: Contents = new Map()
  readonly #mounts: Mount[] = []

  private constructor(store: Store, server: MasterServer, network: PairNetwork, room: Mounts['room']) {
    this.store = store
    this.#server = server
    this.room = room
    this.network = network
  }

  static async start(): Promise<Mounts> {
    const store = Store.format(new Database(':memory:'), {
      cluster: Buffer.alloc(16, 7),
      blockBytes: 65536,
      copies: 1,
      minCopies: 1,
      created: 1n,
    })
    const handler = engineHandler(store, 'test', await createChecksums())
    const network = new PairNetwork()
    const lane = {
      run: async (batch: Parameters<typeof handler.run>[0]) => handler.run(batch),
      close: async () => handler.close(),
    }
    const room = { full: false, spent: false, exhausted: () => undefined }
    const server = await MasterServer.start(realEnv(silentLog), network, lane, {
      listen: 'master:1',
      rssBytes: () => 0,
      room,
      failed: error => {
        throw error
      },
    })
    return new Mounts(store, server, network, room)
  }

  /** `waitMs`: how long calls wait for a master that is away. */
  async mount(options: Partial<ClientOptions> = {}, waitMs = 5000): Promise<Mount> {
    const env = realEnv(silentLog)
    const session = new Session(env, this.network, {
      address: 'master:1',
      host: 'h',
      mountpoint: '/mnt',
      pid: 1,
      program: 'test',
      zone: '',
      readOnly: options.readOnly ?? false,
      waitMs,
      startWaitMs: 5000,
    })
    const calls: Op['$case'][] = []
    const call = session.call.bind(session)
    session.call = (op, expect, signal) => {
      calls.push(op.$case)
      return call(op, expect, signal)
    }
    const post = session.post.bind(session)
    session.post = (op, expect) => {
      calls.push(op.$case)
      return post(op, expect)
    }
    let data: MemoryData | undefined
    const files = await Files.open(
      env,
      session,
      (master, attrs) => (data = new MemoryData(master, attrs, this.#contents)),
      { readOnly: false, atime: 'noatime', cache: { inodes: 1000, names: 1000 }, ...options },
    )
    await files.flushAll()
    if (data === undefined) throw new Error('no data path was made')
    const forgotten: string[] = []
    const notifier: Notifier = {
      invalidateInode: async (ino, offset) =>
        void forgotten.push(`inode ${ino}${offset < 0 ? '' : ' with pages'}`),
      invalidateEntry: async (parent, entry) => void forgotten.push(`entry ${parent} ${entry}`),
      invalidateAllNames: async () => {
        forgotten.push('names')
        return true
      },
      invalidateAttributesNow: ino => void forgotten.push(`inode ${ino} now`),
      invalidateAllNamesNow: () => void forgotten.push('names now'),
    }
    const fs = new MountedFileSystem(env, files, notifier, true, {
      groupsOf: () => [],
      isKilled: pid => this.killed.has(pid),
    })
    const mount = { fs, files, session, data, calls, forgotten }
    this.#mounts.push(mount)
    return mount
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { fs } of this.#mounts) await fs.destroy()
    await this.#server.close()
  }
}

/** Makes, opens and fills a file; returns its inode and handle. */
export async function make(
  { fs }: Mount,
  parent: Ino,
  text: string,
  content = '',
): Promise<{ ino: Ino; handle: bigint }> {
  const { entry, opened } = await fs.create(parent, name(text), file(), writing, true, root)
  if (content !== '') await fs.write(entry.attr.ino, opened.handle, 0, Buffer.from(content), plainWrite, root)
  return { ino: entry.attr.ino, handle: opened.handle }
}

export async function content({ fs }: Mount, ino: Ino, handle: bigint): Promise<string> {
  return Buffer.concat((await fs.read(ino, handle, 0, 1 << 20, true, root)).pieces).toString()
}

/** Opens for reading, reads, closes. */
export async function contentOf(mount: Mount, ino: Ino): Promise<string> {
  const { handle } = await mount.fs.open(ino, reading, root)
  const text = await content(mount, ino, handle)
  mount.fs.release(ino, handle, undefined)
  return text
}
