import { spawn } from 'node:child_process'
import { UsageError } from '../../core/errors.ts'

/** Runs a system tool, with a descriptor of ours as its number 3 if given. UsageError with its own words if it fails. */
export async function runTool(tool: string, args: readonly string[], fd?: number): Promise<void> {
  const child = spawn(tool, args, {
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe', ...(fd === undefined ? [] : [fd])],
  })
  const said: Buffer[] = []
  child.stderr?.on('data', (part: Buffer) => said.push(part))
  const code = await new Promise<number | string | null>((resolve, reject) => {
    child.on('error', error =>
      reject(new UsageError(`cannot run ${tool}: ${(error as NodeJS.ErrnoException).code ?? error.message}`)),
    )
    child.on('close', (status, signal) => resolve(status ?? signal))
  })
  if (code === 0) return
  const words = Buffer.concat(said)
    .toString('utf8')
    .trim()
    .replaceAll(/\s*\n\s*/g, ' ')
  throw new UsageError(words === '' ? `${tool} failed with ${code ?? 'no status'}` : words)
}
