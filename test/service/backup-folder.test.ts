import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { FsError } from '#src/core/errors.ts'
import { BackupFolder } from '#src/service/backup-folder.ts'

test('copies are known by their names; what was left unfinished goes, other files stay', t => {
  const dir = mkdtempSync(join(tmpdir(), 'cairn-copies-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const folder = new BackupFolder(join(dir, 'backups'))
  t.deepEqual(folder.list(), [], 'no folder')
  mkdirSync(folder.path)
  const times = [1_700_000_000_123, 1_600_000_000_456]
  for (const takenMs of times) writeFileSync(folder.file(folder.nameOf(takenMs)), 'some bytes')
  for (const name of ['master-x.db', 'notes', `${folder.nameOf(5)}.new`, `${folder.nameOf(5)}.new-journal`])
    writeFileSync(join(folder.path, name), '')
  folder.prepare()
  t.deepEqual(
    readdirSync(folder.path).sort(),
    [...times.map(each => folder.nameOf(each)), 'master-x.db', 'notes'].sort(),
  )
  t.deepEqual(
    folder.list().map(({ takenMs, bytes }) => [takenMs, bytes]),
    [...times].reverse().map(each => [each, 10]),
  )
  const name = folder.nameOf(times[0] ?? 0)
  t.is(Buffer.from(folder.read(name, 5, 100)).toString(), 'bytes')
  folder.remove(name)
  t.is(t.throws(() => folder.read(name, 0, 1), { instanceOf: FsError }).code, 'ENOENT')
  t.is(t.throws(() => folder.read('../../etc/passwd', 0, 1), { instanceOf: FsError }).code, 'EINVAL')
  t.true(folder.freeBytes() > 0)
})
