import { execFile } from 'node:child_process'
import http2 from 'node:http2'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { examples } from '#src/cli/help/examples.ts'
import { cairn, cairnFails, cairnProgram } from '../support/cluster.ts'

/** What holds for every command: help with examples, refusal of what it does not know, an absent master. */
const run = promisify(execFile)

/** `cairn node ls`, with its usage: all that the manual has. */
const sections = [...(await cairn(['manual'])).matchAll(/^\.SS (cairn .*)$/gm)].map(([, line = '']) =>
  line.replaceAll('\\-', '-'),
)
const paths = sections.map(line => line.replace(/ [[<].*$/, ''))

/** Arguments of those that need some and talk to a master. */
const needed: Readonly<Record<string, readonly string[]>> = {
  'cairn cluster token create': ['--role', 'mount'],
  'cairn identity revoke': ['nobody'],
  'cairn export create': ['a', '--path', '/a'],
  'cairn export show': ['a'],
  'cairn export set': ['a'],
  'cairn export remove': ['a'],
  'cairn export release': ['a'],
  'cairn mount evict': ['1', '--yes'],
  'cairn node show': ['1'],
  'cairn node label': ['1', 'x'],
  'cairn node drain': ['1'],
  'cairn node undrain': ['1'],
  'cairn node remove': ['1'],
  'cairn backup': ['/tmp/cairn-test-never-written'],
}

/** Those look at a path on a mount before they look for the master, or do without it. */
const onMounts = ['cairn info', 'cairn locate', 'cairn copies get', 'cairn copies set', 'cairn doctor']

const shortAndLong = [
  ...['cairn health', 'cairn node ls', 'cairn top', 'cairn gc status'],
  ...['cairn damaged', 'cairn backup', 'cairn node drain', 'cairn node remove', 'cairn restore status'],
]

const each = async (work: (path: string) => Promise<void>): Promise<void> => {
  const rest = [...paths]
  const worker = async (): Promise<void> => {
    for (let path = rest.shift(); path !== undefined; path = rest.shift()) await work(path)
  }
  await Promise.all([worker(), worker()])
}

const argsOf = (path: string): string[] => path.split(' ').slice(1)

const helps = new Map<string, Promise<string>>()
const helpOf = (path: string): Promise<string> => {
  const known = helps.get(path) ?? cairn([...argsOf(path), '--help'])
  helps.set(path, known)
  return known
}

test('every command is there once', t => {
  t.true(paths.length > 30)
  t.is(new Set(paths).size, paths.length)
  for (const path of ['cairn mount', 'cairn mount ls', 'cairn health', 'cairn node label'])
    t.true(paths.includes(path), path)
})

test('every example is of a command that is there', t => {
  for (const [path, lines] of Object.entries(examples)) {
    t.true(paths.includes(path), path)
    t.true(lines.length > 0, path)
    for (const line of lines) {
      t.true(line.includes(path), line)
      t.true(line.length <= 78, line)
    }
  }
})

test('every command has help with an example, and refuses a flag that it does not know', async t => {
  await each(async path => {
    const help = await helpOf(path)
    t.regex(help, /^Usage: /, path)
    t.regex(help, /\nExamples?:\n {2}.*cairn /, path)
    const refused = await cairnFails([...argsOf(path), '--no-such-flag'])
    t.is(refused.code, 2, path)
    t.regex(refused.stderr, /unknown option '--no-such-flag'|required option/, path)
  })
})

test('every command of a cluster says which master did not answer, in one line', async t => {
  let asked = 0
  await each(async path => {
    const help = await helpOf(path)
    if (!/--dir <dir>.*local cluster/s.test(help) || onMounts.includes(path)) return
    asked += 1
    t.regex(help, /--json/, path)
    await saysWho(t, path, '127.0.0.1:1')
  })
  t.true(asked > 15)
})

test('a master that is silent, or goes away when it is asked, is not waited for', async t => {
  // Stopped: the kernel accepts. Hung: HTTP/2 is spoken, and nothing is answered. Just going down: the connection is cut.
  const stopped = createServer(socket => socket.on('error', () => undefined))
  const hung = http2.createServer()
  const going = http2.createServer().on('stream', stream => stream.session?.destroy())
  const servers = [stopped, hung, going]
  for (const server of [hung, going]) server.on('session', session => session.on('error', () => undefined))
  const addresses = await Promise.all(servers.map(listening))
  try {
    const calls = [
      ...addresses.flatMap(address => [['cairn status', address] as const, ['cairn fsck', address] as const]),
      // The others ask in the same two ways: briefly, and for as long as it takes.
      ...shortAndLong.map((path, index) => [path, addresses[index % addresses.length] ?? ''] as const),
    ]
    const worker = async (): Promise<void> => {
      for (let call = calls.shift(); call !== undefined; call = calls.shift()) await saysWho(t, ...call)
    }
    await Promise.all([worker(), worker(), worker(), worker()])
  } finally {
    // Commands that ended closed theirs; nothing else is connected.
    for (const server of servers) server.close()
  }
})

function listening(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () =>
      resolve(`127.0.0.1:${String((server.address() as AddressInfo).port)}`),
    )
  })
}

async function saysWho(t: ExecutionContext, path: string, master: string): Promise<void> {
  const { code, stderr, stdout } = await cairnFails([
    ...argsOf(path),
    ...(needed[path] ?? []),
    '--master',
    master,
  ])
  t.is(code, 2, `${path}: ${stderr}`)
  t.is(stdout, '', path)
  t.true(
    [`cairn: no answer from the master at ${master}: `, `cairn: the master at ${master} went away `].some(
      line => stderr.startsWith(line),
    ),
    `${path}: ${stderr}`,
  )
  t.regex(stderr, /^[^\n]*\n$/, path)
}

test('arguments that are no numbers of nodes or mounts are refused', async t => {
  for (const args of [
    ['node', 'show', 'x'],
    ['node', 'label', '0', 'x'],
    ['node', 'drain', '-1'],
    ['mount', 'evict', '1e3'],
    ['scrub', 'start', 'all'],
  ]) {
    const { code, stderr } = await cairnFails([...args, '--master', '127.0.0.1:1'])
    t.is(code, 2, args.join(' '))
    t.regex(stderr, /is no number of a|unknown option/, args.join(' '))
  }
})

test('a reader that has seen enough is no failure', async t => {
  const { stdout, stderr } = await run('bash', [
    '-c',
    `set -o pipefail; '${process.execPath}' '${cairnProgram}' manual | head -1`,
  ])
  t.regex(stdout, /^\.TH CAIRN/)
  t.is(stderr, '')
})
