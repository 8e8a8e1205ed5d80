import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = new URL('../../../', import.meta.url)
const page = readFileSync(fileURLToPath(new URL('docs/security.md', root)), 'utf8')

test('every proof that docs/security.md names is there', t => {
  const section = page.split('\n## What is promised, and what proves it\n')[1] ?? ''
  const named = [...section.matchAll(/`((?:test|ops|tools)\/[\w./-]+)`/g)].map(([, file]) => file ?? '')
  t.true(named.length > 30)
  for (const file of named) t.true(existsSync(fileURLToPath(new URL(file, root))), file)
})
