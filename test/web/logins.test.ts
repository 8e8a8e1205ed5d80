import test from 'ava'
import { randomBytes } from 'node:crypto'
import type { Random } from '#src/core/env.ts'
import { codeMs, loginMs, Logins } from '#src/web/logins.ts'

const ada = { role: 'admin', name: 'ada', id: 'a'.repeat(32) }
const bob = { role: 'observer', name: 'bob', id: 'b'.repeat(32) }

function logins() {
  let now = 0
  const made = new Logins({
    clock: { now: () => now, wall: () => 0n },
    random: { bytes: (count: number) => randomBytes(count) } as Random,
  })
  return { logins: made, pass: (ms: number) => (now += ms) }
}

test('a code lets in once and for a short while, a cookie until its time or the logout', t => {
  const { logins: all, pass } = logins()
  const code = all.code(ada)
  t.true(code.length >= 43, '256 bits')
  const entered = all.enter(code)
  t.deepEqual(entered?.visitor, ada)
  t.is(all.enter(code), undefined, 'once')
  const cookie = entered?.cookie ?? ''
  t.not(cookie, code)
  t.deepEqual(all.visitor(cookie), ada)
  for (const wrong of [code, '', `${cookie}x`, cookie.slice(1)]) t.is(all.visitor(wrong), undefined)
  const late = all.code(bob)
  pass(codeMs)
  t.is(all.enter(late), undefined)
  pass(loginMs - codeMs - 1)
  t.deepEqual(all.visitor(cookie), ada)
  pass(1)
  t.is(all.visitor(cookie), undefined)
  const again = all.enter(all.code(ada))?.cookie ?? ''
  all.leave(again)
  t.is(all.visitor(again), undefined)
})

test('one identity has so many codes and logins, and puts out nobody else', t => {
  const { logins: all } = logins()
  const bobs = all.enter(all.code(bob))?.cookie ?? ''
  const codes = Array.from({ length: 9 }, () => all.code(ada))
  t.is(all.enter(codes[0] ?? ''), undefined, 'the oldest went')
  t.truthy(all.enter(codes[8] ?? ''))
  const cookies = Array.from({ length: 40 }, () => all.enter(all.code(ada))?.cookie ?? '')
  t.is(cookies.filter(cookie => all.visitor(cookie) !== undefined).length, 32)
  t.deepEqual(all.visitor(bobs), bob)
})
