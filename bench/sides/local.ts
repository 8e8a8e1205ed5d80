import { mkdirSync, readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { command } from './command.ts'
import type { Side } from './side.ts'

/** A folder of the disk that all the others keep their data on. */
export class LocalSide implements Side {
  readonly key = 'local'
  readonly name = 'local'
  readonly dir: string

  constructor(scratch: string) {
    this.dir = path.join(scratch, 'local')
  }

  async start(): Promise<void> {
    mkdirSync(this.dir)
  }

  async settle(): Promise<void> {
    await command('sync', ['-f', this.dir])
  }

  async remount(): Promise<void> {
    // There is no client: dropping the kernel's caches is all.
  }

  async stop(): Promise<void> {
    // The caller removes the folder.
  }

  describe(): string {
    return `${mountOf(this.dir)}, Linux ${os.release()}`
  }
}

/** File system and options of the mount that a path is on. */
function mountOf(target: string): string {
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .trim()
    .split('\n')
    .map(line => line.split(' '))
    .filter(([, point = '']) => point === '/' || target === point || target.startsWith(`${point}/`))
    .sort((a, b) => (a[1]?.length ?? 0) - (b[1]?.length ?? 0))
  const [device = '?', , type = '?', options = ''] = mounts.at(-1) ?? []
  return `${type} on ${device} (${options})`
}
