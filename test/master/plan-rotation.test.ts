import test from 'ava'
import fc from 'fast-check'
import { day, hour } from '#src/core/units.ts'
import { fits, planRotation } from '#src/master/backup/plan-rotation.ts'

const copy = (takenMs: number, bytes = 10) => ({ name: String(takenMs), takenMs, bytes })
const plenty = 1e9

test('the newest copy of each hour and of each day is kept, as many as wanted', t => {
  const copies = Array.from({ length: 100 }, (_, n) => copy(n * hour + 5))
  const gone = new Set(planRotation(copies, { hourly: 3, daily: 4 }, plenty))
  const kept = copies.filter(({ name }) => !gone.has(name)).map(({ takenMs }) => (takenMs - 5) / hour)
  t.deepEqual(kept, [47, 71, 95, 97, 98, 99])
})

test('two copies of one hour: the older one goes', t => {
  const copies = [copy(1), copy(2), copy(hour + 1)]
  t.deepEqual(planRotation(copies, { hourly: 24, daily: 0 }, plenty), ['1'])
  t.deepEqual(planRotation(copies, { hourly: 0, daily: 0 }, plenty), ['2', '1'], 'the newest stays always')
})

test('where room is short the oldest go first, never the newest', t => {
  const copies = [copy(1 * hour), copy(2 * hour), copy(3 * hour)]
  const keep = { hourly: 24, daily: 7 }
  t.deepEqual(planRotation(copies, keep, 30), [])
  t.deepEqual(planRotation(copies, keep, 20), [String(1 * hour)])
  t.deepEqual(planRotation(copies, keep, 0), [String(2 * hour), String(1 * hour)])
  t.deepEqual(planRotation(copies, keep, 30, 10), [String(1 * hour)], 'room for what comes')
  t.true(fits(copies, 10, 10))
  t.false(fits(copies, 9, 10))
  t.true(fits([], 20, 10))
  t.false(fits([], 19, 10))
})

test('whatever is there, the newest stays and copies take half of the room at most', t => {
  const someCopies = fc.uniqueArray(
    fc.record({ at: fc.nat(40 * day), bytes: fc.integer({ min: 1, max: 1000 }) }),
    { selector: ({ at }) => at, maxLength: 40 },
  )
  fc.assert(
    fc.property(someCopies, fc.nat(30), fc.nat(10), fc.nat(20_000), (some, hourly, daily, free) => {
      const copies = some.map(({ at, bytes }) => copy(at, bytes))
      const gone = new Set(planRotation(copies, { hourly, daily }, free))
      const kept = copies.filter(({ name }) => !gone.has(name))
      if (copies.length === 0) return kept.length === 0
      const newest = Math.max(...copies.map(({ takenMs }) => takenMs))
      const sum = (of: typeof copies): number => of.reduce((total, { bytes }) => total + bytes, 0)
      return (
        kept.some(({ takenMs }) => takenMs === newest) &&
        kept.length <= Math.max(1, hourly + daily + 1) &&
        (kept.length === 1 || sum(kept) <= (free + sum(copies)) / 2)
      )
    }),
  )
  t.pass()
})
