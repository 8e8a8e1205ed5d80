import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import { hour, minute } from '#src/core/units.ts'
import type { BackupState } from '#src/master/backup/backup-state.ts'
import { type BackupJob, Backups, type TakenBackup } from '#src/master/backup/backups.ts'
import type { KeptCopy } from '#src/master/backup/plan-rotation.ts'
import { BackupReply, ReadBackupReply, ReadBackupRequest } from '#src/wire/gen/cairn/v1/admin.ts'
import { ManualEnv } from '../client/manual-env.ts'

/** Copies in memory. */
class Folder {
  copies: KeptCopy[] = []
  free = 1e9
  list(): KeptCopy[] {
    return [...this.copies].sort((a, b) => a.takenMs - b.takenMs)
  }
  nameOf(takenMs: number): string {
    return `c${String(takenMs)}`
  }
  file(name: string): string {
    return `/copies/${name}`
  }
  remove(name: string): void {
    this.copies = this.copies.filter(copy => copy.name !== name)
  }
  freeBytes(): number {
    return this.free
  }
  read(name: string, offset: number, length: number): Uint8Array {
    return Buffer.from(`bytes of ${name}`).subarray(offset, offset + length)
  }
}

interface Fixture {
  env: ManualEnv
  folder: Folder
  backups: Backups
  states: BackupState[]
  full: boolean
  fails: string
}

function make(everyMs: number, copies: readonly number[] = [], nowMs = 1000): Fixture {
  const env = new ManualEnv()
  env.nowMs = nowMs
  const folder = new Folder()
  for (const takenMs of copies) folder.copies.push({ name: folder.nameOf(takenMs), takenMs, bytes: 100 })
  const fixture = { env, folder, states: [] as BackupState[], full: false, fails: '' }
  const take = async ({ file, stamp }: BackupJob): Promise<TakenBackup> => {
    if (fixture.fails !== '') throw new Error(fixture.fails)
    const name = file.slice('/copies/'.length)
    folder.copies.push({ name, takenMs: Number(stamp.taken / 1_000_000n), bytes: 100 })
    const facts = { incarnation: 5n, version: 3, cluster: Buffer.alloc(16), inodes: 7n }
    return { ...facts, problems: [], bytes: 100, sha256: Buffer.alloc(32, 1) }
  }
  const backups = new Backups(env, {
    database: '/master.db',
    databaseBytes: () => 100,
    folder,
    take,
    program: 'test',
    everyMs,
    keep: { hourly: 3, daily: 1 },
    diskFull: () => fixture.full,
    changed: state => fixture.states.push(state),
  })
  return Object.assign(fixture, { backups })
}

test('copies are taken by the hour, the first soon after the start, and old ones go', async t => {
  const { env, folder, backups, states } = make(hour)
  t.is(backups.state.taken, 0n)
  await env.advance(2 * minute)
  t.is(folder.copies.length, 1)
  t.like(states.at(-1), { count: 1, failing: '', everyMs: hour })
  await env.advance(10 * hour)
  t.is(folder.copies.length, 3, 'that of the day is one of the three')
  const newest = Number((states.at(-1)?.taken ?? 0n) / 1_000_000n)
  t.true(env.nowMs - newest <= hour)
  backups.close()
  await env.advance(10 * hour)
  t.true(
    folder.copies.every(({ takenMs }) => takenMs <= newest),
    'none after the end',
  )
})

test('a fresh copy of before the start counts; one from the future does not', async t => {
  const recent = make(hour, [10 * hour - 10 * minute], 10 * hour)
  await recent.env.advance(49 * minute)
  t.is(recent.states.length, 0)
  await recent.env.advance(2 * minute)
  t.is(recent.states.length, 1)
  const ahead = make(hour, [20 * hour], 10 * hour)
  await ahead.env.advance(2 * minute)
  t.is(ahead.states.length, 1)
})

test('a failure is told and tried again; no room is a failure that writes nothing', async t => {
  const fixture = make(hour)
  const { env, folder, backups, states } = fixture
  fixture.fails = 'the disk is bad'
  await env.advance(2 * minute)
  t.is(states.at(-1)?.failing, 'the disk is bad')
  fixture.fails = ''
  folder.free = 150
  await env.advance(hour)
  t.regex(states.at(-1)?.failing ?? '', /no room/)
  t.is(folder.copies.length, 0)
  const refused = await t.throwsAsync(backups.backup(new Uint8Array(0)), { instanceOf: FsError })
  t.is(refused.code, 'ENOSPC')
  folder.free = 1000
  await env.advance(hour)
  t.is(states.at(-1)?.failing, '')
  t.is(folder.copies.length, 1)
})

test('a full disk costs all copies but the newest; without a period there are only those asked for', async t => {
  const fixture = make(0, [1, 2, 3])
  fixture.full = true
  await fixture.env.advance(2 * minute)
  t.deepEqual(
    fixture.folder.copies.map(({ takenMs }) => takenMs),
    [3],
  )
  fixture.full = false
  await fixture.env.advance(10 * hour)
  t.is(fixture.folder.copies.length, 1)
  const reply = BackupReply.decode(await fixture.backups.backup(new Uint8Array(0)))
  t.like(reply, { bytes: 100n, version: 3, incarnation: 5n, inodes: 7n, problems: [] })
  const read = (offset: bigint): Promise<Uint8Array> =>
    fixture.backups.read(ReadBackupRequest.encode({ name: reply.name, offset, length: 1000 }).finish())
  t.is(Buffer.from(ReadBackupReply.decode(await read(6n)).data).toString(), `of ${reply.name}`)
  t.is(ReadBackupReply.decode(await read(900n)).data.length, 0)
})
