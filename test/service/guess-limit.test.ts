import test from 'ava'
import { GuessLimit, wrongMax } from '#src/service/guess-limit.ts'

const limited = () => {
  let now = 0
  const limit = new GuessLimit({ now: () => now, wall: () => 0n })
  return { limit, pass: (ms: number) => (now += ms) }
}

test('who has tried too many wrong tokens waits for the rest of a minute, whatever its port', t => {
  const { limit, pass } = limited()
  for (let count = 0; count < wrongMax; count++) {
    t.is(limit.waitMs('10.0.0.1:5'), 0)
    limit.note(`10.0.0.1:${String(1000 + count)}`)
    pass(1000)
  }
  t.is(limit.waitMs('10.0.0.1:7'), 60_000 - wrongMax * 1000)
  t.is(limit.waitMs('10.0.0.2:7'), 0)
  t.is(limit.waitMs('fd00::1:7'), 0)
  pass(60_000)
  t.is(limit.waitMs('10.0.0.1:7'), 0)
  limit.note('10.0.0.1:7')
  t.is(limit.waitMs('10.0.0.1:7'), 0, 'counted anew')
})

test('so many addresses are remembered, and those that come back are', t => {
  const { limit } = limited()
  const wrong = (peer: string): void => {
    for (let count = 0; count < wrongMax; count++) limit.note(peer)
  }
  wrong('early:1')
  wrong('busy:1')
  for (let each = 0; each < 4095; each++) {
    limit.note(`${String(each)}:1`)
    if (each % 1000 === 0) limit.note('busy:1')
  }
  t.true(limit.waitMs('busy:1') > 0)
  t.is(limit.waitMs('early:1'), 0)
})
