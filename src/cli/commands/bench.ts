import { promises as fs } from 'node:fs'
import path from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import colors from '../colors.ts'
import { messageOf, UsageError } from '../../core/errors.ts'
import { MiB, second } from '../../core/units.ts'
import { measureFolder } from '../bench/measure-folder.ts'
import { type Figure, type Grade, judge, type Judged, scales, verdictOf } from '../bench/verdict.ts'
import { mountOf } from '../mounts.ts'
import { byteCount, bytes, print, printJson, printTable, say } from '../output.ts'

interface Options {
  readonly size: number
  readonly files: number
  readonly seconds: number
  readonly json?: boolean
}

export function registerBench(
  program: Command,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  program
    .command('bench')
    .description('a quick measurement of a mounted folder, and what its figures mean')
    .argument('<path>', 'a folder on a mount, or any other one to compare with')
    .option('--size <bytes>', 'of the large file that is written and read', size, 256 * MiB)
    .option('--files <n>', 'small files that are made', wholeNumber('--files', 1, 100_000), 500)
    .option('--seconds <n>', 'at most, for each of the seven parts', wholeNumber('--seconds', 1, 3600), 5)
    .option('--json', 'print it as JSON')
    .addHelpText(
      'after',
      '\nIt writes into a folder of its own below the path, and removes it. On a mount, reads go past the' +
        "\nkernel's cache, but the mount's own memory may answer some. One program at a time is measured:" +
        '\nseveral together get more.' +
        '\nExit code 0 if nothing is slow, 1 if something is, 2 if it could not be measured.',
    )
    .action(async (target: string, options: Options) => {
      const folder = path.resolve(target)
      await checkRoom(folder, options.size)
      const isMount = isOnMount(folder)
      const figures = await measureFolder(folder, {
        bytes: options.size,
        files: options.files,
        partMs: options.seconds * second,
        direct: isMount,
      }).catch((error: unknown) => {
        throw new UsageError(`cannot measure ${folder}: ${messageOf(error)}`, { cause: error })
      })
      const judged = (Object.keys(scales) as Figure[]).map(name => judge(name, figures[name]))
      if (options.json === true)
        printJson({ path: folder, isMount, verdict: verdictOf(judged), figures: judged })
      else show(folder, isMount, judged)
      if (judged.some(({ grade }) => grade === 'poor')) process.exitCode = 1
    })
}

function isOnMount(folder: string): boolean {
  try {
    mountOf(folder)
    return true
  } catch (error) {
    if (error instanceof UsageError) return false
    throw error
  }
}

async function checkRoom(folder: string, size: number): Promise<void> {
  let free: number
  try {
    const { bavail, bsize } = await fs.statfs(folder)
    free = bavail * bsize
  } catch (error) {
    throw new UsageError(messageOf(error), { cause: error })
  }
  if (!(await fs.stat(folder)).isDirectory()) throw new UsageError(`${folder} is not a folder`)
  if (size > free / 2)
    throw new UsageError(`only ${bytes(free)} are free in ${folder}: choose a smaller --size`)
}

function size(text: string): number {
  const parsed = byteCount.safeParse(text)
  if (!parsed.success) throw new InvalidArgumentError(parsed.error.issues[0]?.message ?? '')
  if (parsed.data < MiB) throw new InvalidArgumentError('must be 1MiB or more.')
  return parsed.data
}

const paint: Readonly<Record<Grade, (text: string) => string>> = {
  good: colors.green,
  fair: colors.yellow,
  poor: colors.red,
}

function show(folder: string, isMount: boolean, judged: readonly Judged[]): void {
  print(`${folder}${isMount ? '' : ' (not on a Cairn mount)'}`)
  print('')
  printTable(
    ['What', 'Figure', 'Verdict'],
    judged.map(({ name, value, unit, grade }) => [
      scales[name].title,
      `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`,
      paint[grade](grade),
    ]),
  )
  print('')
  say(verdictOf(judged), '  ')
  for (const { name, grade, hint } of judged)
    if (grade !== 'good' && isMount) say(`  → ${scales[name].title}: look at ${hint}`, '    ')
}
