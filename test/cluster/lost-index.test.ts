/** A chunkserver whose index of blocks is lost: what it has in files is read again, also of exports, after a repair. */
import { randomBytes } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { cairn, cairnFails } from '../support/cluster.js'
import { tlsCluster } from '../support/tls-cluster.js'

const KiB = 1024

test('the last copies of blocks, in and out of exports, are read again after the index of their node was lost', async t => {
  const { cluster } = await tlsCluster(t)
  const node = await cluster.chunkserver(1)
  const all = await cluster.mount('all')
  const folder = cluster.at('node-1')
  execFileSync('mkdir', [path.join(all, 'projects')])
  await cluster.admin('export', 'create', 'projects', '--path', '/projects')
  const mount = await cluster.mountOf('projects', 'laptop')
  const [plain, own] = [randomBytes(300 * KiB), randomBytes(700 * KiB)]
  writeFileSync(path.join(all, 'plain'), plain, { flush: true })
  writeFileSync(path.join(mount, 'own'), own, { flush: true })
  writeFileSync(path.join(all, 'small'), 'in a row', { flush: true })
  await node.kill()
  for (const target of cluster.mounts.splice(0)) await cairn(['umount', target])

  for (const end of ['', '-wal', '-shm']) rmSync(path.join(folder, `index.sqlite${end}`), { force: true })
  const command = [
    ...['chunkserver', '--data', folder, '--master', cluster.master, '--listen', '127.0.0.1:0'],
    ...['--identity', cluster.at('node-1-identity')],
  ]
  const refused = await cairnFails([...command, '--no-config'])
  t.is(refused.code, 2)
  t.regex(refused.stderr, /no index: its file was lost. cairn fsck --repair/)
  const rehearsal = await cairnFails(['fsck', '--repair', folder])
  t.is(rehearsal.code, 1)
  t.regex(rehearsal.stdout, /would make it anew from \d+ files of blocks/)
  t.false(
    readdirSync(folder).some(name => name.includes('before-repair')),
    'nothing was changed',
  )
  const repaired = await cairn(['fsck', '--repair', folder, '--yes'])
  t.regex(repaired, /did make the index anew: \d+ blocks are right by their names/)
  t.regex(repaired, /\d+ files are kept for the master to prove/)
  await cluster.start(...command)

  const again = await cluster.mount('again')
  t.true((await readSoon(path.join(again, 'plain'))).equals(plain))
  const laptop = await cluster.mountOf('projects', 'laptop-again')
  t.true((await readSoon(path.join(laptop, 'own'))).equals(own))
  t.true(readFileSync(path.join(again, 'projects', 'own')).equals(own))
  const { stdout } = await cluster.admin('damaged')
  t.regex(stdout, /small/, 'what was in the index alone is lost, and said to be')
  t.notRegex(stdout, /\/(own|plain)/)
})

/** A file of which a node may not have told yet that it has it. */
async function readSoon(file: string): Promise<Buffer> {
  const deadline = Date.now() + 30_000
  for (;;)
    try {
      return readFileSync(file)
    } catch (error) {
      if (Date.now() > deadline) throw error
      await sleep(200)
    }
}
