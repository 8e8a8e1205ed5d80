import { promises as fs } from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { Cluster } from '../support/cluster.js'

test('what one mount makes, the other sees at once', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const other = await cluster.addMount('other')
  await fs.writeFile(path.join(cluster.mount, 'f'), 'by the first')
  t.is(await fs.readFile(path.join(other, 'f'), 'utf8'), 'by the first')
  await fs.writeFile(path.join(other, 'f'), 'by the second')
  t.is(await fs.readFile(path.join(cluster.mount, 'f'), 'utf8'), 'by the second')
})
