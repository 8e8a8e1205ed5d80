import test from 'ava'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cairnProgram } from '../support/cluster.ts'

const cairn = (...args: string[]): string =>
  execFileSync(process.execPath, [cairnProgram, ...args], { encoding: 'utf8' })

const folder = mkdtempSync(join(tmpdir(), 'cairn-completion-'))
test.after.always(() => rmSync(folder, { recursive: true }))

test('bash offers commands, flags and values where they belong', t => {
  const script = join(folder, 'cairn.bash')
  writeFileSync(script, cairn('completion', 'bash'))
  const offered = (...words: string[]): string[] => {
    const line = ['cairn', ...words].map(word => `'${word}'`).join(' ')
    const run = `source ${script}; COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _cairn; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stdout, stderr, status } = spawnSync('bash', ['-c', run], { encoding: 'utf8' })
    t.is(stderr, '')
    t.is(status, 0)
    return stdout.split('\n').filter(word => word !== '')
  }
  t.deepEqual(offered('sta'), ['status'])
  t.deepEqual(offered('config', 'ch'), ['check'])
  t.deepEqual(offered('config', 'check', '--j'), ['--json'])
  t.deepEqual(offered('master', '--log-level', 'w'), ['warn'])
  t.true(offered('master', '--').includes('--listen'))
  t.deepEqual(offered('--v'), ['--version'])
})

test('the scripts of zsh and fish have every command', t => {
  for (const shell of ['zsh', 'fish']) {
    const script = cairn('completion', shell)
    for (const command of ['status', 'mount', 'config check', 'copies set']) t.true(script.includes(command))
  }
})

test('the manual page has every command and is right for man(1)', t => {
  const page = cairn('manual')
  const { stdout, stderr, status } = spawnSync('man', ['--warnings', '-l', '-'], {
    input: page,
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '100' },
  })
  t.deepEqual([status, stderr], [0, ''])
  for (const text of ['cairn config check', 'cairn chunkserver', '--log-level', 'EXIT STATUS'])
    t.true(stdout.includes(text), text)
})

test('the version for people and for programs', t => {
  const { version, node } = JSON.parse(cairn('version', '--json')) as { version: string; node: string }
  t.is(node, process.versions.node)
  t.is(cairn('version').trim(), version)
})
