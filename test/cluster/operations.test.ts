import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import test from 'ava'
import { cairnProgram } from '../support/cluster.js'
import { kill9 } from '../support/processes.js'

const run = promisify(execFile)
const page = new URL('../../../docs/operations.md', import.meta.url)

/** Lines of the page's blocks of commands, comments included. */
const lines = [...readFileSync(page, 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = '']) =>
  block
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== ''),
)

/** Bad news is what these are there to tell. */
const exitCodes: Readonly<Record<string, readonly number[]>> = {
  'cairn status': [0, 1],
  'cairn health': [0, 1, 3],
  'cairn restore status': [0, 1],
  'cairn fsck --repair /srv/cairn/node': [1],
}

test.serial('the commands of docs/operations.md do what the page says', async t => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'cairn-operations-'))
  const running = new Set<ChildProcess>()
  t.teardown(() => {
    for (const child of running) if (child.pid !== undefined) kill9(child.pid)
    rmSync(dir, { recursive: true, force: true })
  })
  mkdirSync(path.join(dir, 'backup'))
  mkdirSync(path.join(dir, 'srv', 'cairn'), { recursive: true })

  const start = async (...args: string[]): Promise<{ child: ChildProcess; address: string }> => {
    const child = spawn(process.execPath, [cairnProgram, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
    running.add(child)
    let log = ''
    child.stderr.on('data', (chunk: Buffer) => {
      log += chunk.toString()
    })
    for (let tries = 0; tries < 600 && child.exitCode === null; tries++) {
      const found = /"address":"([^"]+)"[^\n]*"Serving"/.exec(log)
      if (found !== null) return { child, address: found[1] ?? '' }
      await sleep(50)
    }
    throw new Error(`${args.join(' ')}: ${log}`)
  }
  const data = path.join(dir, 'srv', 'cairn', 'master')
  let master: Awaited<ReturnType<typeof start>> | undefined = await start(
    ...['master', '--data', data, '--listen', '127.0.0.1:0', '--copies', '1'],
  )
  const { address } = master
  const node = path.join(dir, 'srv', 'cairn', 'node')
  const startNode = () => start('chunkserver', '--data', node, '--master', address, '--listen', '127.0.0.1:0')
  let chunkserver = await startNode()

  const shell = async (line: string): Promise<number> => {
    const here = line.replaceAll(' /', ` ${dir}/`)
    const script = `cairn() { '${process.execPath}' '${cairnProgram}' "$@"; }; ${here}`
    const env = { ...process.env, CAIRN_MASTER: address }
    try {
      await run('bash', ['-c', script], { env })
      return 0
    } catch (error) {
      const { code, stderr } = error as { code: number; stderr: string }
      if (code !== 1) t.log(line, stderr)
      return code
    }
  }
  let restored = false
  for (const line of lines) {
    if (line === '# stop the master') {
      await stop(master?.child)
      master = undefined
    } else if (line === '# the chunkserver lost its index') {
      await stop(chunkserver.child)
      rmSync(path.join(node, 'index.sqlite'))
    } else if (line === '# start the chunkserver') chunkserver = await startNode()
    else if (line === '# start the master')
      master = await start('master', '--data', data, '--listen', address)
    else {
      t.false(line.startsWith('#'), line)
      // A chunkserver tells what it has within seconds.
      let code = await shell(line)
      for (let tries = 0; line === 'cairn restore confirm' && code !== 0 && tries < 100; tries++) {
        await sleep(200)
        code = await shell(line)
      }
      t.true((exitCodes[line] ?? [0]).includes(code), `${line}: ${String(code)}`)
      if (line.startsWith('cairn restore /')) restored = true
    }
  }
  t.true(restored)
})

async function stop(child: ChildProcess | undefined): Promise<void> {
  const ended = new Promise(resolve => child?.on('exit', resolve))
  child?.kill('SIGTERM')
  await ended
}
