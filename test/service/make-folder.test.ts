import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { UsageError } from '#src/core/errors.ts'
import { makeFolder } from '#src/service/make-folder.ts'

test('makes what is missing, and says in one line what is in the way', t => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-folder-'))
  t.teardown(() => {
    rmSync(dir, { recursive: true })
  })
  makeFolder(path.join(dir, 'a', 'b', 'c'))
  makeFolder(path.join(dir, 'a', 'b', 'c'))
  t.true(existsSync(path.join(dir, 'a', 'b', 'c')))
  writeFileSync(path.join(dir, 'file'), '')
  for (const [folder, why] of [
    [path.join(dir, 'file'), /file of that name/],
    [path.join(dir, 'file', 'below'), /not a folder|file of that name/],
    ['/proc/cairn/logs', /cannot use the folder \/proc\/cairn\/logs: it cannot be made there/],
  ] as const)
    t.throws(() => makeFolder(folder), { instanceOf: UsageError, message: why })
})
