import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { Container } from './container.js'
import { Load, makeFiles, verify } from './load.js'
import { commandsOfPage } from './page.js'
import { masterAddress, type NodeLine, type Site, until } from './site.js'

interface Packages {
  /** The one that is installed at first, and the newer one. */
  readonly first: string
  readonly second: string
  readonly say: (text: string) => void
}

type Step = (site: Site, packages: Packages) => Promise<void>

const page = commandsOfPage()
const storeUnits = ['cairn-chunkserver@disk1', 'cairn-chunkserver@disk2']
const atMaster = `--master ${masterAddress}`

export const steps: readonly (readonly [string, Step])[] = [
  ['the package installs on bare machines, and starts nothing', install],
  ['the master starts', site => follow(site.get('master'), 'master')],
  ['storage machines start with two disks each', startStores],
  ['a client mounts by a line in /etc/fstab', startClient],
  ['the units are as exposed as the page says', exposure],
  ['files are written, and are the same on a new mount', writeFiles],
  ['the unit of a mount works beside a chunkserver', mountUnit],
  ['what hangs is started again, what is configured wrongly is not', watchdogs],
  ['every machine goes down and comes up again with everything', reboots],
  ['the package is upgraded under load', upgrade],
  ['a storage machine dies under load', killStore],
  ['a disk is drained and taken away', drain],
  ['the master is lost, and restored from a backup on a new machine', restoreMaster],
  ['nothing had to be killed to stop', stopsInTime],
  ['removing keeps data, and purging says what stays', remove],
]

/** Runs the page's commands for a prompt, with the machine's own address. */
async function follow(machine: Container, prompt: string, only = /^/): Promise<void> {
  const commands = page.filter(command => command.prompt === prompt && only.test(command.script))
  ok(commands.length > 0, `the page has no commands for ${prompt}`)
  for (const { script } of commands)
    await machine.run(
      script.replaceAll('10.77.0.2:', `${machine.machine.address}:`).replace('_amd64.deb', '_*.deb'),
    )
}

async function install(site: Site, { first, say }: Packages): Promise<void> {
  await Promise.all(
    site.all.map(async machine => {
      await machine.boot()
      say(`    ${machine.name} is up`)
      await installOn(site, machine, first, 'all')
      say(`    ${machine.name} has the package`)
    }),
  )
  const machine = site.get('client')
  const files = [
    '/usr/share/man/man1/cairn.1.gz',
    '/usr/share/bash-completion/completions/cairn',
    '/usr/share/zsh/vendor-completions/_cairn',
    '/usr/share/fish/vendor_completions.d/cairn.fish',
    '/lib/systemd/system/cairn-master.service',
    '/etc/cairn/master.toml',
  ]
  await machine.run(`ls ${files.join(' ')}; cairn config check; cairn help`)
  equal(await machine.run('stat -c %U:%G:%a /var/lib/cairn'), 'cairn:cairn:755')
  equal(await machine.run("systemctl list-units --all --no-legend 'cairn-*'"), '')
  match(await machine.run('getent passwd cairn'), /nologin$/)
}

async function installOn(site: Site, machine: Container, file: string, prompt: string): Promise<void> {
  const shared = path.join(site.shared, path.basename(file))
  if (!existsSync(shared)) copyFileSync(file, shared)
  await machine.run(`cp /shared/${path.basename(file)} .`)
  await follow(machine, prompt)
}

async function startStores(site: Site): Promise<void> {
  await Promise.all(site.stores.map(machine => follow(machine, 'store')))
  await until('six chunkservers', async () => {
    const { nodes } = await site.status()
    return nodes.filter(({ state }) => state === 'up').length === 6 ? undefined : `${nodes.length}`
  })
}

async function startClient(site: Site): Promise<void> {
  const client = site.get('client')
  await follow(client, 'client', /^(?!systemctl restart)/)
  equal(await client.run('awk \'$2 == "/mnt/files" { print $3 }\' /proc/mounts'), 'autofs\nfuse.cairn')
  await site.healthy(6)
}

/** As docs/operations.md has it. */
async function exposure(site: Site): Promise<void> {
  const text = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
  const [, daemons = '', mount = ''] =
    /`systemd-analyze security`[^`]*?(\d+\.\d),\s+and\s+of\s+the\s+mount\s+(\d+\.\d)/.exec(text) ?? []
  const measured = async (unit: string): Promise<string> => {
    const output = await site.get('client').run(`systemd-analyze security --no-pager ${unit} | tail -n 1`)
    return /: (\d+\.\d) /.exec(output)?.[1] ?? output
  }
  deepEqual(
    [
      await measured('cairn-master.service'),
      await measured('cairn-chunkserver@disk1.service'),
      await measured('cairn-mount@mnt-files.service'),
    ],
    [daemons, daemons, mount],
  )
}

async function writeFiles(site: Site): Promise<void> {
  const client = site.get('client')
  await client.run(makeFiles)
  await verify(client)
}

async function mountUnit(site: Site): Promise<void> {
  const store = site.get('store1')
  await store.run(`
    set -e
    sed -i 's/^master = .*/master = "${masterAddress}"/' /etc/cairn/mount.toml
    systemctl start cairn-mount@mnt-here
    cmp /mnt/here/truth/large/1 /mnt/here/truth/large/1
    echo by the unit > /mnt/here/by-the-unit
    systemctl restart cairn-mount@mnt-here
    grep 'by the unit' /mnt/here/by-the-unit
    systemctl stop cairn-mount@mnt-here`)
  equal(await store.run('systemctl is-failed cairn-mount@mnt-here || true'), 'inactive')
  equal(await store.run('stat -c %U /var/lib/cairn'), 'cairn')
  await store.run(`systemctl restart ${storeUnits.join(' ')}`)
  equal(await site.get('client').run('cat /mnt/files/by-the-unit; rm /mnt/files/by-the-unit'), 'by the unit')
  await site.healthy(6)
}

async function watchdogs(site: Site, { say }: Packages): Promise<void> {
  const units = [
    [site.get('master'), 'cairn-master'],
    [site.get('store1'), 'cairn-chunkserver@disk1'],
  ] as const
  await Promise.all(
    units.map(async ([machine, unit]) => {
      const dropIn = `/run/systemd/system/${unit}.service.d`
      await machine.run(`mkdir -p ${dropIn}; printf '[Service]\\nWatchdogSec=10\\n' > ${dropIn}/soon.conf`)
      await machine.run(`systemctl daemon-reload; systemctl restart ${unit}`)
      const before = await machine.run(`systemctl show -P MainPID ${unit}`)
      await machine.run(`kill -STOP ${before}`)
      await until(`${unit} to be started again`, async () => {
        const now = await machine.run(`systemctl show -P NRestarts -P MainPID -P ActiveState ${unit}`)
        return now.includes('active') && now.includes('1') && !now.includes(before) ? undefined : now
      })
      equal(await machine.run(`systemctl show -P NRestarts ${unit}`), '1')
      await machine.run(`rm -r ${dropIn}; systemctl daemon-reload; systemctl restart ${unit}`)
      say(`    ${unit} was started again`)
    }),
  )
  const store = site.get('store2')
  const { code } = await store.try('systemctl start cairn-chunkserver@disk3')
  ok(code !== 0)
  equal(await store.run('systemctl show -P NRestarts -P ExecMainStatus cairn-chunkserver@disk3'), '0\n2')
  match(await store.run('journalctl -q -o cat -u cairn-chunkserver@disk3'), /disk3/)
  await store.run('systemctl reset-failed cairn-chunkserver@disk3')
  await site.healthy(6)
  await verify(site.get('client'))
}

async function reboots(site: Site, { say }: Packages): Promise<void> {
  const client = site.get('client')
  for (const machine of site.all) {
    // Not synced: a machine that goes down in order writes it back.
    const there = `/mnt/files/truth/before-${machine.name}-went`
    await client.run(
      `head -c 3000000 /dev/urandom > /root/late; cp /root/late ${there}; cp -a ${there} /root/truth`,
    )
    await machine.reboot()
    say(`    ${machine.name} is up again`)
    await site.healthy(6)
    await client.run(`cmp /root/late ${there}`)
  }
  await verify(client)
}

async function upgrade(site: Site, { second, say }: Packages): Promise<void> {
  const client = site.get('client')
  const load = await Load.start(client)
  for (const machine of site.all) {
    await installOn(site, machine, second, 'upgrade')
    say(`    ${machine.name} is upgraded`)
    await load.goesOn()
    if (machine !== client) await site.healthy(6)
  }
  const version = /_(.*)_/.exec(path.basename(second))?.[1] ?? ''
  equal((await site.status()).master.version, version)
  for (const machine of site.all) match(await machine.run('cairn version'), new RegExp(version))
  await load.stop()
  await follow(client, 'client', /^systemctl restart/)
  await verify(client)
}

async function killStore(site: Site, { say }: Packages): Promise<void> {
  const load = await Load.start(site.get('client'))
  const dead = site.get('store3')
  await dead.kill()
  say('    store3 is dead')
  await load.goesOn()
  await until('copies to be made anew', async () => {
    const { nodes, blocks } = await site.status()
    const down = nodes.filter(({ state }) => state === 'down').length
    const { idle } = (await site.ask('repair status')) as { idle: boolean }
    if (down === 2 && idle && Number(blocks.underReplicated) === 0 && Number(blocks.missing) === 0)
      return undefined
    return `${down} down, ${blocks.underReplicated} blocks with too few copies, ${blocks.missing} with none`
  })
  say('    every block has its copies again')
  await load.goesOn()
  await load.stop()
  await verify(site.get('client'))
  await dead.boot()
  await site.healthy(6)
}

async function drain(site: Site, { say }: Packages): Promise<void> {
  const load = await Load.start(site.get('client'))
  const store = site.get('store1')
  const address = `${store.machine.address}:9422`
  const drained = async (): Promise<NodeLine | undefined> =>
    ((await site.ask('node ls')) as NodeLine[]).find(node => node.address === address)
  const id = (await drained())?.id ?? ''
  const client = site.get('client')
  await client.run(`cairn node drain ${id} ${atMaster}`)
  await until('the disk to be empty', async () => {
    const node = await drained()
    return node?.drained === true ? undefined : JSON.stringify(node)
  })
  say('    the disk is empty')
  await store.run('systemctl disable --now cairn-chunkserver@disk2')
  await client.run(`cairn node remove ${id} ${atMaster}`)
  await site.healthy(5)
  await load.goesOn()
  await load.stop()
  await verify(client)
}

async function restoreMaster(site: Site, { second, say }: Packages): Promise<void> {
  const client = site.get('client')
  await client.run(`cairn backup /root/cairn.db ${atMaster}`)
  await client.run('echo later > /mnt/files/after-the-backup; sync /mnt/files/after-the-backup')
  await site.get('master').kill()
  const fresh = site.add('newmaster', 'master')
  await fresh.boot()
  await installOn(site, fresh, second, 'upgrade')
  await follow(fresh, 'master', /^c/)
  await client.run('cp cairn.db /shared')
  await fresh.run('cp /shared/cairn.db .')
  await follow(fresh, 'newmaster')
  say('    the new master is up')
  // On top of what is there, too, which is the user cairn's and not root's.
  await fresh.run(
    'systemctl stop cairn-master && cairn restore /root/cairn.db --data /var/lib/cairn/master && systemctl start cairn-master',
  )
  await until('all chunkservers to have said what they have', async () => {
    const { output, code } = await client.try(`cairn restore confirm ${atMaster}`)
    return code === 0 ? undefined : output
  })
  await site.healthy(5)
  await verify(client)
  ok((await client.try('ls /mnt/files/after-the-backup')).code !== 0)
  await client.run('echo again > /mnt/files/truth/again; cp --archive /mnt/files/truth/again /root/truth')
  const { code, output } = await client.try(`cairn fsck --data ${atMaster}`)
  equal(code, 0, output)
  await verify(client)
}

/** Stops everything by turning the machines off, and asks their journals about all of the time. */
async function stopsInTime(site: Site): Promise<void> {
  const machines = site.all.filter(machine => machine !== site.get('master'))
  const client = site.get('client')
  await client.run(
    'head -c 3000000 /dev/urandom > /root/truth/last; cp --archive /root/truth/last /mnt/files/truth',
  )
  for (const name of ['client', 'store1', 'store2', 'store3', 'newmaster']) await site.get(name).powerOff()
  await Promise.all(machines.map(machine => machine.boot()))
  await site.healthy(5)
  await verify(client)
  for (const machine of machines) {
    const late =
      "journalctl -q --no-pager -o cat -t systemd -g 'stop-.*timed out|Killing process|left-over process|status=9/KILL'"
    equal((await machine.try(late)).output, '', machine.name)
  }
}

async function remove(site: Site): Promise<void> {
  const client = site.get('client')
  await client.run('sleep 1000 < /mnt/files/truth/small/1 &> /dev/null & echo $! > /root/pid')
  const refused = await client.try('apt-get remove -y cairn')
  ok(refused.code !== 0)
  match(refused.output, /\/mnt\/files is in use/)
  await client.run('kill $(cat /root/pid); sleep 0.2; cmp /root/truth/small/1 /mnt/files/truth/small/1')
  await client.run('apt-get remove -y cairn && ls /etc/cairn/mount.toml && ! grep fuse.cairn /proc/mounts')

  const store = site.get('store2')
  const before = await store.run('find /srv/disk1/cairn -type f | wc -l')
  await store.run('apt-get remove -y cairn')
  equal(await store.run(`systemctl is-active ${storeUnits.join(' ')} || true`), 'inactive\ninactive')
  equal(await store.run('find /srv/disk1/cairn -type f | wc -l'), before)
  await store.run(
    'apt-get install -y ./cairn_*.1_*.deb && systemctl start cairn-chunkserver@disk1 cairn-chunkserver@disk2',
  )
  await store.run('systemctl is-active cairn-chunkserver@disk1 cairn-chunkserver@disk2')

  const master = site.get('newmaster')
  match(await master.run('apt-get purge -y cairn'), /\/var\/lib\/cairn stays/)
  await master.run('ls /var/lib/cairn/master/master.db && ! ls /etc/cairn && getent passwd cairn')
  equal(await master.run('find /etc/systemd -name "cairn-*"'), '')
}
