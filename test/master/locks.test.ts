import test from 'ava'
import fc from 'fast-check'
import { ino, sessionId } from '#src/core/ids.ts'
import { type LockOwner, LockTable } from '#src/master/locks/lock-table.ts'
import type { RangeChange } from '#src/master/locks/ranges.ts'

const file = ino(7n)
const who = (session: number, owner: number, flock = false): LockOwner => ({
  session: sessionId(BigInt(session)),
  owner: BigInt(owner),
  flock,
})
const range = (kind: RangeChange['kind'], start: number, end: number): RangeChange => ({
  kind,
  start: BigInt(start),
  end: BigInt(end),
  pid: 1,
})
const all = (kind: RangeChange['kind']): RangeChange => ({ kind, start: 0n, end: (1n << 63n) - 1n, pid: 1 })

/** The dumb version: what every owner holds of every byte. */
class ByteModel {
  readonly bytes = new Map<string, string[]>()

  #of(owner: number): string[] {
    const key = String(owner)
    const held = this.bytes.get(key) ?? Array.from({ length: 12 }, () => '')
    this.bytes.set(key, held)
    return held
  }

  set(owner: number, change: RangeChange): boolean {
    for (let at = Number(change.start); at <= Number(change.end); at++)
      for (const [key, held] of this.bytes)
        if (key !== String(owner) && change.kind !== 'unlock' && held[at] !== '')
          if (held[at] === 'write' || change.kind === 'write') return false
    for (let at = Number(change.start); at <= Number(change.end); at++)
      this.#of(owner)[at] = change.kind === 'unlock' ? '' : change.kind
    return true
  }
}

test('byte ranges split, merge, upgrade and downgrade as a table of bytes does', t => {
  const step = fc.record({
    owner: fc.integer({ min: 1, max: 3 }),
    kind: fc.constantFrom('read' as const, 'write' as const, 'unlock' as const),
    start: fc.integer({ min: 0, max: 11 }),
    length: fc.integer({ min: 1, max: 12 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const table = new LockTable()
      const model = new ByteModel()
      for (const { owner, kind, start, length } of steps) {
        const change = range(kind, start, Math.min(11, start + length - 1))
        const outcome = table.set(file, who(1, owner), change, undefined, [])
        t.is(outcome === 'done', model.set(owner, change))
        // Another owner's probe of every byte sees exactly what the model has.
        for (let at = 0; at < 12; at++) {
          const inTheWay = table.test(file, who(2, 9), range('write', at, at)) !== undefined
          t.is(
            inTheWay,
            [...model.bytes.values()].some(held => held[at] !== ''),
          )
        }
      }
      for (let owner = 1; owner <= 3; owner++) table.set(file, who(1, owner), all('unlock'), undefined, [])
      t.is(table.size, 0)
    }),
    { numRuns: 200 },
  )
})

test('waiting requests are granted in their order, as soon as nothing held is in the way', t => {
  const table = new LockTable()
  const granted: string[] = []
  t.is(table.set(file, who(1, 1), range('write', 0, 9), 'x', granted), 'done')
  t.is(table.set(file, who(2, 1), range('write', 5, 14), 'a', granted), 'waits')
  t.is(table.set(file, who(3, 1), range('read', 0, 4), 'b', granted), 'waits')
  t.is(table.set(file, who(4, 1), range('write', 12, 12), undefined, granted), 'done')
  t.deepEqual(granted, [])
  table.set(file, who(1, 1), range('unlock', 0, 9), undefined, granted)
  t.deepEqual(granted, ['b'])
  table.set(file, who(4, 1), range('unlock', 12, 12), undefined, granted)
  t.deepEqual(granted, ['b', 'a'])
})

test('a circle of waits is refused, also over three owners and two files', t => {
  const table = new LockTable()
  const other = ino(8n)
  table.set(file, who(1, 1), range('write', 0, 0), undefined, [])
  table.set(file, who(2, 1), range('write', 1, 1), undefined, [])
  table.set(other, who(3, 1), range('write', 0, 0), undefined, [])
  t.is(table.set(file, who(1, 1), range('write', 1, 1), 'a', []), 'waits')
  t.is(table.set(other, who(2, 1), range('read', 0, 9), 'b', []), 'waits')
  t.is(table.set(file, who(3, 1), range('read', 0, 0), 'c', []), 'deadlock')
  t.is(table.set(file, who(3, 1), range('read', 0, 0), undefined, []), 'conflict')
  t.true(table.cancel('a'))
  t.is(table.set(file, who(3, 1), range('read', 0, 0), 'c', []), 'waits')
})

test('flock conversion gives up the old lock first, so that two shared holders get through', t => {
  const table = new LockTable()
  const granted: string[] = []
  table.set(file, who(1, 1, true), all('read'), undefined, granted)
  table.set(file, who(2, 1, true), all('read'), undefined, granted)
  t.is(table.set(file, who(1, 1, true), all('write'), 'a', granted), 'waits')
  t.is(table.set(file, who(2, 1, true), all('write'), 'b', granted), 'waits')
  t.deepEqual(granted, ['a'])
  // Byte-range locks do not see it.
  t.is(table.set(file, who(3, 1), all('write'), undefined, granted), 'done')
})

test('a dead session leaves neither locks nor waits behind', t => {
  const table = new LockTable()
  table.set(file, who(1, 1), range('write', 0, 9), undefined, [])
  table.set(file, who(2, 1), range('write', 0, 9), 'a', [])
  table.set(file, who(3, 1), range('read', 0, 9), 'b', [])
  t.deepEqual(table.releaseSession(sessionId(2n)), [])
  t.false(table.isWaiting('a'))
  t.deepEqual(table.releaseSession(sessionId(1n)), ['b'])
  t.deepEqual(table.releaseSession(sessionId(3n)), [])
  t.is(table.size, 0)
})
