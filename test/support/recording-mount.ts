// Mounts a RecordingFileSystem: `node recording-mount.js PATH EVENTS`. Prints "mounted"; writes what was done to the
// file EVENTS when it is unmounted. Over IPC it answers each message with the number of events so far.
//
// A process of its own: see memory-mount.ts.
import { writeFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { serialize } from 'node:v8'
import { FuseDriver } from '#src/fuse/driver.ts'
import { RecordingFileSystem } from './recording-filesystem.ts'
import { stderrLog } from './stderr-log.ts'

const [path = '', events = ''] = process.argv.slice(2)
const fs = new RecordingFileSystem()
const driver = await FuseDriver.serve(() => fs, {
  path,
  source: 'recorder',
  mountOptions: [],
  clock: { now: () => performance.now(), wall: () => BigInt(Date.now()) * 1_000_000n },
  log: stderrLog,
})
process.on('message', id => process.send?.([id, fs.events.length]))
process.channel?.unref()
process.on('SIGTERM', () => void driver.unmount({ lazy: true }))
console.log('mounted')
await driver.done
writeFileSync(events, serialize(fs.events))
