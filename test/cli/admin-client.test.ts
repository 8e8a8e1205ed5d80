import test from 'ava'
import { askLong } from '#src/cli/admin-client.ts'
import { type ErrnoName, FsError } from '#src/core/errors.ts'
import type { CallDef, CallOptions, Network } from '#src/core/network.ts'
import { adminFsck } from '#src/wire/services.ts'

const address = '10.77.0.1:9420'
const pace = { everyMs: 1, silenceMs: 60_000 }

type Answer = (options: CallOptions) => Promise<unknown>

/** A master whose answers are `long` to fsck, and to the short questions those of `short`, of which the last goes on. */
function masterOf(long: Answer, ...short: Answer[]): { network: Network; asked: () => number } {
  let asked = 0
  const call = (_address: string, def: CallDef<never, unknown>, _request: unknown, options: CallOptions) => {
    if (def.path === adminFsck.path) return long(options)
    asked += 1
    return (short.length > 1 ? short.shift() : short[0])?.(options)
  }
  return { network: { call } as unknown as Network, asked: () => asked }
}

const answers =
  (value: unknown): Answer =>
  () =>
    Promise.resolve(value)
const fails =
  (code: ErrnoName): Answer =>
  () =>
    Promise.reject(new FsError(code, 'as the network says'))

/** Never an answer; who waits gives up by its signal. */
const silent: Answer = ({ signal }) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => reject(new FsError('ECANCELED', 'given up')), { once: true })
  })

test('a long call to a master that is not there is not begun', async t => {
  let begun = false
  const { network } = masterOf(() => {
    begun = true
    return Promise.resolve({})
  }, fails('ETIMEDOUT'))
  const error = await t.throwsAsync(askLong(network, address, adminFsck, {}, pace), { instanceOf: FsError })
  t.regex(error.message, /^no answer from the master at 10\.77\.0\.1:9420: is it running there\?/)
  t.false(begun)
})

test('a long call ends, and is given up, when the master answers nothing any more', async t => {
  let givenUp = false
  const { network } = masterOf(
    options => {
      options.signal?.addEventListener('abort', () => (givenUp = true))
      return silent(options)
    },
    answers({}),
    answers({}),
    fails('ECONNREFUSED'),
  )
  const error = await t.throwsAsync(askLong(network, address, adminFsck, {}, pace), { instanceOf: FsError })
  t.is(error.code, 'ECONNREFUSED')
  t.regex(error.message, /^no answer from the master at 10\.77\.0\.1:9420/)
  t.true(givenUp)
})

test('a long call takes as long as it takes while the master answers, if only that it does not understand', async t => {
  for (const short of [answers({}), fails('EOPNOTSUPP')]) {
    let done: (value: unknown) => void = () => undefined
    const { network, asked } = masterOf(
      () => new Promise(resolve => (done = resolve)),
      options => {
        if (asked() > 5) done({ problems: ['found'] })
        return short(options)
      },
    )
    t.deepEqual(await askLong(network, address, adminFsck, {}, pace), { problems: ['found'] })
  }
})

test('who goes away during a call is named', async t => {
  const { network } = masterOf(fails('ECONNRESET'), answers({}))
  const error = await t.throwsAsync(askLong(network, address, adminFsck, {}, pace), { instanceOf: FsError })
  t.is(error.message, 'the master at 10.77.0.1:9420 went away before it answered (as the network says)')
})
