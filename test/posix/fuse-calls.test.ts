// Every operation of the FUSE driver through real system calls, on a file system in memory. Needs root and /dev/fuse.
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, statfsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { MountedMemory } from '../support/mounted-memory.ts'

const script = fileURLToPath(new URL('../../../test/support/fuse-calls.py', import.meta.url))
const checks = [...readFileSync(script, 'utf8').matchAll(/^def check_(\w+)/gm)].map(match => match[1] ?? '')

const ways: Readonly<Record<string, readonly [options: object, reader: string]>> = {
  'answers at once': [{}, 'epoll'],
  'answers later, in any order': [{ delay: true }, 'epoll'],
  'cached by the kernel': [{ ttlMs: 60_000 }, 'epoll'],
  'past the page cache': [{ directIo: true }, 'epoll'],
  'read by threads': [{}, 'pool'],
}

for (const [way, [options, reader]] of Object.entries(ways)) {
  test(`system calls: ${way}`, async t => {
    const mounted = await MountedMemory.start(options, reader)
    t.teardown(() => mounted.close())
    t.true(checks.length > 20)
    for (const check of checks) {
      const folder = `${mounted.path}/${check}`
      mkdirSync(folder)
      t.is(await run(folder, check), '', check)
    }
    // Answered after the RELEASEs before it; those under way at the unmount are lost in the kernel.
    statfsSync(mounted.path)
    mounted.unmount()
    await mounted.exited
    t.regex(mounted.said, /^calls .* opens 0 destroyed true\n$/)
  })
}

/** What the check printed: nothing if it passed. */
function run(folder: string, check: string): Promise<string> {
  return new Promise(resolve => {
    execFile(
      '/usr/bin/python3',
      [script, folder, `check_${check}`],
      { timeout: 60_000, killSignal: 'SIGKILL' },
      (error, _, stderr) => {
        resolve(stderr === '' && error !== null ? error.message : stderr)
      },
    )
  })
}
