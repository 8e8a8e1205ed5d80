import test from 'ava'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { IdentityFolder } from '#src/wire/tls/identity-folder.ts'
import { TestAuthority } from './authority-fixture.js'

const temporary = (t: { teardown(end: () => void): void }): string => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-identity-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

test('an identity is read as it was written, and its private parts are the owner’s alone', async t => {
  const authority = await TestAuthority.make()
  const folder = new IdentityFolder(temporary(t))
  const credentials = await authority.issue({ role: 'mount' })
  t.false(folder.isThere)
  folder.write(credentials)
  folder.writeAuthorityKey(authority.key)
  t.true(folder.isThere)
  t.deepEqual(folder.read(), credentials)
  t.is(folder.readAuthorityKey(), authority.key)
  for (const name of ['identity.pem', 'ca-key.pem'])
    t.is(statSync(path.join(folder.dir, name)).mode & 0o777, 0o600, name)
  const next = await authority.issue({ role: 'mount' })
  folder.write(next)
  t.deepEqual(folder.read(), next)
  t.deepEqual(readdirSync(folder.dir).sort(), ['ca-key.pem', 'ca.pem', 'identity.pem'])
})

test('keys that others can read are refused in one line', async t => {
  const authority = await TestAuthority.make()
  const folder = new IdentityFolder(temporary(t))
  folder.write(await authority.issue({ role: 'mount' }))
  folder.writeAuthorityKey(authority.key)
  for (const mode of [0o640, 0o604, 0o660, 0o622]) {
    chmodSync(path.join(folder.dir, 'identity.pem'), mode)
    t.throws(() => folder.read(), { message: /^[^\n]*identity\.pem can be used by others[^\n]*$/ })
    chmodSync(path.join(folder.dir, 'ca-key.pem'), mode)
    t.throws(() => folder.readAuthorityKey(), { message: /^[^\n]*ca-key\.pem can be used by others[^\n]*$/ })
  }
})

test('what is missing, damaged, or does not belong together is one line', async t => {
  const authority = await TestAuthority.make()
  const folder = new IdentityFolder(temporary(t))
  t.throws(() => folder.read(), { message: /^there is no [^\n]*cairn cluster init[^\n]*$/ })
  const one = await authority.issue({ role: 'mount' })
  const other = await authority.issue({ role: 'mount' })
  folder.write({ ...one, key: other.key })
  t.throws(() => folder.read(), { message: /do not match$/ })
  folder.write({ ...one, authority: (await TestAuthority.make()).certificate })
  t.throws(() => folder.read(), { message: /not from the authority in ca.pem$/ })
  folder.write(one)
  const file = path.join(folder.dir, 'identity.pem')
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, 100))
  t.throws(() => folder.read(), { message: /^the identity in [^\n]* cannot be used: [^\n]*$/ })
})
