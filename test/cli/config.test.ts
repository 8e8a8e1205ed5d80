import test from 'ava'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dataPathDefaults } from '#src/client/data-path.ts'
import { checkConfig } from '#src/cli/config/config-file.ts'
import { exampleFile, referencePage } from '#src/cli/config/config-text.ts'
import { chunkserverDaemon, daemons, masterDaemon, mountDaemon } from '#src/cli/config/daemons.ts'
import { flagsOf } from '#src/cli/config/flags.ts'
import { withUnit } from '#src/cli/config/kinds.ts'
import { nearestName } from '#src/cli/config/nearest-name.ts'
import { readSettings } from '#src/cli/config/read-settings.ts'
import { type Daemon, namedSettings } from '#src/cli/config/setting.ts'
import { UsageError } from '#src/core/errors.ts'
import { cairnProgram } from '../support/cluster.ts'

const noWarning = (line: string): never => {
  throw new Error(`an unexpected warning: ${line}`)
}

const folderOf = (t: { teardown: (end: () => void) => void }): string => {
  const folder = mkdtempSync(join(tmpdir(), 'cairn-config-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

const master = masterDaemon as unknown as Daemon
const chunkserver = chunkserverDaemon as unknown as Daemon

const problemsOf = (daemon: Daemon, text: string): readonly string[] =>
  checkConfig(daemon, 'F', text).problems

test('what is wrong in a file is told by file, key, value and what is allowed', t => {
  const known = namedSettings(master)
    .map(({ key }) => key)
    .join(', ')
  const cases: readonly (readonly [Daemon, string, readonly string[]])[] = [
    [master, 'copies = 3\nlog_level = "warn"', []],
    [master, 'copies = 99', ['F: copies = 99: must be a whole number from 1 to 9']],
    [master, 'copies = 2.5', ['F: copies = 2.5: must be a whole number from 1 to 9']],
    [master, 'copies = "3"', ['F: copies = "3": must be a whole number from 1 to 9']],
    [
      master,
      'block_size = "3MiB"',
      ['F: block_size = "3MiB": must be a power of two from "64KiB" to "16MiB"'],
    ],
    [master, 'block_size = 65536', []],
    [master, 'data = "relative"', ['F: data = "relative": must be an absolute path']],
    [master, 'lisen = "a:1"', ['F: lisen: there is no such setting; did you mean listen?']],
    [master, 'block-size = 1', ['F: block-size: there is no such setting; did you mean block_size?']],
    [master, 'colour = 1', [`F: colour: there is no such setting; known are ${known}`]],
    [
      master,
      'listen = "nowhere"\nlog_level = "loud"',
      [
        'F: listen = "nowhere": must be HOST:PORT, such as 10.0.0.1:9420 or [fd00::1]:9420',
        'F: log_level = "loud": must be one of debug, info, warn, error',
      ],
    ],
    [master, 'copies = ', ['F, line 1, column 10: invalid value']],
    [master, 'disk.a.data = "/x"', [`F: disk: there is no such setting; known are ${known}`]],
    [chunkserver, '[disk.a]\ndata = "/a"\n[disk.b]\ndata = "/b"', []],
    [chunkserver, '[disk.a]\nzones = "z"', ['F: disk.a.zones: there is no such setting; did you mean zone?']],
    [
      chunkserver,
      '[disk.a]\nzone = 1',
      [`F: disk.a.zone = 1: must be ${chunkserverDaemon.settings.zone.kind.allowed}`],
    ],
    [chunkserver, 'disk = "/dev/sda"', ['F: disk = "/dev/sda": must be tables, such as [disk.disk1]']],
    [chunkserver, 'disk.a = 1', ['F: disk.a = 1: must be a table: [disk.a]']],
    [chunkserver, '[disc.a]\nzone = "z"', ['F: disc: there is no such setting; did you mean disk?']],
  ]
  for (const [daemon, text, problems] of cases) t.deepEqual(problemsOf(daemon, text), problems, text)
})

test('a flag goes before a variable, that before the section, the file and the default', t => {
  const file = join(folderOf(t), 'chunkserver.toml')
  writeFileSync(
    file,
    'master = "file:1"\nzone = "file"\nlisten = "top:1"\ncapacity = "1.5GiB"\n[disk.a]\nlisten = "section:1"\ndata = "/a"\n',
  )
  const read = (flags: object, env: NodeJS.ProcessEnv, section = 'a') =>
    readSettings(chunkserverDaemon, {
      config: file,
      section,
      env,
      flags: flags as Record<string, unknown>,
      warn: noWarning,
    })
  const settings = read({}, {})
  t.like(settings, { master: 'file:1', listen: 'section:1', data: '/a', zone: 'file', metrics: 'off' })
  t.is(settings.capacity, 1.5 * 2 ** 30)
  t.is(read({}, { CAIRN_MASTER: 'variable:1' }).master, 'variable:1')
  t.is(read({ master: 'flag:1' }, { CAIRN_MASTER: 'variable:1' }).master, 'flag:1')
  t.is(read({}, { CAIRN_CHUNKSERVER_CAPACITY: '64K' }).capacity, 65536)
  t.is(read({}, { CAIRN_CHUNKSERVER_ZONE: '' }).zone, 'file')
  t.throws(() => read({}, { CAIRN_CHUNKSERVER_CAPACITY: 'much' }), {
    instanceOf: UsageError,
    message:
      'CAIRN_CHUNKSERVER_CAPACITY = "much": must be a number of bytes such as 1048576, "64KiB" or "10GiB"',
  })
  t.throws(() => read({}, {}, 'b1'), {
    instanceOf: UsageError,
    message: `${file}: there is no [disk.b1]; it has a`,
  })
})

test('a missing required setting names every way to give it; a misspelt variable is a warning', t => {
  const warnings: string[] = []
  const error = t.throws(
    () =>
      readSettings(masterDaemon, {
        config: false,
        env: { CAIRN_MASTER_LISTN: 'a:1', CAIRN_MASTER_SERVICE_HOST: 'of something else' },
        flags: { data: '/d' },
        warn: line => warnings.push(line),
      }),
    { instanceOf: UsageError },
  )
  t.is(error.message, 'listen is not set: give --listen <host:port>, CAIRN_MASTER_LISTEN')
  t.deepEqual(warnings, [
    'CAIRN_MASTER_LISTN is no setting of cairn master; did you mean CAIRN_MASTER_LISTEN?',
  ])
})

test('settings that are handed on as flags are the same when read again', t => {
  const given = {
    master: 'm:1',
    options: ['ro', 'noatime'],
    zone: 'z',
    wait: 2.5,
    cache: 123456789,
    log: undefined,
    logLevel: 'debug',
    logFormat: 'json',
    metrics: '[::1]:9',
  }
  const args = flagsOf(mountDaemon, given)
  t.deepEqual(args, [
    ...['--options', 'ro,noatime', '--zone', 'z', '--wait', '2.5', '--cache', '123456789'],
    ...['--log-level', 'debug', '--log-format', 'json', '--metrics', '[::1]:9'],
  ])
})

test('the nearest name is one that is close, or none', t => {
  t.is(nearestName('lsiten', ['data', 'listen']), 'listen')
  t.is(nearestName('METRIC', ['metrics']), 'metrics')
  t.is(nearestName('colour', ['data', 'listen']), undefined)
  t.is(nearestName('x', []), undefined)
})

test('examples and reference are up to date (make reference), and the examples are without fault', t => {
  const root = new URL('../../../', import.meta.url)
  for (const daemon of daemons) {
    const text = exampleFile(daemon)
    t.is(readFileSync(new URL(`ops/config/${daemon.name}.toml`, root), 'utf8'), text)
    t.deepEqual(problemsOf(daemon, text), [])
    // What is commented out is right too.
    const all = text.replace(/^#([a-z_]+ = |\[)/gm, '$1')
    t.not(all, text)
    t.deepEqual(problemsOf(daemon, all), [])
  }
  t.is(readFileSync(new URL('docs/configuration.md', root), 'utf8'), referencePage(daemons))
  t.is(mountDaemon.settings.cache.otherwise, withUnit(dataPathDefaults.cacheBytes))
})

const cairn = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  spawnSync(process.execPath, [cairnProgram, ...args], { encoding: 'utf8', env: { ...process.env, ...env } })

test('cairn config check and show; a daemon with a wrong file says so in one line and ends with code 2', t => {
  const folder = folderOf(t)
  const file = join(folder, 'master.toml')
  writeFileSync(file, 'data = "/nowhere"\nlisten = "127.0.0.1:0"\ncopies = 2\n')
  const ok = cairn(['config', 'check', file])
  t.deepEqual([ok.status, ok.stdout, ok.stderr], [0, `${file}: ok\n`, ''])
  const show = cairn(['config', 'show', 'master', '--config', file, '--json'], { CAIRN_MASTER_COPIES: '4' })
  const shown = JSON.parse(show.stdout) as { setting: string; value: unknown; from: string }[]
  t.deepEqual(
    shown.filter(({ setting }) => ['copies', 'data', 'log_level'].includes(setting)),
    [
      { setting: 'data', value: '/nowhere', from: file },
      { setting: 'copies', value: 4, from: 'CAIRN_MASTER_COPIES' },
      { setting: 'log_level', value: 'info', from: 'default' },
    ],
  )

  writeFileSync(file, 'data = "/nowhere"\nlissen = "127.0.0.1:0"\ncopies = 20\n')
  const bad = cairn(['config', 'check', file])
  t.is(bad.status, 2)
  t.is(
    bad.stderr,
    `cairn: ${file}: lissen: there is no such setting; did you mean listen?\n` +
      `cairn: ${file}: copies = 20: must be a whole number from 1 to 9\n`,
  )
  const daemon = cairn(['master', '--config', file])
  t.is(daemon.status, 2)
  t.is(
    daemon.stderr,
    `cairn: ${file}: lissen: there is no such setting; did you mean listen? (and 1 more: cairn config check ${file})\n`,
  )
  t.is(cairn(['config', 'check', join(folder, 'other.toml')]).status, 2)
  t.is(cairn(['master', '--config', join(folder, 'absent.toml')]).status, 2)
})
