import test from 'ava'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MountRegistry } from '#src/cli/local/mount-registry.ts'

test('a mount process says who it is and what it could not store, once', t => {
  const dir = mkdtempSync(join(tmpdir(), 'cairn-registry-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const registry = new MountRegistry(dir)
  registry.add('0:99', '/mnt')
  const owner = registry.find('0:99')
  t.is(owner?.pid, process.pid)
  if (owner === undefined) return
  t.is(registry.takeLoss(owner), undefined)
  registry.noteLoss('ENOSPC')
  t.is(registry.takeLoss({ ...owner, started: '1' }), undefined, 'of a process that had the same id before')
  t.is(registry.takeLoss(owner), 'ENOSPC')
  t.is(registry.takeLoss(owner), undefined)
  registry.remove('0:99')
  t.is(registry.find('0:99'), undefined)
})
