/** What a mount claims to have stored: only receipts of its own puts count, each for what it was given for. */
import test from 'ava'
import type { Receipt } from '#src/wire/gen/cairn/v1/common.ts'
import { ChunkNode, EngineFixture, Mount } from './engine-fixture.ts'
import { commit, makeFile, plan } from './engine-ops.ts'

test('a commit without receipts, or with those of somebody or something else, is to be put again', async t => {
  const fixture = await EngineFixture.make()
  const nodes = ['n1', 'n2', 'n3'].map(name => new ChunkNode(fixture, name))
  for (const node of nodes) node.beat()
  const [mount, thief] = [new Mount(fixture), new Mount(fixture)]
  const file = makeFile(mount, 'f')
  const stored = (of: Mount, text: string): { id: Buffer; receipts: Receipt[] } => {
    const id = of.idOf(text)
    const targets = of.call(plan(file, id, 1000), 'plan').blocks[0]?.targets ?? []
    const receipts = targets.flatMap(target => {
      const node = nodes.find(each => each.node === target.node)
      return node === undefined ? [] : [node.put(target, id, 1000)]
    })
    return { id, receipts }
  }
  const again = (id: Buffer, receipts: readonly Receipt[]): readonly number[] =>
    mount.call(commit(file, { key: 0n, id, length: 1000, receipts: [...receipts] }), 'commit').again
  const mine = stored(mount, 'mine')
  const other = stored(mount, 'other')
  const theirs = stored(thief, 'theirs')
  const each = (change: (receipt: Receipt) => Partial<Receipt>): Receipt[] =>
    mine.receipts.map(receipt => ({ ...receipt, ...change(receipt) }))

  t.is(mine.receipts.length, 3)
  t.deepEqual(again(mine.id, []), [0], 'none')
  t.deepEqual(again(mount.idOf('never stored'), mine.receipts), [0], 'a right hash that nobody stored')
  t.deepEqual(again(mine.id, other.receipts), [0], "another block's")
  t.deepEqual(again(theirs.id, theirs.receipts), [0], "another session's")
  t.deepEqual(
    again(
      theirs.id,
      theirs.receipts.map(one => ({ ...one, session: mount.session })),
    ),
    [0],
  )
  const [first] = mine.receipts
  const wrong: Record<string, readonly Receipt[]> = {
    'of another epoch': each(({ epoch }) => ({ epoch: epoch + 1n })),
    'of another node': each(({ node }) => ({ node: (node % 3n) + 1n })),
    'of another instance': each(({ generation }) => ({ generation: generation + 1n })),
    'of a store that was not open yet': each(({ incarnation }) => ({ incarnation: incarnation + 5n })),
    'that lasts longer': each(({ expiry }) => ({ expiry: expiry + 1n })),
    guessed: each(() => ({ mac: Buffer.alloc(32, 1) })),
    'cut short': each(({ mac }) => ({ mac: mac.subarray(0, 16) })),
    'one of them, thrice': first === undefined ? [] : [first, first, first],
  }
  for (const [what, receipts] of Object.entries(wrong)) t.deepEqual(again(mine.id, receipts), [0], what)
  t.is(fixture.store.blocks.owner(mine.id), undefined)
  t.deepEqual(again(mine.id, mine.receipts), [], 'its own')
})
