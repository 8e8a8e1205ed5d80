import { createHash } from 'node:crypto'
import { promises as fs } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { MiB } from '#src/core/units.ts'
import { cairn } from '../support/cluster.js'
import { Daemons } from '../support/daemons.js'
import { peakResidentBytes } from '../support/processes.js'

/**
 * One of four chunkservers is gone for good, with very many files stored: all copies are made anew, nothing is lost, and
 * no process grows beyond its bound. CAIRN_MANY_FILES: how many (100,000 takes some ten minutes).
 */
const count = Number(process.env['CAIRN_MANY_FILES'] ?? '3000')
const filesOfFolder = 500
const masterBytesMax = 250 * MiB
const nodeBytesMax = 200 * MiB
const nodes = 4

interface Status {
  nodes: { id: number; state: string }[]
  blocks: { total: number; underReplicated: number; missing: number }
}

const pathOf = (number: number): string =>
  path.join(String(Math.floor(number / filesOfFolder)), String(number))

/** Different for each file; every hundredth fills a piece and more, so that it is a file at the nodes, too. */
function contentOf(number: number): Buffer {
  const seed = createHash('sha256').update(String(number)).digest()
  return Buffer.concat(Array.from({ length: number % 100 === 0 ? 4000 : 1 + (number % 128) }, () => seed))
}

async function inParallel(work: (number: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: 8 }, worker))
}

test(`a node that is gone for good, with ${String(count)} files stored`, async t => {
  t.timeout(300_000 + count * 40)
  const cluster = await Daemons.start(nodes, '--repair-delay', '20')
  t.teardown(() => cluster.dispose())
  for (let folder = 0; folder * filesOfFolder < count; folder++)
    await fs.mkdir(path.join(cluster.mount, String(folder)))
  await inParallel(number => fs.writeFile(path.join(cluster.mount, pathOf(number)), contentOf(number)))
  await cairn(['sync', cluster.mount])
  const before = await cluster.json<Status>('status')
  t.is(before.blocks.underReplicated, 0)

  cluster.of('node-2').child.kill('SIGKILL')
  const fell = async (): Promise<boolean> => (await status()).blocks.underReplicated > 0
  const whole = async (): Promise<boolean> => (await status()).blocks.underReplicated === 0
  const status = (): Promise<Status> => cluster.json<Status>('status')
  while (!(await fell())) await sleep(200)
  t.is((await status()).blocks.missing, 0)
  // Said whole, however long it is.
  const early = await cluster.json<{ problems: string[] }>('fsck', '--data')
  t.true(early.problems.length > 0)
  t.deepEqual(
    early.problems.filter(problem => !problem.includes('of 3 copies')),
    [],
  )
  while (!(await whole())) await sleep(500)

  const { problems } = await cluster.json<{ problems: string[] }>('fsck', '--data')
  t.deepEqual(problems, [])
  t.deepEqual((await cluster.json<{ blocks: unknown[] }>('damaged')).blocks, [])
  // Nothing that is read now was in a cache.
  await cairn(['umount', cluster.mount])
  await cairn(['mount', cluster.master, cluster.mount, '--log', path.join(cluster.dir, 'mount.log')])
  const wrong: string[] = []
  await inParallel(async number => {
    const read = await fs.readFile(path.join(cluster.mount, pathOf(number))).catch(String)
    if (typeof read === 'string' || !read.equals(contentOf(number)))
      wrong.push(`${pathOf(number)}: ${String(read)}`)
  })
  t.deepEqual(wrong, [])
  const peaks = ['master', 'node-1', 'node-3', 'node-4'].map(
    name => [name, peakResidentBytes(cluster.of(name).child.pid ?? 0)] as const,
  )
  t.log(peaks.map(([name, bytes]) => `${name} ${(bytes / MiB).toFixed(0)} MiB`).join(', '))
  for (const [name, bytes] of peaks)
    t.true(bytes <= (name === 'master' ? masterBytesMax : nodeBytesMax), `${name}: ${String(bytes)} bytes`)
})
