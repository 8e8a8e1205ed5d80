/** The files of ops/ for systemd and mount(8), as far as that can be seen without either. */
import test from 'ava'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { formatVersion } from '#src/chunkserver/blocks/block-tables.ts'
import { environmentOf, nodeOptionsOf } from '#src/cli/local/daemon-node.ts'
import { schemaVersion } from '#src/master/store/format.ts'

const file = (name: string): string => fileURLToPath(new URL(`../../../ops/${name}`, import.meta.url))

const helper = (...args: string[]) =>
  spawnSync('sh', [file('bin/mount.cairn'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, CAIRN: 'echo' },
  })

test('mount.cairn hands on what is for cairn mount, and leaves out what is for others', t => {
  const options =
    'rw,_netdev,nofail,x-systemd.automount,noatime,export=home,zone=r1,cache=1GiB,log_level=warn'
  const full = helper('10.0.0.1:9420', '/mnt/files', '-o', options)
  t.deepEqual(
    [full.status, full.stdout],
    [
      0,
      'mount 10.0.0.1:9420 /mnt/files --export home --zone r1 --cache 1GiB --log-level warn -o rw,noatime\n',
    ],
  )
  t.is(helper('h:1', '/mnt', '-n', '-t', 'cairn').stdout, 'mount h:1 /mnt\n')
  t.is(helper('h:1', '/mnt', '-f', '-o', 'ro').stdout, '')
  t.is(helper('h:1').status, 1)
  t.is(helper('h:1', '/mnt', '-q').status, 1)
  // A star in an option is none of the shell's business.
  t.is(helper('h:1', '/mnt', '-o', 'log=/*').stdout, 'mount h:1 /mnt --log /*\n')
})

test('umount.fuse.cairn calls cairn umount', t => {
  const run = (...args: string[]) =>
    execFileSync('sh', [file('bin/umount.fuse.cairn'), ...args], {
      encoding: 'utf8',
      env: { ...process.env, CAIRN: 'echo' },
    })
  t.is(run('/mnt/files'), 'umount /mnt/files\n')
  t.is(run('/mnt/files', '-l', '-t', 'fuse.cairn'), 'umount --lazy /mnt/files\n')
})

test('daemons started by units have the same flags of Node as those started by cairn up', t => {
  for (const name of ['cairn', 'cairn-daemon'])
    t.true(readFileSync(file(`bin/${name}`), 'utf8').includes(nodeOptionsOf('chunkserver').join(' ')), name)
  for (const daemon of ['master', 'mount'] as const) {
    const more = nodeOptionsOf(daemon).slice(nodeOptionsOf('chunkserver').length)
    const own = `\n${daemon}) own='${more.join(' ')}' ;;\n`
    t.true(readFileSync(file('bin/cairn-daemon'), 'utf8').includes(own), daemon)
  }
})

test('they have the same environment, too', t => {
  const units = { master: 'cairn-master', chunkserver: 'cairn-chunkserver@', mount: 'cairn-mount@' } as const
  for (const daemon of ['master', 'chunkserver', 'mount'] as const) {
    const name = units[daemon]
    const pairs = Object.entries(environmentOf[daemon]).map(pair => pair.join('='))
    const unit = readFileSync(file(`systemd/${name}.service`), 'utf8')
    t.true(unit.split('\n').includes(`Environment=${pairs.join(' ')}`), name)
  }
})

test('every unit is ready only when it says so, is watched, and does not repeat a wrong configuration', t => {
  for (const name of ['cairn-master', 'cairn-chunkserver@', 'cairn-mount@']) {
    const unit = readFileSync(file(`systemd/${name}.service`), 'utf8')
    for (const line of ['Type=notify', 'NotifyAccess=all', 'Restart=on-failure', 'NoNewPrivileges=true'])
      t.true(unit.split('\n').includes(line), `${name}: ${line}`)
    t.regex(unit, /^WatchdogSec=\d+$/m)
    t.regex(unit, /^RestartPreventExitStatus=(1 )?2$/m)
  }
  // Either would hide the mount from everybody else.
  t.notRegex(
    readFileSync(file('systemd/cairn-mount@.service'), 'utf8'),
    /^(Protect(System|Home)|Private\w+)=/m,
  )
})

test('a package that cannot read what is written is refused before anything is stopped', t => {
  const prerm = (...args: string[]) => spawnSync('sh', [file('debian/prerm'), ...args], { encoding: 'utf8' })
  const refused = prerm('upgrade', '0.0.9')
  t.is(refused.status, 1)
  t.regex(
    refused.stderr,
    /^cairn: 0\.0\.9 cannot read .* the oldest that can is 0\.1\.0\.\ncairn: Nothing was changed\.\n$/,
  )
  for (const version of ['0.1.0', '0.2.0'])
    t.deepEqual([prerm('upgrade', version).status, version], [0, version])
  // The older one, which dpkg asks then, does not overrule it; a newer one does overrule an older one that fails.
  t.is(prerm('failed-upgrade', '0.2.0', '0.1.0').status, 1)
  t.is(prerm('failed-upgrade', '0.1.0', '0.2.0').status, 0)
})

test('the version since which data can be read is that of the formats', t => {
  const [, since] = /^readable_since=(.*)$/m.exec(readFileSync(file('debian/prerm'), 'utf8')) ?? []
  // Who changes a format changes this line, and readable_since to the version that is the first to have it.
  t.deepEqual({ master: schemaVersion, index: formatVersion, since }, { master: 8, index: 1, since: '0.1.0' })
})

test('the package is not put over daemons that would not start any more, and says what to do', t => {
  const root = mkdtempSync(path.join(os.tmpdir(), 'cairn-preinst-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  const identity = path.join(root, 'var/lib/cairn/identity/master')
  for (const folder of [path.join(root, 'etc/cairn'), identity]) mkdirSync(folder, { recursive: true })
  const preinst = (daemon: string, settings: string, why = 'upgrade') => {
    const settingsFile = path.join(root, `etc/cairn/${daemon}.toml`)
    writeFileSync(settingsFile, settings)
    const env = { ...process.env, DPKG_ROOT: root }
    const { status, stderr } = spawnSync('sh', [file('debian/preinst'), why, '0.1.0'], {
      encoding: 'utf8',
      env,
    })
    rmSync(settingsFile)
    return status === 0
      ? `well${stderr}`
      : (/\.toml: (\S+) would be served [^\n]* insecure = "on" [^\n]*\n$/.exec(stderr)?.[1] ?? stderr)
  }
  const open = '# listen = "no"\nlisten = "10.0.0.1:9420" # everybody\n'
  t.is(preinst('master', open), '10.0.0.1:9420')
  t.is(preinst('master', open, 'install'), 'well')
  t.is(preinst('master', `insecure = "on"\n${open}`), 'well')
  t.is(preinst('master', `${open}identity = "/srv/identity"\n`), 'well')
  for (const here of ['localhost:1', '127.0.0.1:1', '[::1]:1'])
    t.is(preinst('master', `listen = "${here}"`), 'well')
  t.is(preinst('master', 'listen = "127.0.0.1:1"\nmetrics = "0.0.0.0:2"'), '0.0.0.0:2')
  const disks = (first: string) =>
    `[disk.a]\nlisten = "127.0.0.1:1"\n${first}\n[disk.b]\n  listen="[fd00::1]:9421"\n`
  t.is(preinst('chunkserver', disks('')), '[fd00::1]:9421')
  t.is(preinst('chunkserver', disks('insecure = "on"')), '[fd00::1]:9421', 'only of the other disk')
  t.is(preinst('chunkserver', `insecure = 'on'\n${disks('')}`), 'well')
  t.is(preinst('mount', 'metrics = "10.0.0.1:9430"'), '10.0.0.1:9430')
  writeFileSync(path.join(identity, 'identity.pem'), '')
  t.is(preinst('master', open), 'well', 'it has an identity')
  t.is(preinst('master', `${open}identity = "off"\n`), '10.0.0.1:9420')
})
