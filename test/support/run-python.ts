import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** What a script of test/support prints, line by line. Rejects if it ends with an error; killed after `timeoutMs`. */
export async function runPython(
  script: string,
  args: readonly string[],
  timeoutMs = 150_000,
): Promise<string[]> {
  const file = fileURLToPath(new URL(`../../../test/support/${script}`, import.meta.url))
  const child = spawn('/usr/bin/python3', [file, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text
    })
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (exit, by) => {
      resolve([exit, by])
    })
  })
  clearTimeout(timer)
  if (code !== 0)
    throw new Error(`${script} ended with ${String(code ?? signal)}: ${said.stderr.slice(-2000)}`)
  return said.stdout.split('\n').filter(line => line !== '')
}
