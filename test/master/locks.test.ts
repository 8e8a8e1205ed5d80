import test from 'ava'
import fc from 'fast-check'
import { ino, sessionId } from '#src/core/ids.ts'
import type { LockChange } from '#src/core/lock-ranges.ts'
import type { LockOwner } from '#src/master/locks/file-locks.ts'
import { LockTable } from '#src/master/locks/lock-table.ts'

const file = ino(7n)
const who = (session: number, owner: number, flock = false): LockOwner => ({
  session: sessionId(BigInt(session)),
  owner: BigInt(owner),
  flock,
})
const range = (kind: LockChange['kind'], start: number, end: number): LockChange => ({
  kind,
  start: BigInt(start),
  end: BigInt(end),
  pid: 1,
})
const all = (kind: LockChange['kind']): LockChange => ({ kind, start: 0n, end: (1n << 63n) - 1n, pid: 1 })

/** The dumb version: what every owner holds of every byte. */
class ByteModel {
  readonly bytes = new Map<string, string[]>()

  #of(owner: number): string[] {
    const key = String(owner)
    const held = this.bytes.get(key) ?? Array.from({ length: 12 }, () => '')
    this.bytes.set(key, held)
    return held
  }

  set(owner: number, change: LockChange): boolean {
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
  // Who does not wait is not kept by those who do.
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
  t.true(table.cancel('a', []))
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

test('a stream of readers does not starve a writer, and nobody waits for a waiting one for long', t => {
  let now = 0
  const table = new LockTable(() => now)
  const granted: string[] = []
  for (const flock of [false, true]) {
    granted.length = 0
    const reader = (n: number) => who(n, 1, flock)
    t.is(table.set(file, reader(1), all('read'), 'r1', granted), 'done')
    t.is(table.set(file, who(9, 1, flock), all('write'), 'w', granted), 'waits')
    t.is(table.set(file, reader(2), all('read'), 'r2', granted), 'waits')
    // F_SETLK is not refused for the sake of one who waits.
    t.is(table.set(file, reader(3), all('read'), undefined, granted), 'done')
    table.set(file, reader(1), all('unlock'), undefined, granted)
    table.set(file, reader(3), all('unlock'), undefined, granted)
    t.deepEqual(granted, ['w'])
    table.set(file, who(9, 1, flock), all('unlock'), undefined, granted)
    t.deepEqual(granted, ['w', 'r2'])

    // The holder may be waiting for the reader by other ways than locks.
    t.is(table.set(file, who(9, 1, flock), all('write'), 'w', granted), 'waits')
    t.is(table.set(file, reader(3), all('read'), 'r3', granted), 'waits')
    now += 1000
    table.tick(granted)
    t.deepEqual(granted, ['w', 'r2'])
    now += 1001
    table.tick(granted)
    t.deepEqual(granted, ['w', 'r2', 'r3'])
    for (const n of [2, 3]) table.set(file, reader(n), all('unlock'), undefined, granted)
    t.deepEqual(granted, ['w', 'r2', 'r3', 'w'])
    table.set(file, who(9, 1, flock), all('unlock'), undefined, granted)
    t.is(table.size, 0)
  }
})

test('who holds a lock on the file goes first: others may be waiting for it', t => {
  const table = new LockTable()
  const granted: string[] = []
  table.set(file, who(1, 1), range('read', 0, 0), undefined, granted)
  table.set(file, who(2, 1), range('read', 0, 0), undefined, granted)
  t.is(table.set(file, who(3, 1), range('write', 0, 9), 'w', granted), 'waits')
  t.is(table.set(file, who(1, 1), range('read', 5, 5), 'more', granted), 'done')
  // An upgrade, behind a writer that waits for the same reader.
  t.is(table.set(file, who(1, 1), range('write', 0, 0), 'up', granted), 'waits')
  table.set(file, who(2, 1), range('unlock', 0, 0), undefined, granted)
  t.deepEqual(granted, ['up'])
  table.set(file, who(1, 1), all('unlock'), undefined, granted)
  t.deepEqual(granted, ['up', 'w'])
})

test('whoever gives up waiting lets those through who let it go first', t => {
  const table = new LockTable()
  const granted: string[] = []
  table.set(file, who(1, 1), all('read'), undefined, granted)
  table.set(file, who(2, 1), all('write'), 'w', granted)
  table.set(file, who(3, 1), all('read'), 'r', granted)
  t.true(table.cancel('w', granted))
  t.deepEqual(granted, ['r'])
  t.false(table.cancel('w', granted))
})

/** The dumb version of the whole table, with waits: no queue but the order of coming, no indexes. */
class SlowTable {
  readonly held: { owner: number; kind: string; at: number }[] = []
  waiting: { owner: number; kind: 'read' | 'write'; start: number; end: number; ticket: string }[] = []

  inTheWay(owner: number, kind: string, start: number, end: number): boolean {
    return this.held.some(
      lock =>
        lock.owner !== owner &&
        lock.at >= start &&
        lock.at <= end &&
        (kind === 'write' || lock.kind === 'write'),
    )
  }

  apply(owner: number, kind: string, start: number, end: number): void {
    const rest = this.held.filter(lock => lock.owner !== owner || lock.at < start || lock.at > end)
    this.held.length = 0
    this.held.push(...rest)
    if (kind !== 'unlock') for (let at = start; at <= end; at++) this.held.push({ owner, kind, at })
  }

  settle(granted: string[]): void {
    for (let again = true; again; ) {
      again = false
      for (const [index, each] of this.waiting.entries()) {
        if (this.inTheWay(each.owner, each.kind, each.start, each.end)) continue
        const goesFirst = this.waiting
          .slice(0, index)
          .some(
            other =>
              other.owner !== each.owner &&
              other.start <= each.end &&
              each.start <= other.end &&
              (other.kind === 'write' || each.kind === 'write'),
          )
        if (goesFirst && !this.held.some(lock => lock.owner === each.owner)) continue
        this.waiting = this.waiting.filter(other => other !== each)
        this.apply(each.owner, each.kind, each.start, each.end)
        granted.push(each.ticket)
        again = true
        break
      }
    }
  }
}

test('with waits, the table lets through whom a table without indexes lets through', t => {
  const step = fc.record({
    owner: fc.integer({ min: 1, max: 5 }),
    kind: fc.constantFrom('read' as const, 'write' as const, 'unlock' as const, 'cancel' as const),
    start: fc.integer({ min: 0, max: 7 }),
    length: fc.integer({ min: 1, max: 8 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const table = new LockTable()
      const slow = new SlowTable()
      for (const [index, { owner, kind, start, length }] of steps.entries()) {
        const end = Math.min(7, start + length - 1)
        const granted: string[] = []
        const expected: string[] = []
        const ticket = String(index)
        if (kind === 'cancel') {
          const [first] = slow.waiting
          if (first === undefined) continue
          slow.waiting.shift()
          slow.settle(expected)
          table.cancel(first.ticket, granted)
        } else {
          const outcome = table.set(file, who(1, owner), range(kind, start, end), ticket, granted)
          if (outcome === 'deadlock') continue
          if (outcome === 'done') {
            t.true(kind === 'unlock' || !slow.inTheWay(owner, kind, start, end))
            slow.apply(owner, kind, start, end)
          } else if (kind !== 'unlock') slow.waiting.push({ owner, kind, start, end, ticket })
          slow.settle(expected)
        }
        t.deepEqual([...granted].sort(), expected.sort())
      }
    }),
    {
      numRuns: Number(process.env['CAIRN_LOCK_RUNS'] ?? 2000),
      // What an owner waits for elsewhere in the file goes in the order of its coming, too.
      examples: [
        [
          [
            { owner: 2, kind: 'write', start: 1, length: 1 },
            { owner: 1, kind: 'read', start: 0, length: 2 },
            { owner: 5, kind: 'read', start: 0, length: 2 },
            { owner: 1, kind: 'write', start: 0, length: 1 },
            { owner: 1, kind: 'cancel', start: 0, length: 1 },
            { owner: 5, kind: 'read', start: 0, length: 1 },
            { owner: 5, kind: 'write', start: 0, length: 2 },
            { owner: 1, kind: 'read', start: 0, length: 1 },
            { owner: 2, kind: 'unlock', start: 0, length: 2 },
          ],
        ],
        [
          [
            { owner: 3, kind: 'write', start: 0, length: 1 },
            { owner: 4, kind: 'write', start: 0, length: 2 },
            { owner: 4, kind: 'read', start: 0, length: 2 },
            { owner: 1, kind: 'read', start: 1, length: 1 },
            { owner: 4, kind: 'write', start: 0, length: 2 },
            { owner: 3, kind: 'unlock', start: 0, length: 1 },
          ],
        ],
        [
          [
            { owner: 5, kind: 'read', start: 0, length: 2 },
            { owner: 2, kind: 'write', start: 1, length: 1 },
            { owner: 1, kind: 'write', start: 0, length: 1 },
            { owner: 2, kind: 'read', start: 0, length: 2 },
            { owner: 1, kind: 'read', start: 0, length: 2 },
            { owner: 2, kind: 'write', start: 1, length: 1 },
            { owner: 5, kind: 'unlock', start: 1, length: 1 },
          ],
        ],
      ],
    },
  )
})

test('10,000 owners, ranges and waits are no more work each than a few', t => {
  const count = 10_000
  const granted: string[] = []
  const table = new LockTable()
  for (let n = 0; n < count; n++) table.set(file, who(1, n, true), all('write'), `f${String(n)}`, granted)
  for (let n = 0; n < count; n++) table.set(file, who(1, n, true), all('unlock'), undefined, granted)
  t.is(granted.length, count - 1)
  granted.length = 0
  for (let n = 0; n < count; n++) table.set(file, who(1, n), range('write', 2 * n, 2 * n), undefined, granted)
  for (let n = 0; n < count; n++)
    table.set(file, who(2, n), range('write', 2 * n, 2 * n), `p${String(n)}`, granted)
  for (let n = 0; n < count; n++) table.set(file, who(1, n), all('unlock'), undefined, granted)
  t.is(granted.length, count)
  for (let n = 0; n < count; n++)
    table.set(file, who(3, 1), range('read', 4 * count + 2 * n, 4 * count + 2 * n), undefined, [])
  table.set(file, who(3, 1), all('unlock'), undefined, granted)
  t.deepEqual(table.releaseSession(sessionId(2n)), [])
  t.is(table.size, 0)
})
