import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test from 'ava'
import { cairn, cairnFails, cairnProgram } from '../support/cluster.js'

const run = promisify(execFile)

interface Step {
  readonly command: string
  readonly shown: string
}

/** The commands of the README's blocks of a terminal, and what it shows after each. */
function steps(): Step[] {
  const page = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
  const blocks = [...page.matchAll(/```console\n([\s\S]*?)```/g)].map(([, block = '']) => block)
  return blocks
    .flatMap(block => block.split(/^\$ /m).slice(1))
    .map(step => {
      const [command = '', ...lines] = step.split('\n')
      return { command, shown: lines.join('\n').trim() }
    })
}

/** What is the same on every machine: no numbers, ids, units and names of machines. */
const masked = (text: string): string =>
  text
    .replaceAll('\r', '')
    .replace(/\bon (?:storage-3|\S+), see why/g, 'on HOST, see why')
    .replace(/\b[0-9a-f]{16}\b/g, 'ID')
    .replace(/\d+(?:\.\d+)?/g, 'N')
    .replace(/\b[KMGT]iB\b/g, 'B')
    .split('\n')
    .map(line => line.trimEnd())
    .join('\n')
    .trim()

test('the commands of the README print what it shows', async t => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-readme-'))
  t.teardown(async () => {
    await cairnFails(['down', '--dir', path.join(dir, '.cairn')])
    rmSync(dir, { recursive: true, force: true })
  })
  await cairn(['up', '--dir', path.join(dir, '.cairn'), '--mount', path.join(dir, 'mnt'), '--detach'])

  // As wide as the page; without colours.
  const shell = async (command: string): Promise<string> => {
    const program = `cairn() { '${process.execPath}' '${cairnProgram}' "$@"; }`
    const script = path.join(dir, 'step.sh')
    await run('bash', ['-c', 'printf "%s\\n" "$@" > "$0"', script, program, 'stty cols 100', command])
    const { stdout } = await run('script', ['-qec', `bash '${script}'`, '/dev/null'], {
      cwd: dir,
      env: { ...process.env, TERM: 'xterm', NO_COLOR: '1', FORCE_COLOR: undefined },
    }).catch((error: unknown) => error as { stdout: string })
    return stdout.replaceAll(dir, '/home/you/cairn')
  }
  const all = steps()
  t.true(all.length >= 10)
  for (const { command, shown } of all) {
    if (command.startsWith('alias cairn=')) continue
    let printed = await shell(command)
    // A dead chunkserver is noticed in a moment, and what was written is counted a moment later.
    for (let tries = 0; masked(printed) !== masked(shown) && /health/.test(command) && tries < 50; tries++) {
      await sleep(200)
      printed = await shell(command)
    }
    t.is(masked(printed), masked(shown), command)
  }
})
