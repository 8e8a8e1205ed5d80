import test from 'ava'
import { Counts } from '#src/core/counts.ts'

test('of each key there are at most so many, and room again when one goes', t => {
  const counts = new Counts(2)
  t.true(counts.add('a') && counts.add('a'))
  t.false(counts.add('a'))
  t.true(counts.add('b'))
  counts.delete('a')
  t.true(counts.add('a'))
  t.false(counts.add('a'))
})
