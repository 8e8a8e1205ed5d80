import test from 'ava'
import fc from 'fast-check'
import { IntervalSet } from '#src/client/interval-set.ts'
import { ExtentMap, type MappedExtent, noToken } from '#src/client/read/extent-map.ts'
import { ReadStreams } from '#src/client/read/read-streams.ts'
import { orderReplicas } from '#src/client/read/replicas.ts'
import { ChunkPool } from '#src/client/write/chunk-pool.ts'
import { FileBuffer } from '#src/client/write/file-buffer.ts'
import type { SealedRange } from '#src/client/write/sealed.ts'
import { rangesToSeal } from '#src/client/write/file-buffer.ts'
import { type BlockId, ino } from '#src/core/ids.ts'
import { KiB, MiB } from '#src/core/units.ts'

const span = 60
const range = fc
  .tuple(fc.nat(span), fc.nat(span))
  .map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) }))

test('an interval set is a set of numbers', t => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), range)), range, (changes, asked) => {
      const set = new IntervalSet()
      const model = new Array<boolean>(span + 1).fill(false)
      for (const [add, { from, to }] of changes) {
        if (add) set.add(from, to)
        else set.remove(from, to)
        model.fill(add, from, to)
      }
      const ranges = [...set.ranges()]
      for (const [i, { from, to }] of ranges.entries()) t.true(from < to && (ranges[i - 1]?.to ?? -1) < from)
      const members = new Array<boolean>(span + 1).fill(false)
      for (const { from, to } of ranges) members.fill(true, from, to)
      t.deepEqual(members, model)
      t.is(set.size, model.filter(Boolean).length)
      const inAsked = model.slice(asked.from, asked.to)
      t.is(set.covers(asked.from, asked.to), inAsked.every(Boolean))
      const gap = set.firstGap(asked.from, asked.to)
      const start = inAsked.indexOf(false)
      if (start < 0) t.is(gap, undefined)
      else {
        const end = inAsked.indexOf(true, start)
        t.deepEqual(gap, { from: asked.from + start, to: asked.from + (end < 0 ? inAsked.length : end) })
      }
    }),
  )
})

test('an extent map is an array of cells', t => {
  const change = fc.record({ range, hole: fc.boolean(), blockOffset: fc.nat(9), unset: fc.boolean() })
  fc.assert(
    fc.property(fc.array(change), range, (changes, asked) => {
      const map = new ExtentMap()
      const model = new Array<string>(span + 1).fill('unknown')
      for (const [index, { range, hole, blockOffset, unset }] of changes.entries()) {
        const { from, to } = range
        const known = { ino: ino(1n), at: from, locations: [], token: noToken, tokenUntil: 0n }
        const block = { id: `${index}` as BlockId, length: 1000, ...known }
        if (unset) map.unset(from, to)
        else map.set(from, to, hole ? [] : [{ from, to, block, blockOffset }])
        for (let i = from; i < to; i++)
          model[i] = unset ? 'unknown' : hole ? 'hole' : `${index}:${blockOffset + i - from}`
      }
      const unknown = map.firstUnknown(asked.from, asked.to)
      const first = model.slice(asked.from, asked.to).indexOf('unknown')
      t.is(unknown?.from, first < 0 ? undefined : asked.from + first)
      const cells = new Map<number, string>()
      const found: MappedExtent[] = map.within(asked.from, asked.to)
      for (const { from, to, block, blockOffset } of found)
        for (let i = from; i < to; i++) cells.set(i, `${block.id}:${blockOffset + i - from}`)
      for (let i = asked.from; i < asked.to; i++) {
        const expected = model[i]
        t.is(cells.get(i), expected === 'unknown' || expected === 'hole' ? undefined : expected)
      }
      const next = map.next(asked.from)
      const held = model.findIndex((cell, i) => i >= asked.from && cell !== 'unknown' && cell !== 'hole')
      t.is(next === undefined ? -1 : Math.max(asked.from, next.from), held)
    }),
  )
})

const windowBytes = 4096

test('a file buffer holds what was written, sealed and restored, and gives all memory back', t => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('write' as const),
        at: fc.nat(12_000),
        size: fc.integer({ min: 1, max: 6000 }),
        eager: fc.boolean(),
      }),
    },
    fc.record({ kind: fc.constant('seal' as const) }),
    fc.record({ kind: fc.constant('restore' as const) }),
    fc.record({ kind: fc.constant('commit' as const) }),
    fc.record({ kind: fc.constant('discard' as const), size: fc.nat(16_000) }),
    fc.record({ kind: fc.constant('dropClean' as const) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), steps => {
      const pool = new ChunkPool(windowBytes, 2 * windowBytes)
      const buffer = new FileBuffer(pool)
      /** What a reader sees, and which of it is dirty in the buffer. */
      const model = Buffer.alloc(20_000)
      const dirty = new Array<boolean>(20_000).fill(false)
      let sealed: SealedRange[] = []
      let end = 0
      for (const [index, step] of steps.entries()) {
        if (step.kind === 'write') {
          const bytes = Buffer.alloc(step.size, index + 1)
          const before = dirty.slice(step.at, step.at + step.size).filter(Boolean).length
          t.is(buffer.write(step.at, bytes, step.eager), step.size - before)
          bytes.copy(model, step.at)
          dirty.fill(true, step.at, step.at + step.size)
          end = step.at + step.size
        } else if (step.kind === 'seal') {
          const made = buffer.seal(end)
          for (const { offset, end: to, dirtyFrom, data } of made) {
            t.true(Math.floor(offset / windowBytes) === Math.floor((to - 1) / windowBytes))
            t.true(data.equals(model.subarray(offset, to)), 'a block has the bytes of its range')
            dirty.fill(false, dirtyFrom, to)
          }
          t.false(dirty.includes(true), 'everything dirty is sealed')
          sealed.push(...made)
        } else if (step.kind === 'restore') {
          buffer.dropClean()
          for (const one of sealed.toReversed()) {
            buffer.restore(one)
            dirty.fill(true, one.dirtyFrom, one.end)
            one.chunk.release()
          }
          sealed = []
        } else if (step.kind === 'commit') {
          for (const one of sealed) one.chunk.release()
          sealed = []
        } else if (step.kind === 'discard') {
          buffer.discardFrom(step.size)
          for (const one of sealed) one.end = Math.max(one.offset, Math.min(one.end, step.size))
          model.fill(0, step.size)
          dirty.fill(false, step.size)
        } else buffer.dropClean()
        t.is(buffer.dirtyBytes, dirty.filter(Boolean).length)
        t.is(buffer.dirtyEnd, dirty.lastIndexOf(true) + 1)
        const seen = new Array<boolean>(20_000).fill(false)
        buffer.overlay(0, 20_000, (from, to, bytes) => {
          t.true(bytes.equals(model.subarray(from, to)))
          seen.fill(true, from, to)
        })
        t.true(dirty.every((is, i) => !is || seen[i] === true))
      }
      for (const one of sealed) one.chunk.release()
      buffer.discardFrom(0)
      t.is(pool.usedBytes, 0)
      t.true(pool.freeBytes <= 2 * windowBytes)
    }),
    { numRuns: 150 },
  )
})

test('a small write costs a small buffer, and windows apart cost nothing between', t => {
  const pool = new ChunkPool(4 * MiB, 8 * MiB)
  const buffer = new FileBuffer(pool)
  buffer.write(0, Buffer.alloc(4096), false)
  buffer.write(2 ** 43, Buffer.alloc(1), false)
  t.true(pool.usedBytes < 8 * KiB, `${pool.usedBytes}`)
})

test('clean bytes come along only when they are no more than the new ones', t => {
  const run = [{ start: 0, end: 100, cleanTo: 60 }]
  t.deepEqual(rangesToSeal(run, false), [{ from: 60, to: 100, dirtyFrom: 60 }])
  t.deepEqual(rangesToSeal([{ start: 0, end: 100, cleanTo: 50 }], false), [
    { from: 0, to: 100, dirtyFrom: 50 },
  ])
  t.deepEqual(rangesToSeal(run, true), [{ from: 0, to: 100, dirtyFrom: 60 }])
  t.deepEqual(rangesToSeal([{ start: 0, end: 100, cleanTo: 100 }], true), [])
})

test('a reader is read ahead of when it goes on, not when it jumps', t => {
  const streams = new ReadStreams(8 * MiB)
  let covered = 0
  let requests = 0
  for (let at = 0; at < 64 * MiB; at += 128 * KiB) {
    t.true(at === 0 || covered >= at, `at ${at} only ${covered}`)
    const ahead = streams.note(at, 128 * KiB)
    if (ahead === undefined) continue
    t.true(ahead.to - (at + 128 * KiB) <= 8 * MiB)
    covered = ahead.to
    requests++
  }
  t.true(requests < 30)
  const random = new ReadStreams(8 * MiB)
  for (const at of [50, 900, 300, 700, 100, 500]) t.is(random.note(at * MiB, 4096), undefined)
})

test('neighbouring requests out of order are one reader', t => {
  const streams = new ReadStreams(8 * MiB)
  streams.note(0, 128 * KiB)
  streams.note(256 * KiB, 128 * KiB)
  t.is(streams.note(128 * KiB, 128 * KiB), undefined)
  t.truthy(streams.note(384 * KiB, 512 * KiB))
})

test('near, idle and healthy copies come first', t => {
  const at = (node: bigint, host: string, zone: string) => ({ node, address: `${node}`, host, zone })
  const locations = [at(1n, 'c', 'z2'), at(2n, 'b', 'z1'), at(3n, 'a', 'z1')]
  const place = { host: 'a', zone: 'z1' }
  const order = (suspect: bigint[], load: Record<string, number>, readable?: string) =>
    orderReplicas(locations, place, {
      isSuspect: node => suspect.includes(node),
      load: address => load[address] ?? 0,
      readsFiles: address => address === readable,
    }).map(({ node }) => node)
  t.deepEqual(order([], {}), [3n, 2n, 1n])
  t.deepEqual(order([3n], {}), [2n, 1n, 3n])
  t.deepEqual(order([], { 3: 30 }), [2n, 1n, 3n])
  t.deepEqual(order([], { 3: 3 }, '1'), [1n, 3n, 2n])
})
