// Mounts a MemoryFileSystem: `node memory-mount.js PATH '{"ttlMs":0}' [reader]`. Prints "mounted",
// runs until unmounted. With "delay" reads, writes and lookups are answered later, in any order.
import { performance } from 'node:perf_hooks'
import { FuseDriver } from '#src/fuse/driver.ts'
import { MemoryFileSystem, type MemoryOptions } from './memory-filesystem.ts'
import { stderrLog } from './stderr-log.ts'

const [path = '', options = '{}', reader = 'epoll'] = process.argv.slice(2)
const { delay, ...rest } = JSON.parse(options) as MemoryOptions & { readonly delay?: boolean }
const later = (): Promise<void> => new Promise(resolve => setTimeout(resolve, Math.random() * 3))
const fs = new MemoryFileSystem({ ...rest, ...(delay === true ? { before: later } : {}) })
const driver = await FuseDriver.serve(() => fs, {
  path,
  source: 'memory:1',
  mountOptions: [],
  clock: { now: () => performance.now(), wall: () => BigInt(Date.now()) * 1_000_000n },
  log: stderrLog,
  reader: reader === 'pool' ? 'pool' : 'epoll',
})
console.log('mounted')
process.on('SIGTERM', () => void driver.unmount({ lazy: true }))
await driver.done
console.log(`calls ${JSON.stringify(Object.fromEntries(fs.calls))} opens ${fs.opens.size}`)
