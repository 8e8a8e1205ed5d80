import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { silentLog } from '#src/core/env.ts'
import { MiB } from '#src/core/units.ts'
import { realEnv } from '#src/env/real-env.ts'
import { DiskRoom } from '#src/service/disk-room.ts'

const inTmpfs = process.getuid?.() === 0 ? test : test.skip

inTmpfs(
  'a disk is full before it is, then the reserve is given up, and when that is used, too, it is spent',
  async t => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'cairn-room-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', folder])
    t.teardown(() => {
      execFileSync('umount', ['-l', folder])
      rmSync(folder, { recursive: true })
    })
    const room = await DiskRoom.watch(folder, realEnv(silentLog))
    t.teardown(() => room.close())
    const [filler, reserve] = [path.join(folder, 'filler'), path.join(folder, 'reserve')]
    const until = async (what: string, holds: () => boolean) => {
      for (let tries = 0; tries < 200 && !holds(); tries++) await sleep(25)
      t.true(holds(), what)
    }
    const fill = (bytes: number) => {
      writeFileSync(filler, Buffer.alloc(bytes))
    }
    await until('a reserve is made', () => existsSync(reserve))
    t.deepEqual([room.full, room.spent], [false, false])
    // 2 MiB are the reserve, less than 2 MiB besides it is full.
    fill(29 * MiB)
    await until('full', () => room.full)
    t.deepEqual([room.spent, existsSync(reserve)], [false, true])
    t.throws(() => fill(31 * MiB), { code: 'ENOSPC' })
    room.exhausted()
    t.deepEqual([room.full, room.spent, existsSync(reserve)], [true, false, false])
    t.throws(() => fill(33 * MiB), { code: 'ENOSPC' })
    room.exhausted()
    t.true(room.spent)
    await sleep(600)
    t.true(room.spent, 'it is looked at again and again')
    truncateSync(filler, 29 * MiB)
    await until('some room, not enough for the reserve', () => !room.spent)
    t.deepEqual([room.full, existsSync(reserve)], [true, false])
    truncateSync(filler, 1 * MiB)
    await until('there is room', () => !room.full && !room.spent && existsSync(reserve))
  },
)
