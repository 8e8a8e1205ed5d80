import test from 'ava'
import { hour, minute } from '#src/core/units.ts'
import { type Checked, DatabaseChecks } from '#src/master/fsck/database-checks.ts'
import type { Integrity } from '#src/master/fsck/integrity.ts'
import { ManualEnv } from '../client/manual-env.ts'

const clean: Checked = { problems: [], differences: [], unreadable: [], blocksDiffer: false }

/** A master that reads its database; each reading finds what comes next, and then nothing. */
function make(...readings: (Partial<Checked> | Error)[]) {
  const env = new ManualEnv()
  const states: Integrity[] = []
  let count = 0
  const checks = new DatabaseChecks(env, {
    check: async () => {
      const found = readings[count++] ?? {}
      if (found instanceof Error) throw found
      return { ...clean, ...found }
    },
    changed: state => states.push(state),
  })
  return { env, checks, states, readings: () => count }
}

test('a problem of one reading alone is not believed, and nothing is removed until the next', async t => {
  const passing = 'Inode 9: an orphan of an unknown session'
  const { env, checks, readings } = make({}, { problems: [passing] })
  await env.advance(2000)
  t.like(checks.integrity, { checked: true, problems: [], endangered: false })
  await env.advance(24 * hour)
  t.is(readings(), 2)
  t.like(checks.integrity, { checked: false, problems: [], endangered: false })
  await env.advance(1 * minute)
  t.is(readings(), 3)
  t.like(checks.integrity, { checked: true, problems: [], endangered: false })
  await env.advance(23 * hour)
  t.is(readings(), 3)
})

test('a problem that the next reading finds, too, is believed, until one does not', async t => {
  const busy = (named: number) => `Block 7 is named by ${named} extents but counts ${named + 1} references`
  const other = 'Inode 9: an orphan of an unknown session'
  const { env, checks, readings } = make(
    { problems: [busy(1), other] },
    { problems: [busy(5)] },
    { problems: [busy(6)] },
  )
  await env.advance(2000)
  t.false(checks.integrity.checked)
  await env.advance(1 * minute)
  t.like(checks.integrity, { checked: true, problems: [busy(5)], endangered: true })
  await env.advance(10 * minute)
  t.like(checks.integrity, { problems: [busy(6)], endangered: true })
  await env.advance(10 * minute)
  t.is(readings(), 4)
  t.like(checks.integrity, { checked: true, problems: [], endangered: false })
})

test('problems of which no two readings find the same stay doubtful', async t => {
  const { env, checks, readings } = make({ problems: ['Inode 1: a'] }, { problems: ['Inode 2: a'] })
  await env.advance(2000 + 1 * minute)
  t.is(readings(), 2)
  t.like(checks.integrity, { checked: false, problems: [], endangered: false })
  await env.advance(1 * minute)
  t.true(checks.integrity.checked)
})

test('a difference from a copy is believed at once', async t => {
  const { env, checks } = make({ differences: ['block 1 was another'], blocksDiffer: true })
  await env.advance(2000)
  t.like(checks.integrity, { checked: true, differences: ['block 1 was another'], endangered: true })
})

test('what could not be read is read again, and unread until then', async t => {
  const { env, checks, states } = make(new Error('no process'), { unreadable: ['b.db: no database'] })
  await env.advance(2000)
  t.like(checks.integrity, { checked: false, failing: 'no process' })
  await env.advance(1 * minute)
  t.like(checks.integrity, {
    checked: true,
    failing: '',
    unreadable: ['b.db: no database'],
    endangered: false,
  })
  t.deepEqual(
    states.map(({ checked }) => checked),
    [false, true],
  )
})
