import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { BlockId } from '#src/core/ids.ts'
import { realEnv } from '#src/env/real-env.ts'
import { Scrubber } from '#src/chunkserver/scrub/scrubber.ts'
import { testBlock } from './support/test-client.ts'
import { openStore, quietLog, temporaryFolder } from './support/test-node.ts'

test('a round that is asked for begins with the first block, whatever the one before it does meanwhile', async t => {
  const store = await openStore(await temporaryFolder(t))
  t.teardown(() => store.close())
  for (let i = 0; i < 350; i++) {
    const block = testBlock(100, i)
    await store.putRow(block, 5n, block.data)
  }
  const env = realEnv(quietLog)
  const scrubber = new Scrubber(env, store, { bytesPerSecond: 1e9 })
  const mark = store.setScrubbed.bind(store)
  const marks: (BlockId | undefined)[] = []
  let asked: Promise<void> | undefined
  store.setScrubbed = async id => {
    marks.push(id)
    await mark(id)
    // In the middle of the first round; a disk that is slow at just that.
    if (id === undefined) await sleep(asked === undefined ? 0 : 500)
    else asked ??= scrubber.start(0)
  }
  const stopped = new AbortController()
  const running = scrubber.run(stopped.signal)
  while (scrubber.state.permille < 1000) await sleep(10)
  await asked
  stopped.abort()
  await running
  t.is(scrubber.state.blocks, 350n, 'all of them, in the last round')
  const [first, begun, ...rest] = marks
  t.not(first, undefined)
  t.is(begun, undefined)
  t.deepEqual(rest[0], first)
})
