import { promises as fs } from 'node:fs'
import path from 'node:path'
import type { Command } from 'commander'
import { messageOf, UsageError } from '../../core/errors.ts'
import { MiB } from '../../core/units.ts'
import { mountOf } from '../mounts.ts'
import { bytes, counted, print, printJson, say } from '../output.ts'
import { Progress } from '../progress.ts'
import { visible } from '../terminal.ts'

interface Options {
  readonly metadata?: boolean
  readonly parallel: number
  readonly json?: boolean
}

interface Found {
  readonly file: string
  readonly size: number
}

const pieceBytes = 1 * MiB
/** That are named; more are only counted. */
const failuresShown = 20

export function registerWarmup(
  program: Command,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  program
    .command('warmup')
    .description('read everything below a path, so that the caches of this machine have it')
    .argument('<path>', 'a file or folder on a mount')
    .option('--metadata', 'only names and attributes')
    .option('--parallel <n>', 'files that are read at a time', wholeNumber('--parallel', 1, 64), 8)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nWhat is read stays in the memory of the mount (its setting cache) and of the kernel, as far as' +
        '\nthey go. Symlinks and other file systems are left out.' +
        '\nExit code 0 if all was read, 1 if something could not be, 2 if nothing could be done.',
    )
    .action(async (target: string, options: Options) => {
      const { device } = mountOf(target)
      const began = performance.now()
      const failures: string[] = []
      const files: Found[] = []
      for await (const found of filesBelow(target, device, failures)) files.push(found)
      const total = files.reduce((sum, { size }) => sum + size, 0)
      const read = options.metadata === true ? 0 : await readAll(files, total, options.parallel, failures)
      const seconds = (performance.now() - began) / 1000
      if (options.json === true)
        printJson({ path: target, files: files.length, bytes: read, seconds, failures })
      else {
        for (const failure of failures.slice(0, failuresShown)) say(visible(failure), '  ')
        if (failures.length > failuresShown) print(`and ${String(failures.length - failuresShown)} more`)
        print(
          `${visible(target)}: ${counted(files.length, 'file')}, ${bytes(read)} read in ${seconds.toFixed(1)} s` +
            (read === 0 ? '' : ` (${bytes(read / seconds)}/s)`),
        )
      }
      if (failures.length > 0) process.exitCode = 1
    })
}

/** Regular files of the same mount. What cannot be looked at is a failure, not the end. */
async function* filesBelow(target: string, device: string, failures: string[]): AsyncGenerator<Found> {
  try {
    const found = await fs.lstat(target)
    if (found.isFile()) yield { file: target, size: found.size }
    if (!found.isDirectory() || mountOf(target).device !== device) return
    for (const name of await fs.readdir(target)) yield* filesBelow(path.join(target, name), device, failures)
  } catch (error) {
    if (!(error instanceof UsageError)) failures.push(messageOf(error))
  }
}

async function readAll(
  files: readonly Found[],
  total: number,
  parallel: number,
  failures: string[],
): Promise<number> {
  const progress = new Progress('Reading', total)
  const rest = files.values()
  let done = 0
  const worker = async (): Promise<void> => {
    const buffer = Buffer.alloc(pieceBytes)
    for (const { file } of rest)
      try {
        const handle = await fs.open(file)
        try {
          for (;;) {
            const { bytesRead } = await handle.read(buffer, 0, pieceBytes)
            if (bytesRead === 0) break
            done += bytesRead
            progress.show(done)
          }
        } finally {
          await handle.close()
        }
      } catch (error) {
        failures.push(messageOf(error))
      }
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  progress.end()
  return done
}
