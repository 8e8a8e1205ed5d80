import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { runPython } from './run-python.js'

/** A line that a script of test/support prints of a system call, or of a story of several. */
export interface PosixCase {
  readonly case: string
  readonly result: unknown
  /** What became of names, attributes and times. */
  readonly changes?: unknown
}

/** The same case on the mount and on the local folder (ext4 where this was written). */
export interface ComparedCase {
  readonly name: string
  readonly mount: PosixCase
  readonly local: PosixCase
}

/** Runs a script on a new folder of the mount and on a local one at once. Rejects unless both carried out the same cases. */
export async function comparedCases(
  mount: string,
  script: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<ComparedCase[]> {
  const folders = [
    mkdtempSync(path.join(mount, 'posix-')),
    mkdtempSync(path.join(os.tmpdir(), 'cairn-local-')),
  ]
  for (const folder of folders) chmodSync(folder, 0o755)
  try {
    const lines = await Promise.all(folders.map(folder => runPython(script, [folder, ...args], timeoutMs)))
    const [ours = [], theirs = []] = lines.map(side => side.map(line => JSON.parse(line) as PosixCase))
    const named = (side: readonly PosixCase[]): string => side.map(({ case: name }) => name).join('\n')
    if (named(ours) !== named(theirs)) throw new Error(`${script} did not carry out the same cases on both`)
    const failed = theirs.find(({ result }) => isFailure(result))
    if (failed !== undefined)
      throw new Error(`${script} failed on the local folder: ${JSON.stringify(failed)}`)
    return ours.flatMap((mine, n) => {
      const local = theirs[n]
      return local === undefined ? [] : [{ name: mine.case, mount: mine, local }]
    })
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  }
}

/** Of a story that ended with an exception. */
export function isFailure(result: unknown): boolean {
  return typeof result === 'object' && result !== null && 'failed' in result
}

/** As one line, to compare and to show. */
export const shownCase = ({ result, changes }: Pick<PosixCase, 'result' | 'changes'>): string =>
  JSON.stringify([result, changes ?? null])
