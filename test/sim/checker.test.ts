import test from 'ava'
import fc from 'fast-check'
import { check, type Happening, type Model } from '#src/sim/history/checker.ts'

type RegisterOp = { readonly write: number } | { readonly read: number }

const register: Model<number, RegisterOp> = {
  start: 0,
  key: String,
  apply: (state, op) => ('write' in op ? [op.write] : op.read === state ? [state] : []),
  observes: op => 'read' in op,
  describe: op => JSON.stringify(op),
  describeState: String,
}

type Line =
  | readonly ['call', number, RegisterOp]
  | readonly ['answer' | 'end', number]
  | readonly ['moment', RegisterOp]

const happenings = (lines: readonly Line[]): Happening<RegisterOp>[] =>
  lines.map(line => {
    switch (line[0]) {
      case 'call':
        return { kind: 'call', id: line[1], op: line[2] }
      case 'moment':
        return { kind: 'moment', op: line[1] }
      default:
        return { kind: line[0], id: line[1] }
    }
  })

const accepted: Record<string, readonly Line[]> = {
  nothing: [],
  'one after the other': [
    ['call', 1, { write: 1 }],
    ['answer', 1],
    ['call', 2, { read: 1 }],
    ['answer', 2],
  ],
  'a read during a write sees the old': [
    ['call', 1, { write: 1 }],
    ['call', 2, { read: 0 }],
    ['answer', 2],
    ['answer', 1],
  ],
  'a read during a write sees the new': [
    ['call', 1, { write: 1 }],
    ['call', 2, { read: 1 }],
    ['answer', 2],
    ['answer', 1],
  ],
  'two writes in the order that reads show': [
    ['call', 1, { write: 1 }],
    ['call', 2, { write: 2 }],
    ['answer', 1],
    ['answer', 2],
    ['call', 3, { read: 1 }],
    ['answer', 3],
  ],
  'a write that nobody was answered is seen late': [
    ['call', 1, { write: 1 }],
    ['call', 2, { read: 0 }],
    ['answer', 2],
    ['call', 3, { read: 1 }],
    ['answer', 3],
    ['end', 1],
  ],
  'or never': [
    ['call', 1, { write: 1 }],
    ['end', 1],
    ['call', 2, { read: 0 }],
    ['answer', 2],
  ],
  'or is seen only after it can no longer happen': [
    ['call', 1, { write: 1 }],
    ['end', 1],
    ['call', 2, { read: 1 }],
    ['answer', 2],
  ],
  'before a moment and after it': [
    ['call', 1, { write: 1 }],
    ['moment', { write: 2 }],
    ['answer', 1],
    ['call', 2, { read: 2 }],
    ['answer', 2],
  ],
}

const rejected: Record<string, readonly Line[]> = {
  'a read of what was never written': [
    ['call', 1, { read: 3 }],
    ['answer', 1],
  ],
  'a stale read': [
    ['call', 1, { write: 1 }],
    ['answer', 1],
    ['call', 2, { read: 0 }],
    ['answer', 2],
  ],
  'new, then old': [
    ['call', 1, { write: 1 }],
    ['call', 2, { read: 1 }],
    ['answer', 2],
    ['call', 3, { read: 0 }],
    ['answer', 3],
    ['answer', 1],
  ],
  'two readers see two writes in two orders': [
    ['call', 1, { write: 1 }],
    ['call', 2, { write: 2 }],
    ['call', 3, { read: 1 }],
    ['answer', 3],
    ['call', 4, { read: 2 }],
    ['answer', 4],
    ['call', 5, { read: 1 }],
    ['answer', 5],
    ['answer', 1],
    ['answer', 2],
  ],
  'a lost write shows after its end': [
    ['call', 1, { write: 1 }],
    ['end', 1],
    ['call', 2, { read: 0 }],
    ['answer', 2],
    ['call', 3, { read: 1 }],
    ['answer', 3],
  ],
  'old after a moment': [
    ['moment', { write: 2 }],
    ['call', 1, { read: 0 }],
    ['answer', 1],
  ],
}

for (const [name, lines] of Object.entries(accepted))
  test(`explained: ${name}`, t => {
    t.is(check(register, happenings(lines)).kind, 'fine')
  })

for (const [name, lines] of Object.entries(rejected))
  test(`not explained: ${name}`, t => {
    const verdict = check(register, happenings(lines))
    t.is(verdict.kind, 'wrong')
    if (verdict.kind === 'wrong') t.regex(verdict.why, /fits nowhere/)
  })

test('too many orders are told of, not guessed about', t => {
  const calls = Array.from({ length: 12 }, (_, id): Line => ['call', id, { write: id }])
  const verdict = check(register, happenings([...calls, ['call', 20, { read: 99 }], ['answer', 20]]), 500)
  t.is(verdict.kind, 'undecided')
})

/** By the definition: some choice of what has happened and some order of it that agrees with the times. */
function explained(history: readonly Happening<RegisterOp>[]): boolean {
  const ops = new Map<number, { op: RegisterOp; called: number; ended: number; known: boolean }>()
  history.forEach((happening, at) => {
    if (happening.kind === 'call')
      ops.set(happening.id, { op: happening.op, called: at, ended: Number.POSITIVE_INFINITY, known: false })
    else if (happening.kind === 'moment')
      ops.set(-1 - at, { op: happening.op, called: at, ended: at, known: true })
    else {
      const op = ops.get(happening.id)
      if (op !== undefined) Object.assign(op, { ended: at, known: happening.kind === 'answer' })
    }
  })
  const all = [...ops.values()]
  const search = (state: number, left: typeof all): boolean => {
    if (left.every(({ known }) => !known)) return true
    return left.some(next => {
      const rest = left.filter(other => other !== next)
      // Nothing that is left was over, for sure, before this was called; what never happened does not matter.
      if (rest.some(({ ended, known }) => known && ended < next.called)) return false
      const [after] = register.apply(state, next.op)
      // What may not have happened and was over is left out from now on.
      return (
        after !== undefined &&
        search(
          after,
          rest.filter(({ known, ended }) => known || ended >= next.called),
        )
      )
    })
  }
  return search(0, all)
}

const opArb: fc.Arbitrary<RegisterOp> = fc.oneof(
  fc.record({ write: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ read: fc.integer({ min: 0, max: 3 }) }),
)

/** Few operations of few processes, in any order. */
const historyArb = fc
  .array(
    fc.record({
      process: fc.integer({ min: 0, max: 2 }),
      op: opArb,
      lost: fc.boolean(),
      moment: fc.boolean(),
    }),
    { maxLength: 14 },
  )
  .map(steps => {
    const lines: Line[] = []
    const busy = new Map<number, number>()
    let id = 0
    for (const { process, op, lost, moment } of steps) {
      const open = busy.get(process)
      if (open !== undefined) {
        lines.push([lost && process === 0 ? 'end' : 'answer', open])
        busy.delete(process)
      } else if (moment && process === 2 && 'write' in op) lines.push(['moment', op])
      else {
        lines.push(['call', ++id, op])
        busy.set(process, id)
      }
    }
    return happenings(lines)
  })

test('it says what trying all orders says', t => {
  let fine = 0
  let wrong = 0
  fc.assert(
    fc.property(historyArb, history => {
      const expected = explained(history)
      const { kind } = check(register, history)
      if (expected) fine += 1
      else wrong += 1
      return kind === (expected ? 'fine' : 'wrong')
    }),
    { numRuns: 3000 },
  )
  t.true(fine > 300 && wrong > 300, `${fine} fine, ${wrong} wrong`)
})
