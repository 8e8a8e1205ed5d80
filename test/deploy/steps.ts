import { deepEqual, doesNotMatch, equal, match, ok, rejects } from 'node:assert/strict'
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { Container } from './container.js'
import { Load, makeFiles, verify } from './load.js'
import { NpmInstall } from './npm-install.js'
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
const versionOf = (file: string): string => /_(.*)_/.exec(path.basename(file))?.[1] ?? ''

export const steps: readonly (readonly [string, Step])[] = [
  ['the package installs on bare machines, and starts nothing', install],
  ['the master starts, and an admin has an identity', startMaster],
  ['storage machines start with two disks each', startStores],
  ['a client mounts by a line in /etc/fstab', startClient],
  ['the units are as exposed as the page says', exposure],
  ['files are written, and are the same on a new mount', writeFiles],
  ['the unit of a mount works beside a chunkserver', mountUnit],
  ['what hangs is started again, what is configured wrongly is not', watchdogs],
  ['every machine goes down under load, and comes up again with everything', reboots],
  ['the package is not put over what would serve everybody', refuseToOpen],
  ['the package is upgraded under load', upgrade],
  ['a downgrade is done without loss, and refused where it cannot be', downgrade],
  ['a storage machine dies under load', killStore],
  ['a disk is drained and taken away', drain],
  ['the master is lost, and a new machine goes on with what the chunkservers have', rebuildMaster],
  ['the master is lost with all identities, and a new machine goes on with a backup', restoreMaster],
  ['nothing had to be killed to stop', stopsInTime],
  ['removing keeps data, and purging says what stays', remove],
  ['what `npm pack` makes installs globally on this machine, and works', npmInstall],
]

/** Runs the page's commands for a prompt, with the machine's own address, and the tokens that earlier ones made. */
async function follow(site: Site, machine: Container, prompt: string, only = /^/): Promise<void> {
  const commands = page.filter(command => command.prompt === prompt && only.test(command.script))
  ok(commands.length > 0, `the page has no commands for ${prompt}`)
  for (const { script } of commands) {
    // The prompt is of all machines, the address of one.
    const own = prompt === 'store' ? script.replaceAll('10.77.0.2:', `${machine.machine.address}:`) : script
    const output = await machine.run(
      own.replace('_amd64.deb', '_*.deb').replaceAll(/[A-Z]+_TOKEN/g, name => site.tokens.get(name) ?? name),
    )
    const [, role] = /token create --role ([a-z]+)/.exec(script) ?? []
    const [token] = /^cairn1\.\S+$/m.exec(output) ?? []
    if (role !== undefined && token !== undefined) site.tokens.set(`${role.toUpperCase()}_TOKEN`, token)
  }
}

async function startMaster(site: Site): Promise<void> {
  const master = site.get('master')
  await follow(site, master, 'master')
  await follow(site, site.get('client'), 'admin')
  equal(
    await master.run('stat -c "%U %a" /var/lib/cairn/identity/master/{identity,ca-key}.pem'),
    'cairn 600\ncairn 600',
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
  await follow(site, machine, prompt)
}

async function startStores(site: Site): Promise<void> {
  await Promise.all(site.stores.map(machine => follow(site, machine, 'store')))
  await until('six chunkservers', async () => {
    const { nodes } = await site.status()
    return nodes.filter(({ state }) => state === 'up').length === 6 ? undefined : `${nodes.length}`
  })
}

async function startClient(site: Site): Promise<void> {
  const client = site.get('client')
  await follow(site, client, 'client', /^(?!cairn mount)/)
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
  const token = await site
    .get('master')
    .run(`cairn cluster token create --role mount ${atMaster} 2> /dev/null`)
  await store.run(`CAIRN_TOKEN=${token} cairn node join ${masterAddress}`)
  await store.run(`
    set -e
    sed -i 's/^master = .*/master = "${masterAddress}"/' /etc/cairn/mount.toml
    systemctl start cairn-mount@mnt-here
    cmp /mnt/here/truth/large/1 /mnt/here/truth/large/1
    echo by the unit > /mnt/here/by-the-unit
    systemctl restart cairn-mount@mnt-here
    grep 'by the unit' /mnt/here/by-the-unit
    sleep 1000 < /mnt/here/truth/large/1 > /dev/null 2>&1 &
    before=$(systemctl show -P MainPID cairn-mount@mnt-here)
    cairn mount --replace /mnt/here
    after=$(systemctl show -P MainPID cairn-mount@mnt-here)
    [ $after != $before ]
    kill -0 $after
    sleep 1
    if kill -0 $before 2> /dev/null; then echo "$before is still there"; exit 1; fi
    systemctl is-active --quiet cairn-mount@mnt-here
    cmp /proc/$!/fd/0 /mnt/here/truth/large/1
    kill $!
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
        const now = await stateOf(machine, unit)
        return now.state === 'active' && now.restarts === '1' && now.pid !== before
          ? undefined
          : `${unit} is ${now.state}`
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

async function stateOf(
  machine: Container,
  unit: string,
): Promise<{ state: string; restarts: string; pid: string }> {
  const shown = await machine.run(`systemctl show -p NRestarts -p MainPID -p ActiveState ${unit}`)
  const of = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(shown)?.[1] ?? ''
  return { state: of('ActiveState'), restarts: of('NRestarts'), pid: of('MainPID') }
}

/**
 * Asks the master again and again, also while it goes down and comes up: each command ends, and one that had no answer
 * says so in one line.
 */
const askOn = `
rm -f /root/asked.stop /root/asked
while [ ! -e /root/asked.stop ]; do
  for command in status health 'node ls' fsck; do
    said=$(timeout 90 cairn $command --master ${masterAddress} 2>&1 > /dev/null) code=$?
    echo "$code $said" >> /root/asked
  done
done
`

/** Lines of `askOn`: 0, 1 and 3 are answers, 2 has a reason. */
const asked = /^(?:[013] ?$|2 cairn: (?:no answer from the master|the master) at 10\.77\.0\.1:9420.*)$/

async function rebootMaster(site: Site): Promise<void> {
  const client = site.get('client')
  const asking = client.try(askOn, 10 * 60_000)
  await until('questions to be asked', async () => {
    const { code } = await client.try('test -s /root/asked')
    return code === 0 ? undefined : 'none yet'
  })
  await site.get('master').reboot()
  await site.healthy(6)
  await client.run('touch /root/asked.stop')
  equal((await asking).code, 0)
  const lines = (await client.run('cat /root/asked')).split('\n')
  deepEqual(
    lines.filter(line => !asked.test(line)),
    [],
  )
}

async function reboots(site: Site, { say }: Packages): Promise<void> {
  const client = site.get('client')
  const load = await Load.start(client)
  for (const machine of site.all) {
    if (machine === client) await load.stop()
    // Not synced: a machine that goes down in order writes it back.
    const there = `/mnt/files/truth/before-${machine.name}-went`
    await client.run(
      `head -c 3000000 /dev/urandom > /root/late; cp /root/late ${there}; cp -a ${there} /root/truth`,
    )
    await (machine.name === 'master' ? rebootMaster(site) : machine.reboot())
    say(`    ${machine.name} is up again`)
    await site.healthy(6)
    await client.run(`cmp /root/late ${there}`)
    if (machine !== client) await load.goesOn()
  }
  await verify(client)
}

/** As where a version from before TLS served everybody: on the client, where nothing of it runs. */
async function refuseToOpen(site: Site, { second }: Packages): Promise<void> {
  const client = site.get('client')
  await client.run('sed -i \'s/^listen = .*/listen = "10.77.0.5:9420"/\' /etc/cairn/master.toml')
  await rejects(
    installOn(site, client, second, 'upgrade'),
    /master\.toml: 10\.77\.0\.5:9420 .*insecure = "on"/,
  )
  doesNotMatch(await client.run('cairn version'), new RegExp(versionOf(second)))
  await client.run('sed -i \'1i insecure = "on"\' /etc/cairn/master.toml')
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
  const version = versionOf(second)
  equal((await site.status()).master.version, version)
  for (const machine of site.all) match(await machine.run('cairn version'), new RegExp(version))
  await isServedBy(site, version)
  await follow(site, client, 'client', /^cairn mount --replace/)
  await load.goesOn()
  await load.stop()
  await verify(client)
}

/** The process behind the client's mount is of that version: the package has replaced it. */
async function isServedBy(site: Site, version: string): Promise<void> {
  const mounts = (await site.ask('mount ls')) as { mountpoint: string; version: string }[]
  deepEqual(
    mounts.filter(({ mountpoint }) => mountpoint === '/mnt/files').map(mount => mount.version),
    [version],
  )
}

async function downgrade(site: Site, { first, second, say }: Packages): Promise<void> {
  const [master, store, client] = [site.get('master'), site.get('store1'), site.get('client')]

  // A package of before the first version is made of the newer one: its number is all that counts.
  for (const machine of [master, store]) {
    const units = machine === master ? ['cairn-master'] : storeUnits
    const before = await Promise.all(units.map(unit => stateOf(machine, unit)))
    const { code, output } = await machine.try(`
      set -e
      dpkg-deb --raw-extract ${path.basename(second)} older
      sed -i 's/^Version: .*/Version: 0.0.1/' older/DEBIAN/control
      dpkg-deb -Zgzip -z1 --build older cairn-older.deb > /dev/null
      apt-get install -y --allow-downgrades ./cairn-older.deb`)
    ok(code !== 0, output)
    match(output, /cairn: 0\.0\.1 cannot read what this version has written/)
    await machine.run('rm -r older cairn-older.deb')
    equal(
      await machine.run("dpkg-query -W -f '${Status} ${Version}' cairn"),
      `install ok installed ${versionOf(second)}`,
    )
    deepEqual(await Promise.all(units.map(unit => stateOf(machine, unit))), before)
  }
  say('    refused')

  // Those who ask before those who answer; the rest of the machines stay as they are.
  const load = await Load.start(client)
  for (const machine of [client, store, master]) {
    await installOn(site, machine, first, 'downgrade')
    equal(await machine.run('cairn version'), versionOf(first))
    say(`    ${machine.name} is back at the version before`)
    await load.goesOn()
    await site.healthy(6)
  }
  equal((await site.status()).master.version, versionOf(first))
  await isServedBy(site, versionOf(first))
  await load.stop()
  await verify(client)
  for (const machine of [master, store, client]) await installOn(site, machine, second, 'upgrade')
  await site.healthy(6)
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

/** A bare machine at the master's address, with the package and the settings. */
async function newMaster(site: Site, name: string, file: string): Promise<Container> {
  const fresh = site.add(name, 'master')
  await fresh.boot()
  await installOn(site, fresh, file, 'upgrade')
  await follow(site, fresh, 'master', /^ca(t|irn config)/)
  return fresh
}

/** Everything is there and sound, and what nobody refers to may go. */
async function confirmed(site: Site): Promise<void> {
  const client = site.get('client')
  await until('all chunkservers to have said what they have', async () => {
    const { output, code } = await client.try(`cairn restore confirm ${atMaster}`)
    return code === 0 ? undefined : output
  })
  await site.healthy(5)
  await verify(client)
  const { code, output } = await client.try(`cairn fsck --data ${atMaster}`)
  equal(code, 0, output)
}

async function rebuildMaster(site: Site, { second, say }: Packages): Promise<void> {
  const client = site.get('client')
  await client.run(`cairn backup /root/cairn.db ${atMaster}`)
  await client.run(`
    set -e
    head -c 3000000 /dev/urandom > /root/truth/just-before
    cp --archive /root/truth/just-before /mnt/files/truth
    sync /mnt/files/truth/just-before`)
  const written = BigInt(Date.now()) * 1_000_000n
  await until('the chunkservers to have the log', async () => {
    const { covered } = (await site.status()).log
    return BigInt(covered) > written ? undefined : `they have it up to ${covered}, of ${written}`
  })
  await follow(site, site.get('master'), 'oldmaster')
  await site.get('master').run('cp cairn-identity.tar /shared')
  await site.lose('master')
  const fresh = await newMaster(site, 'newmaster', second)
  await fresh.run('cp /shared/cairn-identity.tar .')
  await follow(site, fresh, 'newmaster')
  say('    the new master is up')
  await confirmed(site)
}

/** It is older than a file, which is not there any more; all else is. */
async function restoreMaster(site: Site, { second, say }: Packages): Promise<void> {
  const client = site.get('client')
  await client.run('cp cairn.db /shared')
  await site.lose('newmaster')
  const nobody = await client.try(`cairn status ${atMaster}`)
  equal(nobody.code, 2)
  match(nobody.output, /^cairn: no answer from the master at 10\.77\.0\.1:9420: .*\n$/)
  const fresh = await newMaster(site, 'lastmaster', second)
  await follow(site, fresh, 'anewmaster')
  say('    the new master is up')
  await client.run('mv /root/truth/just-before /root')
  await Promise.all(site.stores.map(store => follow(site, store, 'anewstore')))
  await follow(site, client, 'anewclient')
  await until('the mount to go on', async () => {
    const { code, output } = await client.try('ls /mnt/files/truth')
    return code === 0 && !output.includes('just-before') ? undefined : output
  })
  await client.run(
    'cp --archive /root/just-before /root/truth; cp --archive /root/just-before /mnt/files/truth',
  )
  await confirmed(site)
  // On top of what is there, too, which is the user cairn's and not root's.
  await fresh.run(
    `cairn backup /shared/again.db ${atMaster} && systemctl stop cairn-master && cairn restore /shared/again.db --data /var/lib/cairn/master && systemctl start cairn-master`,
  )
  await confirmed(site)
}

/**
 * Stops everything by turning the machines off, and asks their journals about all of the time; what hung was to be killed,
 * with SIGABRT.
 */
async function stopsInTime(site: Site): Promise<void> {
  const client = site.get('client')
  await client.run(
    'head -c 3000000 /dev/urandom > /root/truth/last; cp --archive /root/truth/last /mnt/files/truth',
  )
  for (const name of ['client', 'store1', 'store2', 'store3', 'lastmaster']) await site.get(name).powerOff()
  await Promise.all(site.all.map(machine => machine.boot()))
  await site.healthy(5)
  await verify(client)
  for (const machine of site.all) {
    const late =
      "journalctl -q --no-pager -o cat -t systemd -g 'stop-.*timed out|with signal SIGKILL|left-over process|status=9/KILL'"
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

  // The client was the admin's machine; the master's root is one, too.
  const [store, master] = [site.get('store2'), site.get('lastmaster')]
  // What belongs to the index beside the file itself goes with an orderly stop.
  const data =
    'cd /srv/disk1/cairn && ls -d index.sqlite && find blocks -type f -print0 | sort -z | xargs -0 sha256sum'
  const before = await store.run(data)
  match(before, /^index\.sqlite\n[0-9a-f]{64} {2}blocks\//)
  await store.run('apt-get remove -y cairn')
  equal(await store.run(`systemctl is-active ${storeUnits.join(' ')} || true`), 'inactive\ninactive')
  equal(await store.run(data), before)
  await store.run(`apt-get install -y ./cairn_*.1_*.deb && systemctl start ${storeUnits.join(' ')}`)
  await until('the cluster to be whole again', async () => {
    const { code, output } = await master.try(`cairn health ${atMaster}`)
    return code === 0 ? undefined : output
  })
  match(await master.run('apt-get purge -y cairn'), /\/var\/lib\/cairn stays/)
  await master.run('ls /var/lib/cairn/master/master.db && ! ls /etc/cairn && getent passwd cairn')
  equal(await master.run('find /etc/systemd -name "cairn-*"'), '')
}

/** Beside the machines, on the one that they are on. */
async function npmInstall(site: Site, { say }: Packages): Promise<void> {
  const install = new NpmInstall()
  site.alsoEnd(() => install.dispose())
  await install.try(say)
}
