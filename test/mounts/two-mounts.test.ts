import { promises as fs, watch } from 'node:fs'
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

test('a watcher hears of what its own mount does, and of nothing that another does', async t => {
  const cluster = await Cluster.start()
  t.teardown(() => cluster.dispose())
  const other = await cluster.addMount('other')
  const heard: string[] = []
  const watcher = watch(cluster.mount, (event, name) => heard.push(`${event} ${name}`))
  try {
    await fs.writeFile(path.join(other, 'theirs'), '')
    t.is(await fs.readFile(path.join(cluster.mount, 'theirs'), 'utf8'), '')
    await fs.rename(path.join(other, 'theirs'), path.join(other, 'moved'))
    await fs.unlink(path.join(other, 'moved'))
    await fs.writeFile(path.join(cluster.mount, 'ours'), '')
    while (!heard.some(event => event.endsWith(' ours')))
      await new Promise(resolve => setTimeout(resolve, 10))
    t.deepEqual(
      heard.filter(event => !event.endsWith(' ours')),
      [],
    )
  } finally {
    watcher.close()
  }
})
