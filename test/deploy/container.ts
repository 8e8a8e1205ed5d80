import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, closeSync, rmdirSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Machine } from '../support/machines.js'
import { kill9 } from '../support/processes.js'

const minuteMs = 60_000
/** Programs of a container get nothing of this process's surroundings. */
const environment = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LC_ALL=C.UTF-8']

/**
 * In a mount namespace of its own, so that nothing is left of it: puts the changes of the machine over the base, or, where
 * the disk here cannot carry an overlay, copies the base once. Then enters the control groups and becomes systemd-nspawn.
 */
const enter = `
set -e
base=$1 own=$2 groups=$3
shift 3
if ! mount -t overlay overlay -o "lowerdir=$base,upperdir=$own/changes,workdir=$own/work" "$own/root"; then
  [ -e "$own/root/etc" ] || cp --archive "$base/." "$own/root"
fi
while [ "$groups" -gt 0 ]; do
  echo $$ > "$1/cgroup.procs"
  groups=$((groups - 1))
  shift
done
exec "$@"
`

export interface Outcome {
  readonly code: number
  /** Standard output and standard error, as they came. */
  readonly output: string
}

/**
 * A machine with systemd of its own: systemd-nspawn on a folder, in the network namespace of `machine`, which stays
 * when this is off. Nothing outside is told of it: no systemd here, no machined.
 */
export class Container {
  readonly machine: Machine
  /** What is its own in its files: the rest is `base`. */
  readonly #root: string
  readonly #base: string
  readonly #binds: Readonly<Record<string, string>>
  readonly #log: string
  #nspawn: ChildProcess | undefined
  #ended: Promise<void> = Promise.resolve()

  /** `binds` are folders here by where they are mounted there. */
  constructor(machine: Machine, root: string, base: string, binds: Readonly<Record<string, string>>) {
    this.machine = machine
    this.#root = root
    this.#base = base
    this.#binds = binds
    this.#log = `${root}.log`
    for (const folder of ['root', 'changes', 'work']) mkdirSync(path.join(root, folder), { recursive: true })
  }

  get name(): string {
    return path.basename(this.#root)
  }

  /** Turns it on, and waits until systemd has started everything that is enabled. */
  async boot(): Promise<void> {
    const binds = Object.entries(this.#binds).map(([there, here]) => `--bind=${here}:${there}`)
    const groups = controlGroups(this.#groupName)
    for (const group of groups) mkdirSync(group, { recursive: true })
    // Where systemd runs here, it makes the control group.
    const own = groups.length > 0 ? ['--keep-unit'] : []
    const nspawn = [
      ...[
        'systemd-nspawn',
        '--quiet',
        '--boot',
        `--directory=${this.#root}/root`,
        `--machine=${this.#groupName}`,
      ],
      `--hostname=${this.name}`,
      ...['--register=no', ...own, '--console=pipe', `--network-namespace-path=${this.machine.space}`],
      ...[
        '--bind=/dev/fuse',
        '--bind=/dev/autofs',
        ...binds,
        '--resolv-conf=off',
        '--timezone=off',
        '--link-journal=no',
      ],
    ]
    const log = openSync(this.#log, 'a')
    const args = ['-c', enter, 'enter', this.#base, this.#root, String(groups.length), ...groups, ...nspawn]
    const child = spawn('unshare', ['--mount', 'bash', ...args], { stdio: ['ignore', log, log] })
    closeSync(log)
    this.#nspawn = child
    this.#ended = new Promise(resolve => {
      const over = (): void => {
        this.#nspawn = undefined
        resolve()
      }
      child.on('exit', over)
      child.on('error', over)
    })
    await this.#up(undefined)
  }

  /** Runs a script of the shell as root in it. */
  async try(script: string, timeoutMs = 3 * minuteMs): Promise<Outcome> {
    const leader = this.#leader()
    if (leader === undefined) return { code: 255, output: `${this.name} is off` }
    const spaces = [
      '--target',
      String(leader),
      '--mount',
      '--uts',
      '--ipc',
      '--net',
      '--pid',
      '--cgroup',
      '--root',
      '--wd',
    ]
    const command = [
      'nsenter',
      ...spaces,
      '--',
      ...environment,
      'bash',
      '-c',
      `cd /root; exec 2>&1; ${script}`,
    ]
    return runToItsEnd(command, timeoutMs)
  }

  /** The same, which must succeed. */
  async run(script: string, timeoutMs?: number): Promise<string> {
    const { code, output } = await this.try(script, timeoutMs)
    if (code !== 0) throw new Error(`${this.name}# ${script}\n${output.trimEnd()}\nexit code ${String(code)}`)
    return output.trimEnd()
  }

  /** In order, by its own systemd; everything that is enabled is up again afterwards. */
  async reboot(): Promise<void> {
    const before = this.#leader()
    await this.run('systemctl reboot')
    // It starts anew by itself only where it has no service manager to do that.
    const ended = await Promise.race([this.#ended.then(() => true), this.#another(before).then(() => false)])
    if (ended) await this.boot()
    else await this.#up(before)
  }

  async powerOff(): Promise<void> {
    await this.run('systemctl poweroff')
    await Promise.race([this.#ended, this.#late('does not go off', 4 * minuteMs)])
  }

  /** Pulls the plug: every process ends at once. */
  async kill(): Promise<void> {
    const leader = this.#leader()
    if (leader !== undefined) kill9(leader)
    if (this.#nspawn?.pid !== undefined) kill9(this.#nspawn.pid)
    await Promise.race([this.#ended, this.#late('does not end, though it was killed', minuteMs)])
  }

  async dispose(): Promise<void> {
    await this.kill()
    for (const group of controlGroups(this.#groupName)) await removeGroups(group)
  }

  get #groupName(): string {
    return `${path.basename(path.dirname(this.#root))}-${this.name}`
  }

  /** The container's process 1, by its number here. */
  #leader(): number | undefined {
    const pid = this.#nspawn?.pid
    if (pid === undefined) return undefined
    try {
      const children = readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8')
      return /\d+/.test(children) ? Number.parseInt(children) : undefined
    } catch {
      return undefined
    }
  }

  async #another(before: number | undefined): Promise<void> {
    const deadline = Date.now() + 4 * minuteMs
    while (this.#leader() === before || this.#leader() === undefined) {
      if (Date.now() > deadline) throw new Error(`${this.name} does not go down`)
      await sleep(200)
    }
  }

  async #up(before: number | undefined): Promise<void> {
    let last = ''
    const deadline = Date.now() + 3 * minuteMs
    while (Date.now() < deadline) {
      await sleep(200)
      if (this.#leader() === before) continue
      const { output } = await this.try('systemctl is-system-running', minuteMs)
      last = output.trim()
      if (last === 'running') return
      if (last === 'degraded')
        throw new Error(
          `${this.name} is up, but: ${await this.run('systemctl list-units --failed --plain --no-legend')}`,
        )
    }
    throw new Error(`${this.name} does not come up: ${last}; ${readFileSync(this.#log, 'utf8').slice(-2000)}`)
  }

  async #late(what: string, afterMs: number): Promise<never> {
    await sleep(afterMs, undefined, { ref: false })
    throw new Error(`${this.name} ${what}`)
  }
}

/** What does not end in time is killed with all that it started, and has the exit code of timeout(1). */
function runToItsEnd([program = '', ...args]: readonly string[], timeoutMs: number): Promise<Outcome> {
  return new Promise(resolve => {
    // In a process group of its own: nsenter runs the shell as a child, which would hold the pipe.
    const child = spawn(program, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    const output: Buffer[] = []
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (piece: Buffer) => output.push(piece))
    const text = (): string => Buffer.concat(output).toString('utf8')
    const late = setTimeout(() => {
      if (child.pid !== undefined) kill9(-child.pid)
      for (const stream of [child.stdout, child.stderr]) stream.destroy()
      resolve({ code: 124, output: `${text()}\nkilled: no end in ${timeoutMs / 1000} s` })
    }, timeoutMs)
    const over = (outcome: Outcome): void => {
      clearTimeout(late)
      resolve(outcome)
    }
    child.on('error', error => over({ code: 255, output: error.message }))
    child.on('close', code => over({ code: code ?? 255, output: text() }))
  })
}

/**
 * A folder of that name in each hierarchy of control groups that systemd in the container manages, so that containers
 * do not meet in one; none where a systemd here does that.
 */
function controlGroups(name: string): string[] {
  if (existsSync('/run/systemd/system')) return []
  const candidates = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified', '/sys/fs/cgroup']
  return candidates
    .filter(folder => existsSync(path.join(folder, 'cgroup.procs')))
    .map(folder => path.join(folder, name))
}

/** From the innermost. A group is busy until the kernel has done with the processes that were killed in it. */
async function removeGroups(group: string): Promise<void> {
  if (!existsSync(group)) return
  for (const entry of readdirSync(group, { withFileTypes: true }))
    if (entry.isDirectory()) await removeGroups(path.join(group, entry.name))
  for (let tries = 0; ; tries++) {
    try {
      rmdirSync(group)
      return
    } catch (error) {
      if (tries === 100) throw error
      await sleep(50)
    }
  }
}
