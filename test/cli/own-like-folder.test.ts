import { chownSync, linkSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { ownLikeFolder } from '#src/cli/own-like-folder.ts'

test('what root made in a folder of a daemon becomes its owner’s, and nothing else there', t => {
  const top = mkdtempSync(path.join(os.tmpdir(), 'cairn-own-'))
  t.teardown(() => rmSync(top, { recursive: true }))
  const folder = path.join(top, 'data')
  const at = (name: string): string => path.join(folder, name)
  for (const name of ['', 'blocks', 'lost+found']) mkdirSync(at(name))
  for (const name of ['index', 'blocks/file', 'linked']) writeFileSync(at(name), '')
  linkSync(at('linked'), path.join(top, 'elsewhere'))
  chownSync(folder, 1234, 4321)
  ownLikeFolder(folder, ['blocks', 'blocks/none'])
  const owners = ['index', 'blocks', 'blocks/file', 'linked', 'lost+found'].map(name => {
    const { uid, gid } = statSync(at(name))
    return [name, uid, gid]
  })
  t.deepEqual(owners, [
    ['index', 1234, 4321],
    ['blocks', 1234, 4321],
    ['blocks/file', 0, 0],
    ['linked', 0, 0],
    ['lost+found', 0, 0],
  ])
})
