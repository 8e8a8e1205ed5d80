import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { silentLog } from '#src/core/env.ts'
import { FsError } from '#src/core/errors.ts'
import { NotificationThread, type NotificationWriter } from '#src/fuse/device/notification-thread.ts'
import { NotificationThreads } from '#src/fuse/device/notification-threads.ts'

/** A thread that writes when it is told to. */
class Thread implements NotificationWriter {
  readonly given: string[] = []
  readonly #died: (why: FsError) => void
  #settle: {
    readonly resolve: (error: string | undefined) => void
    readonly reject: (why: FsError) => void
  }[] = []

  constructor(died: (why: FsError) => void) {
    this.#died = died
  }

  write(bytes: Uint8Array): Promise<string | undefined> {
    this.given.push(Buffer.from(bytes).toString())
    return new Promise((resolve, reject) => this.#settle.push({ resolve, reject }))
  }

  /** The kernel takes so many. */
  take(count: number): void {
    for (const { resolve } of this.#settle.splice(0, count)) resolve(undefined)
  }

  die(): void {
    const why = new FsError('EIO', 'no memory')
    for (const { reject } of this.#settle.splice(0)) reject(why)
    this.#died(why)
  }

  async stop(): Promise<void> {
    for (const { resolve } of this.#settle.splice(0)) resolve('ENODEV')
  }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Threads, the fakes that were started, and what has been answered. */
function started(startsMax = Number.POSITIVE_INFINITY) {
  const fakes: Thread[] = []
  const threads = new NotificationThreads(-1, silentLog, died => {
    if (fakes.length >= startsMax) throw new Error('no more threads')
    const fake = new Thread(died)
    fakes.push(fake)
    return fake
  })
  const answers = new Map<string, string>()
  let failure: FsError | undefined
  void threads.failed.then(why => (failure = why))
  const write = (...names: string[]): void => {
    for (const name of names)
      void threads.write(Buffer.from(name)).then(error => answers.set(name, error ?? 'done'))
  }
  return { threads, fakes, answers, write, failure: () => failure }
}

test('what a thread had when it died is written by another, in order and before what comes later', async t => {
  const { fakes, answers, write, failure } = started()
  write('a', 'b', 'c')
  await turn()
  fakes[0]?.take(1)
  await turn()
  fakes[0]?.die()
  write('d')
  await turn()
  t.deepEqual(fakes[1]?.given, ['b', 'c'])
  fakes[1]?.take(2)
  await turn()
  fakes[1]?.take(1)
  await turn()
  t.deepEqual(
    [...answers],
    ['a', 'b', 'c', 'd'].map(name => [name, 'done']),
  )
  t.is(failure(), undefined)
})

test('a thread that dies idle is not given anything', async t => {
  const { fakes, answers, write } = started()
  fakes[0]?.die()
  write('a')
  await turn()
  t.deepEqual(
    fakes.map(({ given }) => given),
    [[], ['a']],
  )
  fakes[1]?.take(1)
  await turn()
  t.is(answers.get('a'), 'done')
})

test('where every thread dies it has failed, and nothing is said to be written before the end', async t => {
  const { threads, fakes, answers, write, failure } = started()
  write('a')
  for (let n = 0; n < 4; n++) {
    await turn()
    t.is(failure(), undefined)
    fakes[n]?.die()
  }
  write('b')
  await turn()
  t.like(failure(), { code: 'EIO' })
  t.is(fakes.length, 4)
  t.is(answers.size, 0)
  t.deepEqual(
    threads.unfinished.map(bytes => Buffer.from(bytes).toString()),
    ['a', 'b'],
  )
  await threads.stop()
  await turn()
  t.is(answers.size, 0, 'the kernel may still serve what is old')
  threads.settle()
  await turn()
  t.deepEqual(
    [...answers],
    [
      ['a', 'ENODEV'],
      ['b', 'ENODEV'],
    ],
  )
})

test('what a thread had from behind a message that is stuck does not go back there when it dies', async t => {
  const { fakes, answers, write, failure } = started()
  write('a', 'b', 'c')
  await turn()
  // As soon as the first is stuck: the second would be after as long.
  while (fakes.length < 2) await sleep(5)
  t.deepEqual(fakes[1]?.given, ['b', 'c'])
  fakes[1]?.die()
  await turn()
  t.deepEqual(fakes[2]?.given, ['b', 'c'])
  fakes[2]?.take(2)
  await turn()
  t.deepEqual([...answers.keys()], ['b', 'c'])
  t.is(failure(), undefined)
})

test('while a thread is stuck, one that cannot be started is tried again', async t => {
  const { fakes, answers, write, failure } = started(1)
  write('a', 'b')
  await turn()
  await sleep(300)
  t.is(failure(), undefined)
  fakes[0]?.take(2)
  await turn()
  t.deepEqual([...answers.keys()], ['a', 'b'])
})

test('where no thread can be started it has failed', async t => {
  const { fakes, answers, write, failure } = started(1)
  write('a')
  await turn()
  fakes[0]?.die()
  await turn()
  t.regex(failure()?.message ?? '', /no more threads/)
  t.is(answers.size, 0)
})

test('a real thread that ends is replaced by one that writes', async t => {
  const directory = mkdtempSync(join(os.tmpdir(), 'cairn-notify-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const path = join(directory, 'device')
  const fd = openSync(path, 'a')
  t.teardown(() => closeSync(fd))
  // Notifications keep no process alive.
  const alive = setInterval(() => undefined, 1000)
  t.teardown(() => clearInterval(alive))
  // It reads nothing, and ends at the first message.
  const dying = new Worker(
    "require('node:worker_threads').parentPort.once('message', () => process.exit(3))",
    {
      eval: true,
    },
  )
  let first = true
  const threads = new NotificationThreads(fd, silentLog, died => {
    const thread = first ? new NotificationThread(dying, died) : NotificationThread.start(fd, died)
    first = false
    return thread
  })
  t.teardown(() => threads.stop())
  t.deepEqual(await Promise.all(['a', 'b'].map(name => threads.write(Buffer.from(name)))), [
    undefined,
    undefined,
  ])
  // What waits long behind another is written beside it, perhaps twice.
  const written = (): string[] => [...new Set(readFileSync(path, 'utf8'))].sort()
  t.deepEqual(written(), ['a', 'b'])
  t.is(await threads.write(Buffer.from('c')), undefined)
  t.deepEqual(written(), ['a', 'b', 'c'])
  await threads.stop()
  t.is(await threads.write(Buffer.from('d')), 'ENODEV')
})
