import { loadSync } from '@grpc/proto-loader'
import test from 'ava'
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { methodOf, methodPaths } from '#src/wire/tls/roles.ts'

const folder = fileURLToPath(new URL('../../../../proto/', import.meta.url))
const { protoPath } = createRequire(import.meta.url)('grpc-health-check') as { protoPath: string }

const described = (): string[] => {
  const files = readdirSync(path.join(folder, 'cairn/v1')).map(name => `cairn/v1/${name}`)
  const loaded = loadSync([...files, protoPath], { includeDirs: [folder, path.dirname(protoPath)] })
  return Object.values(loaded).flatMap(service =>
    'format' in service ? [] : Object.values(service).map(method => (method as { path: string }).path),
  )
}

test('the table of roles has every method of proto/, and no other', t => {
  const reflection = methodPaths.filter(name => name.startsWith('/grpc.reflection.'))
  t.is(reflection.length, 2)
  t.deepEqual([...methodPaths].sort(), [...described(), ...reflection].sort())
})

test('what is not in the table is for nobody, whatever its name', t => {
  for (const name of ['', '/', 'toString', '__proto__', 'constructor', '/cairn.v1.Session/attach'])
    t.is(methodOf(name), undefined, name)
})

test('only a chunkserver speaks for a node, only a mount has a session, only an admin changes what is', t => {
  t.deepEqual(methodOf('/cairn.v1.Nodes/Attach')?.callers, ['chunkserver'])
  t.deepEqual(methodOf('/cairn.v1.Session/Attach')?.callers, ['mount'])
  for (const name of methodPaths) {
    const method = methodOf(name)
    if (method?.audited !== true || !name.startsWith('/cairn.v1.Admin/')) continue
    t.deepEqual(method.callers, ['admin'], name)
  }
  const strangers = methodPaths.filter(name => methodOf(name)?.strangers === true)
  t.deepEqual(strangers, ['/cairn.v1.Identity/Join'])
})
