import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs'
import path from 'node:path'
import type { Group, Row } from './row.ts'

/** The npm that ships with Node: some 2,500 entries, and everybody has it. */
function npmFolder(): string {
  const prefix = path.resolve(realpathSync(process.execPath), '../..')
  const found = [`${prefix}/lib/node_modules/npm`, '/usr/lib/node_modules/npm', '/usr/share/npm'].find(
    folder => existsSync(path.join(folder, 'package.json')),
  )
  if (found === undefined) throw new Error(`no npm beside ${process.execPath}`)
  return found
}

/** An archive of it, made when it is first asked for, and how many entries it has. */
export class Tree {
  readonly #archive: string
  readonly #folder: string | undefined

  /** `folder`: another one than npm's. */
  constructor(scratch: string, folder?: string) {
    this.#archive = path.join(scratch, 'tree.tar')
    this.#folder = folder
  }

  get archive(): string {
    if (!existsSync(this.#archive)) {
      const folder = this.#folder ?? npmFolder()
      execFileSync('tar', ['-cf', this.#archive, '-C', path.dirname(folder), path.basename(folder)])
    }
    return this.#archive
  }

  get entries(): number {
    return execFileSync('tar', ['-tf', this.archive], { encoding: 'utf8' }).trim().split('\n').length
  }
}

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  if (status !== 0) throw error ?? new Error(`${command} ${args.join(' ')}: ${stderr}`)
}

/** Common programs on a tree of source code. */
export function treeGroup(tree: Tree): Group {
  const root = (dir: string) => path.join(dir, 'tree')
  const row = (key: string, name: string, work: (dir: string) => void, more: Partial<Row>): Row => ({
    key,
    name,
    unit: 'entries',
    run: dir => {
      const began = performance.now()
      work(root(dir))
      return { units: tree.entries, ms: performance.now() - began }
    },
    ...more,
  })
  return {
    key: 'tree',
    rows: [
      row('untar', 'untar the tree', dir => run('tar', '-xf', tree.archive, '-C', dir), {
        goal: 6,
        makes: true,
        prepare: dir => {
          rmSync(root(dir), { recursive: true, force: true })
          mkdirSync(root(dir))
          // In memory, on all sides.
          execFileSync('cat', [tree.archive], { stdio: ['ignore', 'ignore', 'inherit'] })
        },
      }),
      row('du', 'du of the tree cold', dir => run('du', '-s', dir), { cold: true, goal: 3 }),
      row(
        'grep',
        'grep -r of the tree cold',
        // It finds itself in none of them, so it reads all of each.
        dir => run('sh', '-c', '! grep -rq "no such line in the tree" "$1"', 'sh', dir),
        { cold: true, goal: 2 },
      ),
      row('rm', 'rm -rf the tree', dir => run('rm', '-rf', dir), { goal: 2 }),
    ],
  }
}
