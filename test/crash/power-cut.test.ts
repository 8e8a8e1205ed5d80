import { execFileSync } from 'node:child_process'
import { mkdtempSync, promises as fs, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { must } from '#src/core/assert.ts'
import { blockIdOf, createChecksums } from '#src/core/checksum.ts'
import { rootIno } from '#src/core/ids.ts'
import { CutCluster } from '../support/cut-check.js'
import { Daemons } from '../support/daemons.js'
import type { DiskEvent } from '../support/disk-events.js'
import { type Loss, ReplayedDisk } from '../support/power-cut.js'
import { Dice } from '../support/random-calls.js'
import { RecordedDisk } from '../support/recorded-disk.js'

/** What somebody was told of a file: from `began` on it may be so, from `answered` on it is. */
interface Told {
  readonly name: string
  readonly is: string | undefined
  readonly began: number
  answered: number
}

const writingMs = 9000
/** Tests, and power cuts in each. */
const parts = 3
const cuts = 4

/** One program: each change is made sure of before the next one. */
async function write(
  mount: string,
  who: string,
  disk: RecordedDisk,
  told: Told[],
  until: () => boolean,
): Promise<void> {
  const dice = new Dice(who.charCodeAt(0))
  const make = async (name: string, is: string | undefined, work: () => Promise<void>): Promise<void> => {
    const promise: Told = { name, is, began: await disk.moment(), answered: Number.POSITIVE_INFINITY }
    told.push(promise)
    await work()
    promise.answered = await disk.moment()
  }
  const changeName = async (work: () => Promise<void>): Promise<void> => {
    await work()
    const folder = await fs.open(mount, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  }
  const store = async (file: string, data: Buffer): Promise<void> => {
    const handle = await fs.open(path.join(mount, file), 'w')
    try {
      await handle.write(data)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
  for (let n = 0; !until(); n++) {
    const name = `${who}${String(dice.below(12))}`
    const data = Buffer.alloc(dice.pick([10, 900, 5000, 70_000, 300_000]), `${who} ${String(n)} `)
    const temporary = `${who}-new`
    const roll = dice.below(10)
    if (roll < 2)
      await make(name, undefined, () => changeName(() => fs.rm(path.join(mount, name), { force: true })))
    else if (roll < 6) {
      await store(temporary, data)
      await make(name, blockIdOf(data), () =>
        changeName(() => fs.rename(path.join(mount, temporary), path.join(mount, name))),
      )
    } else {
      const fresh = `${who}-${String(n)}`
      await make(fresh, blockIdOf(data), () => store(fresh, data))
    }
  }
}

/** What each file may be at a moment. */
function allowedAt(promises: readonly Told[], moment: number) {
  const allowed = new Map<string, (string | undefined)[]>()
  for (const { name, is, began, answered } of promises) {
    if (answered <= moment) allowed.set(name, [is])
    // A file that is being made is there with any part of it; who reads it was promised nothing yet.
    else if (began <= moment && !name.includes('-'))
      allowed.set(name, [...(allowed.get(name) ?? [undefined]), is])
  }
  return allowed
}

interface Recording {
  readonly events: readonly DiskEvent[]
  readonly told: readonly Told[]
  /** The cluster worked from one moment to the other. */
  readonly first: number
  readonly last: number
}

/** What a cluster did to its disks while programs worked and daemons died and started again. */
async function record(): Promise<Recording> {
  const disk = await RecordedDisk.start()
  try {
    const cluster = await Daemons.startOn(disk.path, 3)
    try {
      const told: Told[] = []
      const first = await disk.moment()
      let over = false
      const writing = ['a', 'b', 'c'].map(who => write(cluster.mount, who, disk, told, () => over))
      for (const each of writing) each.catch(() => undefined)
      await sleep(writingMs / 3)
      const restart = async (folder: string, signal: NodeJS.Signals, start: () => Promise<unknown>) => {
        cluster.of(folder).child.kill(signal)
        await cluster.of(folder).ended
        await start()
      }
      await restart('node-2', 'SIGKILL', () => cluster.node(2))
      await restart('master', 'SIGKILL', () => cluster.startMaster())
      await sleep(writingMs / 3)
      await restart('node-1', 'SIGTERM', () => cluster.node(1))
      await sleep(writingMs / 3)
      over = true
      await Promise.all(writing)
      const last = await disk.moment()
      execFileSync('umount', [cluster.mount], { stdio: 'pipe' })
      await cluster.killAll()
      return { events: await disk.events(), told, first, last }
    } finally {
      await cluster.dispose()
    }
  } finally {
    await disk.close()
  }
}

/** Cuts the power at each of the moments, in order. What was wrong after one of them, and how it was cut. */
async function cut(
  t: ExecutionContext,
  { events, told, last }: Recording,
  moments: readonly number[],
  lossOf: () => Loss,
  dice: Dice,
): Promise<string[]> {
  const checksums = await createChecksums()
  const left = mkdtempSync(path.join(tmpdir(), 'cairn-cut-'))
  t.teardown(() => rmSync(left, { recursive: true, force: true }))
  const replayed = new ReplayedDisk(events)
  const wrong: string[] = []
  for (const [number, moment] of moments.entries()) {
    replayed.goTo(moment)
    const losses: string[] = []
    const folder = path.join(left, String(number))
    const noted = (name: string): Loss => {
      const loss = lossOf()
      losses.push(`${name} loses ${loss}`)
      return loss
    }
    replayed.leave(folder, noted, dice)
    const problems = await CutCluster.check(folder, allowedAt(told, moment), checksums)
    rmSync(folder, { recursive: true })
    wrong.push(
      ...problems.map(
        problem => `event ${String(moment)} of ${String(last)}, ${losses.join(', ')}: ${problem}`,
      ),
    )
  }
  return wrong
}

let recording: Recording | undefined

test.before(async () => {
  recording = await record()
})

for (let part = 1; part <= parts; part++)
  test.serial(`a power cut at any moment loses nothing that was acknowledged (${String(part)})`, async t => {
    const made = must(recording, 'recording')
    const { first, last, told } = made
    t.true(told.length > 30, `${String(told.length)} changes were acknowledged`)
    const dice = new Dice(part)
    const moments = Array.from({ length: cuts }, () => first + dice.below(last - first))
    const losses: readonly Loss[] = ['nothing', 'everything', 'the last', 'any', 'any']
    const wrong = await cut(
      t,
      made,
      moments.sort((a, b) => a - b),
      () => dice.pick(losses),
      dice,
    )
    t.deepEqual(wrong, [])
    t.log(`${String(told.length)} changes, ${String(last - first)} events, cut after ${moments.join(', ')}`)
  })

test.serial('disks that sync nothing do not pass', async t => {
  const { events, ...rest } = must(recording, 'recording')
  for (const lying of ['sync', 'syncFolder']) {
    const kept = events.map((event, at) =>
      at > rest.first && event.op === lying ? ({ op: 'sync', ino: rootIno } as const) : event,
    )
    const wrong = await cut(t, { ...rest, events: kept }, [rest.last], () => 'everything', new Dice(1))
    t.not(wrong.length, 0, lying)
  }
})
