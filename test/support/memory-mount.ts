// Mounts a MemoryFileSystem: `node memory-mount.js PATH '{"ttlMs":0}' [reader]`. Prints "mounted",
// runs until unmounted. With "dyingThreads" no notification can be written. With "delay" reads, writes and lookups are answered later, in any order.
// Over IPC it takes commands [id, name, ...arguments] and answers [id, result].
//
// Not in the process of a test: one that has files of its own mount open deadlocks when it starts a child, since
// the child closes them before it runs, and the parent, waiting for that, cannot answer the FLUSH.
import { performance } from 'node:perf_hooks'
import { must } from '#src/core/assert.ts'
import { FsError } from '#src/core/errors.ts'
import { type Ino, ino, rootIno } from '#src/core/ids.ts'
import { nameFromText } from '#src/core/name.ts'
import { NotificationThread } from '#src/fuse/device/notification-thread.ts'
import { FuseDriver } from '#src/fuse/driver.ts'
import type { Notifier } from '#src/fuse/filesystem.ts'
import { MemoryFileSystem, type MemoryOptions } from './memory-filesystem.ts'
import { stderrLog } from './stderr-log.ts'

const [path = '', options = '{}', reader = 'epoll'] = process.argv.slice(2)
const { delay, dyingThreads, ...rest } = JSON.parse(options) as MemoryOptions & {
  readonly delay?: boolean
  readonly dyingThreads?: boolean
}

if (dyingThreads === true)
  NotificationThread.start = (_fd, died) => ({
    write: () => {
      const why = new FsError('EIO', 'a thread died')
      died(why)
      return Promise.reject(why)
    },
    stop: () => Promise.resolve(),
  })

let held: (() => void)[] | undefined

/** What each read, write and lookup waits for. */
function before(): Promise<void> | undefined {
  const waiting = held
  if (waiting !== undefined) return new Promise(resolve => waiting.push(resolve))
  return delay === true ? new Promise(resolve => setTimeout(resolve, Math.random() * 3)) : undefined
}

const fs = new MemoryFileSystem({ ...rest, before })
let given: Notifier | undefined
const driver = await FuseDriver.serve(
  notifier => {
    given = notifier
    return fs
  },
  {
    path,
    source: 'memory:1',
    mountOptions: ['noatime', 'nosuid'].slice(0, rest.ttlMs === undefined ? 0 : 2),
    clock: { now: () => performance.now(), wall: () => BigInt(Date.now()) * 1_000_000n },
    log: stderrLog,
    reader: reader === 'pool' ? 'pool' : 'epoll',
  },
)
const notifier = must(given, 'notifier')

const find = (name: string) =>
  must(fs.nodes.get(rootIno)?.children.get(nameFromText(name))?.node, `file ${name} of the root`)
const number = (name: string): Ino => (name === '' ? ino(12345n) : find(name).ino)

const commands = {
  invalidateInode: (name: string, offset: number, length: number) =>
    notifier.invalidateInode(number(name), offset, length),
  invalidateEntry: (name: string) => notifier.invalidateEntry(rootIno, nameFromText(name)),
  invalidateAllNames: () => notifier.invalidateAllNames(),
  invalidateAttributesNow: (name: string) => notifier.invalidateAttributesNow(number(name)),
  invalidateAllNamesNow: () => notifier.invalidateAllNamesNow(),
  canInvalidateAllNames: () => driver.facts.canInvalidateAllNames,
  calls: (name: string) => fs.calls.get(name) ?? 0,
  /** Changes a file behind the kernel's back. */
  poke: (name: string, text: string, mode: number) => {
    const node = find(name)
    node.write(0, Buffer.from(text))
    node.mode = mode
  },
  hold: () => {
    held = []
  },
  heldCalls: () => held?.length ?? 0,
  letGo: () => {
    for (const go of held?.splice(0) ?? []) go()
    held = undefined
  },
  abort: () => driver.abort(),
}

export type Command = keyof typeof commands

process.on('message', (message: unknown) => {
  const [id, name, ...args] = message as [number, Command, ...unknown[]]
  const act = commands[name] as (...given: readonly unknown[]) => unknown
  void Promise.resolve(act(...args)).then(result => process.send?.([id, result]))
})
process.channel?.unref()
process.on('SIGTERM', () => void driver.unmount({ lazy: true }))
console.log('mounted')
await driver.done
console.log(
  `calls ${JSON.stringify(Object.fromEntries(fs.calls))} opens ${fs.opens.size} destroyed ${fs.destroyed}`,
)
