import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { promises as fs, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { cairn, cairnFails } from '../support/cluster.js'
import { Daemons } from '../support/daemons.js'

const run = promisify(execFile)

const contentOf = (name: string): string => createHash('sha256').update(name).digest('hex').repeat(20)

/** What a user's program does, and what it was told: files that are synced, and names that are synced with their folder. */
class Load {
  /** What `fsync` vouched for. */
  readonly kept = new Set<string>()
  readonly failures: { readonly name: string; readonly code: string; readonly call: string }[] = []
  readonly #dir: string
  #number = 0
  #stop = false
  readonly #ended: Promise<unknown>

  constructor(t: ExecutionContext, dir: string) {
    this.#dir = dir
    t.teardown(() => {
      this.#stop = true
    })
    this.#ended = Promise.all([this.#synced(), this.#promised()])
  }

  async end(): Promise<void> {
    this.#stop = true
    await this.#ended
  }

  async #synced(): Promise<void> {
    while (!this.#stop) {
      const name = `synced-${String(this.#number++)}`
      await this.#try(name, async () => {
        const file = await fs.open(path.join(this.#dir, name), 'wx')
        try {
          await file.writeFile(contentOf(name))
          await file.sync()
          this.kept.add(name)
        } finally {
          await file.close()
        }
      })
    }
  }

  /** Many names are answered before the master has them; the folder's `fsync` says whether it took them. */
  async #promised(): Promise<void> {
    for (let round = 0; !this.#stop; round++) {
      const folder = path.join(this.#dir, `folder-${String(round)}`)
      const names: string[] = []
      await this.#try(folder, async () => {
        await fs.mkdir(folder)
        for (let each = 0; each < 30; each++) {
          const name = path.join(`folder-${String(round)}`, `empty-${String(each)}`)
          const file = await fs.open(path.join(this.#dir, name), 'wx')
          await file.close()
          names.push(name)
        }
        const opened = await fs.open(folder)
        try {
          await opened.sync()
          for (const name of names) this.kept.add(name)
        } finally {
          await opened.close()
        }
      })
    }
  }

  async #try(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const { code, syscall } = error as NodeJS.ErrnoException
      this.failures.push({ name, code: code ?? String(error), call: syscall ?? '' })
      await sleep(50)
    }
  }
}

test('the disk of the master is full under a load: what was vouched for is there, the rest was told, and it goes on by itself', async t => {
  t.timeout(600_000)
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-full-master-'))
  const disk = path.join(dir, 'disk')
  mkdirSync(disk)
  await run('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', disk])
  t.teardown(async () => {
    await run('umount', ['-l', disk])
    rmSync(dir, { recursive: true, force: true })
  })
  const cluster = await Daemons.startOn(disk, 0)
  for (let number = 1; number <= 3; number++)
    await cluster.run(
      'chunkserver',
      '--data',
      path.join(dir, `node-${String(number)}`),
      ...['--master', cluster.master],
      ...['--listen', '127.0.0.1:0'],
    )
  t.teardown(() => cluster.dispose())
  const health = async (): Promise<string> =>
    (await cairnFails(['health', '--master', cluster.master])).stdout
  const load = new Load(t, cluster.mount)
  for (let round = 0; round < 3; round++) {
    while (load.kept.size < (round + 1) * 60) await sleep(50)
    const before = load.failures.length
    await run('dd', ['if=/dev/zero', `of=${path.join(disk, 'filler')}`, 'bs=64k']).catch(() => undefined)
    while (load.failures.length < before + 5) await sleep(50)
    // While everything is refused, what is there can be read, and an operator sees why.
    const [some = ''] = load.kept
    t.is(
      await fs.readFile(path.join(cluster.mount, some), 'utf8'),
      some.startsWith('synced') ? contentOf(some) : '',
    )
    t.regex(await health(), /disk of the master|master's disk|disk is full/i)
    await fs.rm(path.join(disk, 'filler'))
    const kept = load.kept.size
    while (load.kept.size < kept + 20) await sleep(50)
  }
  await load.end()
  t.deepEqual(
    [...new Set(load.failures.map(({ code }) => code))].filter(code => !['ENOSPC', 'EIO'].includes(code)),
    [],
  )
  // Where there is no room, the call says so: what it has answered is not taken back at fsync.
  t.deepEqual(
    load.failures.filter(({ code, call }) => code === 'ENOSPC' && ['fsync', 'close'].includes(call)),
    [],
  )
  t.notRegex(await health(), /full/)
  await cairn(['umount', cluster.mount])
  await cairn(['mount', cluster.master, cluster.mount, '--log', path.join(cluster.dir, 'mount.log')])
  const wrong: string[] = []
  for (const name of load.kept) {
    const read = await fs.readFile(path.join(cluster.mount, name), 'utf8').catch(String)
    if (read !== (name.startsWith('synced') ? contentOf(name) : ''))
      wrong.push(`${name}: ${read.slice(0, 80)}`)
  }
  t.deepEqual(wrong, [])
  const { problems } = await cluster.json<{ problems: string[] }>('fsck', '--data')
  t.deepEqual(problems, [])
  t.log(`${String(load.kept.size)} kept, ${String(load.failures.length)} refused`)
})
