import test from 'ava'
import { BusyPoll } from '#src/fuse/device/busy-poll.ts'
import type { Clock } from '#src/core/env.ts'

/** An event loop of which each turn takes an eighth of the window; times are counted in turns. */
class Loop {
  readonly clock: Clock = { now: () => this.turns / 64, wall: () => 0n }
  turns = 0
  #next: (() => void) | undefined

  poll(windowMicros = 125, processors = 2): BusyPoll {
    return new BusyPoll({
      windowMicros,
      clock: this.clock,
      processors,
      nextTurn: look => {
        this.#next = look
      },
    })
  }

  /** How long it stays awake. */
  awake(): number {
    const began = this.turns
    while (this.turn()) continue
    return this.turns - began
  }

  /** False: it would sleep. */
  turn(): boolean {
    const next = this.#next
    this.#next = undefined
    if (next === undefined) return false
    this.turns++
    next()
    return true
  }
}

test('after an answer the loop stays awake for the window, and no longer', t => {
  const loop = new Loop()
  const poll = loop.poll()
  t.is(loop.awake(), 0)
  poll.answered()
  t.is(loop.awake(), 8)
  t.is(loop.awake(), 0)
})

test('a request ends the wait: it may take long itself', t => {
  const loop = new Loop()
  const poll = loop.poll()
  poll.answered()
  t.true(loop.turn())
  poll.asked()
  t.is(loop.awake(), 1)
})

test('each answer begins the window anew', t => {
  const loop = new Loop()
  const poll = loop.poll()
  poll.answered()
  for (let n = 0; n < 20; n++) {
    for (let turn = 0; turn < 7; turn++) t.true(loop.turn())
    poll.asked()
    poll.answered()
  }
  t.is(loop.awake(), 8)
})

test('where nothing comes in time it is not waited for, until requests come quickly again', t => {
  const loop = new Loop()
  const poll = loop.poll()
  const waits = Array.from({ length: 8 }, () => {
    poll.answered()
    const awake = loop.awake()
    loop.turns += 400
    poll.asked()
    return awake
  })
  t.deepEqual(waits, [8, 8, 8, 8, 0, 0, 0, 0])

  poll.answered()
  loop.turns += 4
  poll.asked()
  poll.answered()
  t.is(loop.awake(), 8)
})

test('never with one processor, or where it is switched off', t => {
  const loop = new Loop()
  for (const poll of [loop.poll(125, 1), loop.poll(0)]) {
    poll.answered()
    t.is(loop.awake(), 0)
  }
})
