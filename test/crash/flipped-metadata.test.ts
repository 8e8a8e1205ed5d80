import { execFile } from 'node:child_process'
import { copyFileSync, promises as fs, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test from 'ava'
import { AckedLoad } from '../support/acked-load.js'
import { cairn } from '../support/cluster.js'
import { Daemons } from '../support/daemons.js'
import { flipBits } from '../support/flip-bit.js'
import { Dice } from '../support/random-calls.js'

/** Bits flip in the database of a master that is down: nothing is lost by it, whatever it is started on. */
const run = promisify(execFile)

interface Status {
  findings: { code: string; text: string }[]
}

async function until(what: string, met: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await met()); tries++) {
    if (tries > 600) throw new Error(what)
    await sleep(200)
  }
}

test('bits that flip in the database of a master are noticed at its start, and it removes nothing by them', async t => {
  t.timeout(900_000)
  const cluster = await Daemons.start(3)
  t.teardown(() => cluster.dispose())
  const load = new AckedLoad(t, cluster.mount)
  await load.more(60)
  await load.end()
  t.deepEqual(load.failures, [])
  // What changed less than a minute before a copy is not compared with it: the last of it is stored now.
  await cairn(['sync', cluster.mount])
  await sleep(75_000)
  await cairn(['backup', path.join(cluster.dir, 'backup.db'), '--master', cluster.master])
  await cairn(['umount', cluster.mount])
  const folder = path.join(cluster.dir, 'master')
  const [file, good] = [path.join(folder, 'master.db'), path.join(cluster.dir, 'good.db')]
  const stop = async (): Promise<void> => {
    const { child, ended } = cluster.of('master')
    child.kill('SIGTERM')
    await ended
  }
  const putBack = (): void => {
    for (const rest of ['-wal', '-shm']) rmSync(`${file}${rest}`, { force: true })
    copyFileSync(good, file)
  }
  const codes = async (): Promise<string[]> =>
    (await cluster.json<Status>('health')).findings.map(({ code }) => code)
  const paused = async (): Promise<string> => (await cluster.json<{ paused: string }>('gc', 'status')).paused
  await stop()
  await run('sqlite3', [file, 'PRAGMA wal_checkpoint(TRUNCATE)'])
  copyFileSync(file, good)

  await run('sqlite3', [
    file,
    'UPDATE inodes SET mtime = mtime + 4096 WHERE ino = (SELECT max(ino) FROM inodes)',
  ])
  await cluster.startMaster()
  await until('a time that is not what it was is noticed', async () =>
    (await codes()).includes('metadata-differs'),
  )
  await until('nothing else is paused by it', async () => (await paused()) === '')
  await stop()
  putBack()
  await run('sqlite3', [
    file,
    "UPDATE blocks SET id = CAST(substr(id, 1, 31) || x'00' AS BLOB) WHERE key = (SELECT max(key) FROM blocks WHERE state = 0)",
  ])
  await cluster.startMaster()
  await until('the id of a block that is not what it was is noticed', async () =>
    (await codes()).includes('metadata-differs'),
  )
  await until('nothing is removed', async () => (await paused()).includes('problems'))
  await stop()

  const dice = new Dice(5)
  let refused = 0
  for (let round = 0; round < 6; round++) {
    putBack()
    flipBits(file, dice, 4)
    const started = await cluster.startMaster().catch((error: unknown) => String(error))
    if (typeof started === 'string') {
      refused += 1
      t.regex(started, /cairn: .*(damaged|not a|cannot|version)/i)
    } else {
      // It serves, and goes on reading what it has.
      await sleep(4000)
      await stop()
    }
  }
  t.log(`${String(refused)} of 6 were refused`)
  putBack()
  await cluster.startMaster()
  await cairn(['mount', cluster.master, cluster.mount, '--log', path.join(cluster.dir, 'mount-2.log')])
  t.deepEqual(await load.wrong(), [])
  await until('the database is fine again', async () => (await paused()) === '')
  t.deepEqual(
    (await codes()).filter(code => code.startsWith('metadata')),
    [],
  )
  t.deepEqual((await cluster.json<{ problems: string[] }>('fsck', '--data')).problems, [])
  await fs.writeFile(path.join(cluster.mount, 'after'), 'goes on')
  await cairn(['sync', cluster.mount])
})
