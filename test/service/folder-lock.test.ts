import test from 'ava'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UsageError } from '#src/core/errors.ts'
import { FolderLock } from '#src/service/folder-lock.ts'

function folder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'cairn-lock-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}

test('a folder is held until released, and says by whom', async t => {
  using dir = folder()
  const lock = await FolderLock.take(dir.path)
  await t.throwsAsync(FolderLock.take(dir.path), {
    instanceOf: UsageError,
    message: `${dir.path} is in use by process ${process.pid}`,
  })
  lock.release()
  lock.release()
  const again = await FolderLock.take(dir.path)
  again.release()
})

test('a process that is killed lets go', async t => {
  using dir = folder()
  const module = fileURLToPath(new URL('./lock-fixture.js', import.meta.url))
  const child = spawn(process.execPath, [module, dir.path], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise(resolve => child.stdout.once('data', resolve))
  await t.throwsAsync(FolderLock.take(dir.path), {
    message: `${dir.path} is in use by process ${child.pid ?? 0}`,
  })
  const ended = new Promise(resolve => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
  const lock = await FolderLock.take(dir.path)
  lock.release()
})

test('a child process started while the lock is held does not keep it', async t => {
  using dir = folder()
  const lock = await FolderLock.take(dir.path)
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  await new Promise(resolve => child.once('spawn', resolve))
  lock.release()
  const again = await FolderLock.take(dir.path)
  again.release()
  child.kill()
  t.pass()
})

test('a folder that cannot be used is one clear line', async t => {
  await t.throwsAsync(FolderLock.take('/nowhere/at/all'), {
    instanceOf: UsageError,
    message: /^Cannot use the folder \/nowhere\/at\/all: ENOENT/,
  })
})
