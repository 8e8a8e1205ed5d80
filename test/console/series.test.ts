import test from 'ava'
import { between, growthOf } from '#src/console/rates.ts'
import { Series } from '#src/console/series.ts'
import { decodeBytes, encodeName } from '#src/console/percent-path.ts'
import { shownName } from '#src/console/shown-name.ts'
import { OperationTimes } from '#src/core/operation-times.ts'
import { day, GiB, hour } from '#src/core/units.ts'

test('a series keeps the newest, and time never goes back in it', t => {
  const series = new Series(['a'], 3)
  for (const at of [1, 2, 3, 4]) series.add(at, { a: at * 10 })
  t.deepEqual(series.after(0), { times: [2, 3, 4], a: [20, 30, 40] })
  t.deepEqual(series.after(3), { times: [4], a: [40] })
  t.deepEqual(series.after(4), { times: [], a: [] })
  // The clock was set back.
  series.add(3, { a: null })
  t.deepEqual(series.after(0), { times: [2, 3], a: [20, null] })
})

test('between two looks only what happened there counts', t => {
  const times = new OperationTimes()
  times.observe('lookup', 5000)
  const before = times.rows()
  t.deepEqual(between(before, before), { count: 0, p50Ms: null, p99Ms: null })
  for (let turn = 0; turn < 98; turn++) times.observe('lookup', 0.2)
  for (let turn = 0; turn < 2; turn++) times.observe('commit', 50)
  const now = between(before, times.rows())
  t.is(now?.count, 100)
  // In the buckets from 0.1 to 0.3 ms and from 30 to 100 ms.
  t.true(now?.p50Ms !== null && now !== undefined && now.p50Ms > 0.1 && now.p50Ms < 0.3)
  t.true(now?.p99Ms !== null && now !== undefined && now.p99Ms > 30 && now.p99Ms < 100)
  t.is(between(times.rows(), before), undefined, 'the engine began anew')
})

test('growth is told from an hour on, by the line nearest to what was seen', t => {
  const times = Array.from({ length: 49 }, (_, at) => at * (hour / 2))
  const used = times.map(time => 10 * GiB + (time / day) * GiB)
  const growth = growthOf(times, used, 21 * GiB)
  t.is(Math.round((growth?.bytesPerDay ?? 0) / GiB), 1)
  t.is(Math.round(growth?.fullInDays ?? 0), 10)
  t.is(growthOf([0, hour / 2], [1, 2], 10), undefined)
  t.is(growthOf([], [], 10), undefined)
  t.is(growthOf([0, hour], [5, 4], 10)?.fullInDays, null)
})

test('every byte goes through a path in a URL and back', t => {
  const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  const text = encodeName(all)
  t.regex(text, /^[A-Za-z0-9._~%-]+$/)
  t.deepEqual(decodeBytes(text), all)
  t.deepEqual(decodeBytes('/a%2f%FF'), Buffer.from('/a/\xff', 'latin1'))
  for (const bad of ['%', '%1', '%zz', 'a b', 'é', 'a\n'])
    t.throws(() => decodeBytes(bad), { message: /bytes/ })
})

test('names are shown as they are, but for what cannot be seen or is no text', t => {
  t.is(shownName(Buffer.from('Grüße 你好 <b>&amp;')), 'Grüße 你好 <b>&amp;')
  t.is(shownName(Buffer.from('a\u202Egpj.exe\t')), 'a\\u{202e}gpj.exe\\u{0009}')
  t.is(shownName(Buffer.from('a\xe9\x00', 'latin1')), 'a\\xe9\\u{0000}')
})
