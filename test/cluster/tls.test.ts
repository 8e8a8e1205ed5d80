import test from 'ava'
import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cairnFails } from '../support/cluster.js'
import { tlsCluster } from '../support/tls-cluster.js'

test('a cluster with TLS stores and reads, knows who is who, and lets in nobody else', async t => {
  const { cluster, masterLog } = await tlsCluster(t)
  await cluster.chunkserver(1)
  const laptop = await cluster.mount('laptop', '--short-circuit', 'off')
  const file = path.join(laptop, 'data')
  const data = randomBytes(9 << 20)
  writeFileSync(file, data, { flush: true })
  const tower = await cluster.mount('tower', '--short-circuit', 'off')
  t.true(readFileSync(path.join(tower, 'data')).equals(data), 'over TLS, from the chunkserver')
  const listed = JSON.parse((await cluster.admin('identity', 'ls', '--json')).stdout) as {
    role: string
    name: string
    id: string
  }[]
  t.deepEqual(
    listed.map(({ role }) => role),
    ['master', 'admin', 'chunkserver', 'mount', 'mount'],
  )
  t.is((await cluster.admin('fsck', '--data')).code, 0)
  t.is(statSync(path.join(`${laptop}-identity`, 'identity.pem')).mode & 0o777, 0o600)

  const as = (identity: string, ...args: readonly string[]) =>
    cairnFails([...args, '--master', cluster.master, '--identity', identity])
  const denied = await as(`${laptop}-identity`, 'status')
  t.is(denied.code, 2)
  t.regex(denied.stderr, /the role mount of .* does not allow it/)
  t.regex(masterLog(), /"audit":true,"method":"\/cairn.v1.Admin\/Status"[^\n]*"role":"mount"[^\n]*"Denied"/)
  t.regex(
    masterLog(),
    /"audit":true,"method":"\/cairn.v1.Identity\/CreateToken"[^\n]*"role":"admin"[^\n]*"Called"/,
  )
  const plain = await as('off', 'status')
  t.is(plain.code, 2)
  t.regex(plain.stderr, /may want TLS/)
  const wrongRole = await cairnFails([
    'mount',
    cluster.master,
    cluster.at('admin'),
    '--no-config',
    '--foreground',
    '--identity',
    cluster.at('admin'),
  ])
  t.regex(wrongRole.stderr, /the identity in .* has the role admin, not mount/)

  // Revoked: what is not in its cache is not to be had, from the master nor from the chunkserver.
  const { id = '' } = listed.findLast(({ role }) => role === 'mount') ?? {}
  t.is((await cluster.admin('identity', 'revoke', id)).code, 0)
  for (let tries = 0; tries < 200 && !masterLog().includes('"Disconnected"'); tries++) await sleep(50)
  t.regex(masterLog(), new RegExp(`"identity":"${id}","why":"revoked"[^\\n]*"Disconnected"`))
  for (let tries = 0; tries < 200 && !readFileSync(`${tower}.log`, 'utf8').includes('is revoked'); tries++)
    await sleep(50)
  t.regex(readFileSync(`${tower}.log`, 'utf8'), /is revoked[^\n]*takes this mount no more/)
  const unmounted = await cairnFails(['umount', tower])
  t.deepEqual(
    [unmounted.code, unmounted.stderr],
    [0, ''],
    'it does not wait for a master that will not have it',
  )
  writeFileSync(path.join(laptop, 'more'), 'the other mount goes on', { flush: true })
})

test('a key that others can read, and an authority that is there already, are one line', async t => {
  const { cluster } = await tlsCluster(t)
  const again = await cairnFails([
    'cluster',
    'init',
    '--master-identity',
    cluster.at('authority'),
    '--admin-identity',
    cluster.at('admin'),
  ])
  t.is(again.code, 2)
  t.regex(again.stderr, /^cairn: there is an identity in [^\n]*\n$/)
  const running = await cairnFails([
    'cluster',
    'init',
    '--master-identity',
    cluster.at('authority'),
    '--admin-identity',
    cluster.at('second'),
  ])
  t.regex(running.stderr, /is in use by process/)
  chmodSync(cluster.at('admin', 'identity.pem'), 0o644)
  const loose = await cluster.admin('status')
  t.is(loose.code, 2)
  t.regex(loose.stderr, /^cairn: [^\n]*identity\.pem can be used by others[^\n]*\n$/)
})

test('a master whose disk is lost comes back from what a chunkserver has, which tells it to an admin only', async t => {
  const { cluster, master } = await tlsCluster(t)
  const node = await cluster.chunkserver(1)
  const laptop = await cluster.mount('laptop')
  writeFileSync(path.join(laptop, 'file'), 'as it was', { flush: true })
  const written = Date.now() * 1e6
  const covered = async (): Promise<number> =>
    (JSON.parse((await cluster.admin('status', '--json')).stdout) as { log: { covered: number } }).log.covered
  for (let tries = 0; tries < 2400 && (await covered()) < written; tries++) await sleep(50)
  await master.kill()
  rmSync(cluster.at('master'), { recursive: true })

  const restore = (identity: string) =>
    cairnFails([
      ...['restore', '--from-nodes', node.address, '--data', cluster.at('master')],
      ...['--identity', identity === 'off' ? identity : cluster.at(identity), '--json'],
    ])
  for (const stranger of ['laptop-identity', 'node-1-identity', 'off'])
    t.is((await restore(stranger)).code, 2, stranger)
  const restored = await restore('admin')
  t.is(restored.code, 0, restored.stderr)
  t.like(JSON.parse(restored.stdout), { restored: true, problems: [] })
  await cluster.startMaster(master.address)
  let found = ''
  for (let tries = 0; tries < 2400 && found === ''; tries++) {
    try {
      found = readFileSync(path.join(laptop, 'file'), 'utf8')
    } catch {
      // Not yet: the mount begins a new session, and the node attaches anew.
      await sleep(50)
    }
  }
  t.is(found, 'as it was')
})
