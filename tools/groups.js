// The groups of tests: which files of test/ each one runs, and what it needs.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Folders of test/ that start real processes and mounts. */
const realFolders = ['posix', 'crash', 'cluster', 'coherence', 'programs', 'deploy', 'mounts']

const inFolder = folders => path => folders.includes(path.split('/')[1])

export const groups = {
  unit: { has: path => !inFolder(['sim', ...realFolders])(path), concurrency: 2, needsMounts: false },
  sim: { has: inFolder(['sim']), concurrency: 2, needsMounts: false },
  // Two files at a time: these mostly wait.
  real: { has: inFolder(realFolders), concurrency: 2, needsMounts: true },
}

/** Every test file belongs to exactly one group, since `unit` takes what the others leave. */
export function testFilesOf(group) {
  return readdirSync('test', { recursive: true })
    .map(path => join('test', path))
    .filter(path => path.endsWith('.test.ts') && group.has(path))
    .sort()
}
