/** One operation of a program is followed by the ids of its requests through the logs of all daemons. */
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { Cluster } from '../support/cluster.js'

interface Line {
  readonly msg: string
  readonly operation?: string
  readonly request?: string
  readonly requests?: string
}

const linesOf = (file: string): Line[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line) as Line)

test('a slow fsync is followed from the mount to the master and the chunkservers', async t => {
  // Everything is slow.
  process.env['CAIRN_SLOW'] = '0'
  const cluster = await Cluster.start({ chunkservers: 3 })
  t.teardown(() => cluster.dispose())
  const mount = await cluster.addMount('observed')
  const file = openSync(path.join(mount, 'file'), 'w')
  writeSync(file, 'hello')
  fsyncSync(file)
  closeSync(file)

  const ofMount = linesOf(`${mount}.log`)
  const waited = ofMount.find(({ msg, operation }) => msg === 'A program waited' && operation === 'FSYNC')
  const requests = (waited?.requests ?? '').split(', ').map(each => each.split(' '))
  const idOf = (wanted: string): string =>
    requests.find(([, operation]) => operation === wanted)?.[0] ?? `no ${wanted}`

  const logs = path.join(cluster.dir, 'logs')
  const told = (names: readonly string[], request: string): (string | undefined)[] =>
    names.flatMap(name =>
      linesOf(path.join(logs, name))
        .filter(line => line.request === request)
        .map(({ operation }) => operation),
    )
  const nodes = readdirSync(logs).filter(name => name.startsWith('chunkserver'))
  t.is(nodes.length, 3)
  for (const operation of ['plan', 'commit'])
    t.deepEqual(told(['master.log'], idOf(operation)), [operation], operation)
  // Each node has a request of its own.
  const puts = requests.filter(([, operation]) => operation === 'put_small').map(([request = '']) => request)
  t.is(new Set(puts).size, 3)
  for (const put of puts) t.deepEqual(told(nodes, put), ['put_small'])
  for (const [request, operation] of requests)
    t.is(ofMount.find(line => line.request === request)?.operation, operation)
})
