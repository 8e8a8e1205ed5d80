import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  unlinkSync,
} from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { FilesWork } from './files-thread.ts'
import { makeFiles } from './make-files.ts'
import { type Done, type Group, type Sizes, smallBytes } from './row.ts'

const threads = 4

/** Each in a folder of its own. The threads have started before the time begins to run. */
async function makeInThreads(dir: string, count: number): Promise<Done> {
  const gate = new Int32Array(new SharedArrayBuffer(8))
  const each = Math.ceil(count / threads)
  const ended = Array.from({ length: threads }, (_, n) => {
    const data: FilesWork = { dir: path.join(dir, `t${String(n)}`), count: each, gate }
    const worker = new Worker(new URL('./files-thread.js', import.meta.url), { workerData: data })
    return new Promise<void>((resolve, reject) => {
      worker.once('error', reject)
      worker.once('exit', code => {
        if (code === 0) resolve()
        else reject(new Error(`a thread ended with code ${code}`))
      })
    })
  })
  const all = Promise.all(ended)
  while (Atomics.load(gate, 0) < threads) await Promise.race([sleep(1), all])
  const began = performance.now()
  Atomics.store(gate, 1, 1)
  Atomics.notify(gate, 1)
  await all
  return { units: each * threads, ms: performance.now() - began }
}

/** Files of 4 KiB. */
export function smallGroup({ files }: Sizes): Group {
  const small = (dir: string) => path.join(dir, 'small')
  const each = (dir: string, work: (folder: string, name: string) => void): Done => {
    const names = readdirSync(small(dir))
    for (const name of names) work(small(dir), name)
    return { units: names.length }
  }
  return {
    key: 'small',
    rows: [
      {
        key: 'create',
        name: 'create + write + close',
        makes: true,
        unit: 'files',
        goal: 6,
        prepare: dir => rmSync(small(dir), { recursive: true, force: true }),
        run: dir => {
          makeFiles(small(dir), files, false)
          return { units: files }
        },
      },
      {
        key: 'create-4',
        name: 'the same, 4 threads',
        unit: 'files',
        goal: 6,
        prepare: dir => {
          rmSync(path.join(dir, 'threads'), { recursive: true, force: true })
          mkdirSync(path.join(dir, 'threads'))
        },
        run: dir => makeInThreads(path.join(dir, 'threads'), files),
      },
      {
        key: 'create-sync',
        waits: true,
        name: 'create + write + fsync + close',
        unit: 'files',
        goal: 2,
        prepare: dir => rmSync(path.join(dir, 'synced'), { recursive: true, force: true }),
        run: dir => {
          const count = Math.ceil(files / 10)
          makeFiles(path.join(dir, 'synced'), count, true)
          return { units: count }
        },
      },
      {
        key: 'stat',
        name: 'readdir + stat cold',
        unit: 'entries',
        cold: true,
        goal: 3,
        // Not Node's stat, which asks for the time of birth, too, as few programs do.
        run: dir => {
          const sizes = execFileSync('find', [small(dir), '-mindepth', '1', '-printf', '%s\\n'], {
            encoding: 'utf8',
          })
          return { units: sizes.trimEnd().split('\n').length }
        },
      },
      {
        key: 'read-small',
        name: 'open + read + close cold',
        unit: 'files',
        cold: true,
        goal: 3,
        run: dir => {
          const into = Buffer.alloc(smallBytes)
          return each(dir, (folder, name) => {
            const fd = openSync(path.join(folder, name), 'r')
            readSync(fd, into)
            closeSync(fd)
          })
        },
      },
      {
        key: 'rename',
        name: 'rename',
        unit: 'renames',
        goal: 2,
        run: dir =>
          each(dir, (folder, name) => renameSync(path.join(folder, name), path.join(folder, `r-${name}`))),
      },
      {
        key: 'unlink',
        name: 'unlink',
        unit: 'files',
        goal: 2,
        run: dir => each(dir, (folder, name) => unlinkSync(path.join(folder, name))),
      },
    ],
  }
}
