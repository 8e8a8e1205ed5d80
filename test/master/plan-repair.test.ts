import test from 'ava'
import fc from 'fast-check'
import { type BlockKey, nodeId } from '#src/core/ids.ts'
import { MiB } from '#src/core/units.ts'
import { chooseSurplus } from '#src/master/repair/choose-surplus.ts'
import { CopyBudget, copyCost } from '#src/master/repair/copy-budget.ts'
import { whyNotDrain } from '#src/master/repair/plan-drain.ts'
import { moveTarget, planRebalance } from '#src/master/repair/plan-rebalance.ts'
import {
  type BlockView,
  classify,
  countedOf,
  type HolderView,
  planRepair,
  type RepairClass,
  spreadOf,
  wouldSpread,
} from '#src/master/repair/plan-repair.ts'

const node = (id: number, host = `h${String(id)}`, zone = host, usedShare = 0.5) => ({
  id: nodeId(BigInt(id)),
  host,
  zone,
  usedShare,
  totalBytes: 1e9,
  freeBytes: 1e9 * (1 - usedShare),
  compared: true,
})
type TestNode = ReturnType<typeof node>
const holder = (of: TestNode, extra: Partial<HolderView<TestNode>> = {}): HolderView<TestNode> => ({
  node: of,
  bad: false,
  up: true,
  stays: true,
  failing: false,
  ...extra,
})
const view = (
  holders: readonly HolderView<TestNode>[],
  extra: Partial<BlockView<TestNode>> = {},
): BlockView<TestNode> => ({
  key: 1n as BlockKey,
  length: MiB,
  wanted: 3,
  holders,
  targets: [],
  suits: () => true,
  ...extra,
})
const never = (): boolean => false
const low = (): number => 0
const budgetOf = (nodes: readonly TestNode[], bytes = 64 * MiB, cluster = 1024 * MiB): CopyBudget =>
  new CopyBudget(new Map(nodes.map(({ id }) => [id, bytes])), cluster)

test('what a block needs most, by who holds it', t => {
  const [a, b, c, d] = [node(1), node(2), node(3), node(4)]
  const cases: [RepairClass | undefined, BlockView<TestNode>][] = [
    [undefined, view([holder(a), holder(b), holder(c)])],
    [undefined, view([holder(a), holder(b), holder(c, { up: false })])],
    ['short', view([holder(a), holder(b), holder(c, { up: false, stays: false })])],
    ['short', view([holder(a), holder(b), holder(c, { bad: true })])],
    ['short', view([holder(a), holder(b), holder(c, { stays: false })])],
    [undefined, view([holder(a), holder(b)], { targets: [c] })],
    ['last', view([holder(a), holder(b, { up: false, stays: false }), holder(c, { bad: true })])],
    ['leaving', view([holder(a, { stays: false }), holder(b, { stays: false })], { wanted: 2 })],
    ['lost', view([holder(a, { bad: true }), holder(b, { bad: true })], { wanted: 2 })],
    [undefined, view([holder(a, { up: false, stays: false })])],
    ['surplus', view([holder(a), holder(b), holder(c), holder(d)])],
    ['surplus', view([holder(a), holder(b), holder(c), holder(d, { stays: false })])],
    ['surplus', view([holder(a), holder(b), holder(c), holder(d, { bad: true })])],
    [undefined, view([holder(a), holder(b), holder(c), holder(d, { up: false })])],
    [undefined, view([holder(a), holder(b), holder(c), holder(d, { stays: false, failing: true })])],
  ]
  for (const [expected, of] of cases) t.is(classify(of, never), expected)
  const together = view([holder(node(1, 'x', 'z')), holder(node(2, 'x', 'z'))], { wanted: 2 })
  t.is(
    classify(together, of => wouldSpread(of, [d]).length > 0),
    'misplaced',
  )
  t.is(
    classify(together, of => wouldSpread(of, [node(5, 'x', 'z')]).length > 0),
    undefined,
  )
})

test('the last copies go first, and one dead node loads all others equally', t => {
  const nodes = Array.from({ length: 6 }, (_, index) => node(index + 1))
  const [dead, ...others] = nodes
  if (dead === undefined) return
  const gone = holder(dead, { up: false, stays: false })
  const needs = Array.from({ length: 200 }, (_, index) => {
    const [first, second] = [others[index % 5], others[(index + 1 + (index % 3)) % 5]]
    const holders = [gone, ...[first, second].flatMap(of => (of === undefined ? [] : [holder(of)]))]
    return { view: view(holders, { key: BigInt(index) as BlockKey }), class: 'short' as const }
  })
  const last = {
    view: view([holder(others[0] ?? dead), gone], { key: 999n as BlockKey }),
    class: 'last' as const,
  }
  let draws = 0
  const copies = planRepair(
    [...needs, last],
    others,
    budgetOf(others, 40 * MiB),
    bound => (draws++ * 7919) % bound,
  )
  t.is(copies[0]?.key, 999n as BlockKey)
  const load = new Map(others.map(({ id }) => [id, 0]))
  for (const { target, sources, key } of copies) {
    t.false(needs.some(need => need.view.key === key && need.view.holders.some(each => each.node === target)))
    for (const of of [target, sources[0]]) if (of !== undefined) load.set(of.id, (load.get(of.id) ?? 0) + 1)
  }
  const loads = [...load.values()]
  t.true(Math.min(...loads) >= 30, `all take part: ${loads.join()}`)
  t.true(Math.max(...loads) <= 41, `none beyond its budget: ${loads.join()}`)
})

test('no plan exceeds a budget by more than one block, or copies to who has one', t => {
  const pool = Array.from({ length: 6 }, (_, index) =>
    node(index + 1, `h${String(index % 4)}`, `z${String(index % 2)}`),
  )
  const standing = fc.record({ bad: fc.boolean(), up: fc.boolean(), stays: fc.boolean() })
  const block = fc.record({
    who: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 5 }),
    how: fc.array(standing, { minLength: 5, maxLength: 5 }),
    wanted: fc.integer({ min: 1, max: 4 }),
    length: fc.integer({ min: 1, max: 4 * MiB }),
  })
  fc.assert(
    fc.property(fc.array(block, { maxLength: 30 }), fc.integer({ min: 0, max: 8 * MiB }), (blocks, bytes) => {
      const needs = blocks.flatMap(({ who, how, wanted, length }, index) => {
        const holders = who.flatMap((at, n) => {
          const of = pool[at]
          return of === undefined ? [] : [holder(of, how[n])]
        })
        const of = view(holders, { key: BigInt(index) as BlockKey, wanted, length })
        const cls = classify(of, each => wouldSpread(each, pool).length > 0)
        return cls === undefined || cls === 'surplus' ? [] : [{ view: of, class: cls }]
      })
      const used = new Map<bigint, number>()
      for (const { key, target, sources, length } of planRepair(needs, pool, budgetOf(pool, bytes), low)) {
        const need = needs.find(each => each.view.key === key)
        t.false(need?.view.holders.some(each => each.node === target && !each.bad))
        t.true(sources.every(source => source !== target))
        t.true(sources.every(source => need?.view.holders.some(each => each.node === source && each.up)))
        for (const of of [target, sources[0]]) {
          const before = used.get(of?.id ?? 0n) ?? 0
          t.true(before < bytes)
          used.set(of?.id ?? 0n, before + copyCost(length))
        }
      }
    }),
  )
})

test('of too many copies, one goes that is not missed, and none while it is not certain that the others are there', t => {
  const [a, b, c] = [node(1, 'x', 'z1'), node(2, 'x', 'z1', 0.1), node(3, 'y', 'z2', 0.9)]
  const of = view([holder(a), holder(b), holder(c)], { wanted: 2 })
  t.is(chooseSurplus(of), a, 'of the two on one machine the fuller one')
  const leaving = view([holder(a, { stays: false }), holder(b), holder(c)], { wanted: 2 })
  t.is(chooseSurplus(leaving), a)
  const uncertain = { ...c, compared: false }
  t.is(chooseSurplus(view([holder(a), holder(b), holder(uncertain)], { wanted: 2 })), undefined)
  t.is(
    chooseSurplus(view([holder(a, { stays: false }), holder(b), holder(uncertain)], { wanted: 2 })),
    undefined,
  )
  t.is(chooseSurplus(view([holder(a), holder(b)], { wanted: 2 })), undefined)
})

test('a node is not emptied where its copies could not be kept', t => {
  const load = { blocks: 10, bytes: 1000, wanted: 2 }
  const [a, b, c] = [node(1), node(2), node(3)]
  t.deepEqual(whyNotDrain(a, [b, c], load), [])
  t.deepEqual(whyNotDrain(a, [], { ...load, blocks: 0 }), [])
  t.regex(whyNotDrain(a, [b], load).join(), /2 copies are wanted.*only 1 other/)
  t.regex(
    whyNotDrain(node(1, 'x', 'z1'), [node(2, 'y', 'z2'), node(3, 'w', 'z2')], load).join(),
    /on 2 zones now, and could be on 1/,
  )
  t.regex(
    whyNotDrain(node(1, 'x', 'z'), [node(2, 'y', 'z'), node(3, 'y', 'z')], load).join(),
    /on 2 machines now/,
  )
  t.regex(whyNotDrain(a, [b, c], { ...load, bytes: 1e12 }).join(), /the others have room for/)
})

test('moving blocks ends with all about equally full, and never brings copies together', t => {
  const full = [node(1, 'a', 'z', 0.9), node(2, 'b', 'z', 0.5), node(3, 'c', 'z', 0.1)]
  const plan = planRebalance(full, false)
  t.deepEqual(
    plan.from.map(({ id }) => id),
    [nodeId(1n)],
  )
  t.is(plan.bytesLeft, 400_000_000)
  t.deepEqual(planRebalance([node(1, 'a', 'z', 0.52), node(2, 'b', 'z', 0.48)], false).from, [])
  const [a, b, c] = full
  if (a === undefined || b === undefined || c === undefined) return
  const pair = view([holder(a), holder(b)], { wanted: 2 })
  t.is(moveTarget(pair, a, [c]), c)
  t.is(moveTarget(pair, c, [b]), undefined, 'it has none')
  t.is(moveTarget(pair, a, [{ ...c, host: 'b' }]), undefined, 'both copies on one machine')
  t.is(moveTarget(view([holder(a), holder(b), holder(c)]), a, [c]), undefined)
  t.is(spreadOf(countedOf(pair)), 1002)
})

test('no copy goes to a node whose program cannot keep the block', t => {
  const [a, b, old, other] = [node(1), node(2), node(3), node(4)]
  const suits = (each: TestNode): boolean => each !== old
  const short = view([holder(a)], { wanted: 2, suits })
  const targetsOf = (nodes: readonly TestNode[], of: typeof short, cls: RepairClass): TestNode[] =>
    planRepair([{ view: of, class: cls }], nodes, budgetOf([a, b, old, other]), low).map(copy => copy.target)
  t.deepEqual(targetsOf([old, b], short, 'last'), [b])
  t.deepEqual(targetsOf([old], short, 'last'), [])
  const together = view([holder(node(5, 'x', 'z')), holder(node(6, 'x', 'z'))], { wanted: 2, suits })
  t.deepEqual(wouldSpread(together, [old]), [])
  t.deepEqual(wouldSpread(together, [old, b]), [b])
  const full = node(7, 'full', 'full', 0.9)
  const moving = view([holder(full)], { wanted: 1, suits })
  t.is(moveTarget(moving, full, [old]), undefined)
  t.is(moveTarget(moving, full, [old, b]), b)
})
