/**
 * What `npm pack` makes, installed globally in a folder of its own by `npm install --global`, as on a machine that has
 * Node and no checkout: it takes a compiler or the network for better-sqlite3, npm's registry or a warm cache, root and
 * /dev/fuse. On this machine, not in a container: `make test-npm` tries it alone.
 */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
  chmodSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))

interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

/** A folder with the tarball, what was installed of it, and a cluster. Dispose of it in the end. */
export class NpmInstall {
  readonly #dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-npm-'))
  readonly #manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Manifest
  readonly #prefix = path.join(this.#dir, 'prefix')
  readonly #cluster = path.join(this.#dir, 'cluster')
  readonly #mount = path.join(this.#dir, 'mnt')
  /** Aborts what runs, when disposed of. */
  readonly #ended = new AbortController()

  constructor() {
    // npm installs as the owner of the folder.
    chmodSync(this.#dir, 0o755)
  }

  async try(say: (text: string) => void): Promise<void> {
    const { tarball, files } = await this.#pack()
    say(`packed: ${String(files.length)} files`)
    const unneeded =
      /^(?:src|test|bench|tools|build|node_modules|dist\/sim)\/|\.ts$|\.map$|tsbuildinfo$|^\.|\/\./
    deepEqual(
      files.filter(file => unneeded.test(file)),
      [],
    )
    for (const needed of ['LICENSE', 'README.md', 'docs/operations.md', 'dist/cli/cairn.js', 'package.json'])
      ok(files.includes(needed), needed)
    ok(files.some(file => /^proto\/.*\.proto$/.test(file)))

    await this.#install(tarball)
    say('installed')
    const modules = path.join(this.#prefix, 'lib/node_modules', this.#manifest.name, 'node_modules')
    for (const name of Object.keys(this.#manifest.dependencies))
      ok(existsSync(path.join(modules, name)), name)
    // Some types are dependencies of dependencies.
    for (const name of Object.keys(this.#manifest.devDependencies).filter(
      each => !each.startsWith('@types/'),
    ))
      ok(!existsSync(path.join(modules, name)), `${name} is for development`)
    const program = path.join(this.#prefix, 'bin/cairn')
    ok(realpathSync(program).startsWith(realpathSync(this.#prefix)))
    equal((await this.#cairn('version')).trim(), this.#manifest.version)

    await this.#cairn('up', '--dir', this.#cluster, '--mount', this.#mount, '--detach')
    try {
      say('a cluster runs')
      const running = JSON.parse(readFileSync(path.join(this.#cluster, 'running.json'), 'utf8')) as {
        pid: number
      }
      ok(readFileSync(`/proc/${String(running.pid)}/cmdline`, 'utf8').includes(this.#prefix))
      const file = path.join(this.#mount, 'file')
      const content = 'written through what npm installed\n'.repeat(100_000)
      writeFileSync(file, content, { flush: true })
      // So that it is read from chunkservers, not from what the mount has in memory.
      await this.#cairn('down', '--dir', this.#cluster)
      await this.#cairn('up', '--dir', this.#cluster, '--mount', this.#mount, '--detach')
      equal(readFileSync(file, 'utf8'), content)
    } finally {
      await this.#cairn('down', '--dir', this.#cluster)
    }
    ok(!readFileSync('/proc/mounts', 'utf8').includes(this.#mount))
    await this.#npm('uninstall', '--global', '--prefix', this.#prefix, this.#manifest.name)
    ok(!existsSync(program))
  }

  /** Stops what was started, and removes everything. */
  async dispose(): Promise<void> {
    this.#ended.abort()
    try {
      // No-one stopped it if the test was interrupted.
      if (existsSync(path.join(this.#cluster, 'running.json')))
        await run(process.execPath, [path.join(root, 'dist/cli/cairn.js'), 'down', '--dir', this.#cluster])
    } finally {
      if (readFileSync('/proc/mounts', 'utf8').includes(` ${this.#mount} `))
        await run('umount', ['-l', this.#mount])
      rmSync(this.#dir, { recursive: true, force: true })
    }
  }

  async #pack(): Promise<{ tarball: string; files: string[] }> {
    const said = await this.#npm('pack', root, '--json', '--pack-destination', this.#dir)
    const [made] = JSON.parse(said) as { filename: string; files: { path: string }[] }[]
    ok(made !== undefined)
    return { tarball: path.join(this.#dir, made.filename), files: made.files.map(file => file.path) }
  }

  async #install(tarball: string): Promise<void> {
    const options = ['--prefer-offline', '--no-audit', '--no-fund', '--allow-scripts=better-sqlite3']
    await this.#npm('install', '--global', '--prefix', this.#prefix, ...options, tarball)
  }

  async #npm(...args: string[]): Promise<string> {
    // What an npm that runs this test says is for the checkout.
    const own = Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name))
    const nodedir = path.resolve(realpathSync(process.execPath), '../..')
    const hasHeaders = existsSync(path.join(nodedir, 'include/node/node_api.h'))
    const env = { ...Object.fromEntries(own), ...(hasHeaders ? { npm_config_nodedir: nodedir } : {}) }
    const { stdout } = await run('npm', args, {
      cwd: this.#dir,
      env,
      maxBuffer: 64 << 20,
      signal: this.#ended.signal,
    })
    return stdout
  }

  async #cairn(...args: string[]): Promise<string> {
    const { stdout } = await run(path.join(this.#prefix, 'bin/cairn'), args, {
      cwd: this.#dir,
      signal: this.#ended.signal,
    })
    return stdout
  }
}
