/** The table of what calls name, held against the only description of the wire. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { namedInodes } from '#src/master/exports/named-inodes.ts'

const proto = readFileSync(
  fileURLToPath(new URL('../../../proto/cairn/v1/session.proto', import.meta.url)),
  'utf8',
)

const bodyOf = (message: string): string => {
  const found = new RegExp(`^message ${message} \\{(.*?)^\\}`, 'ms').exec(proto)
  const oneLine = new RegExp(`^message ${message} \\{(.*)\\}$`, 'm').exec(proto)
  return (oneLine ?? found)?.[1] ?? ''
}

const camel = (name: string): string => name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase())

/** uint64 fields of a message, and of the messages that it has lists of. */
function wideFields(message: string, under = ''): string[] {
  return [...bodyOf(message).matchAll(/^\s*(repeated |optional )?(\w+) (\w+) = \d+;/gm)].flatMap(
    ([, label, type = '', name = '']) => {
      if (type === 'uint64') return [`${under}${camel(name)}`]
      return label === 'repeated ' && under === '' ? wideFields(type, `${camel(name)}.`) : []
    },
  )
}

/** Numbers that are no inodes. */
const others: Readonly<Record<string, readonly string[]>> = {
  readDir: ['after'],
  getExtents: ['offset', 'length'],
  plan: ['exclude', 'have'],
  reportDamage: ['node'],
  reserveSpace: ['bytes'],
  endSession: ['session', 'epoch'],
  setAttr: ['size'],
  commit: ['extents.offset', 'extents.length', 'blocks.key', 'size'],
  cloneRange: ['fromOffset', 'toOffset', 'length'],
  punchRange: ['offset', 'length'],
}

test('the table has a row for every call of the wire, and in it every number that is an inode', t => {
  const calls = [
    ...(/oneof op \{(.*?)\n {2}\}/s.exec(bodyOf('Call'))?.[1] ?? '').matchAll(/(\w+) (\w+) = \d+;/g),
  ]
  t.true(calls.length > 30)
  t.deepEqual(calls.map(([, , name = '']) => camel(name)).sort(), Object.keys(namedInodes).sort())
  for (const [, message = '', name = ''] of calls) {
    const call = camel(name)
    const named = Object.keys(namedInodes[call as keyof typeof namedInodes])
    t.deepEqual([...named, ...(others[call] ?? [])].sort(), wideFields(message).sort(), call)
  }
})
