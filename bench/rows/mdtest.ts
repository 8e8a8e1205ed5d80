import { closeSync, mkdirSync, openSync, rmdirSync, rmSync, statSync, unlinkSync } from 'node:fs'
import path from 'node:path'
import { type Done, type Group, rowsOf, type Sizes } from './row.ts'

const branches = 8
const depth = 2
const filesOfFolder = 10

/** All folders of the tree, parents first. */
function foldersOf(root: string, levels: number): string[] {
  if (levels === 0) return [root]
  const below = Array.from({ length: branches }, (_, n) =>
    foldersOf(path.join(root, `d${String(n)}`), levels - 1),
  )
  return [root, ...below.flat()]
}

/** As mdtest does: a tree of folders with empty files, each phase over all of it; the names are known, not listed. */
export function mdtestGroup({ files }: Sizes): Group {
  // Fewer levels where little is to be done.
  const levels = files < 1000 ? depth - 1 : depth
  const foldersIn = (dir: string) => foldersOf(path.join(dir, 'mdtest'), levels)
  const filesIn = (dir: string) =>
    foldersIn(dir).flatMap(folder =>
      Array.from({ length: filesOfFolder }, (_, n) => path.join(folder, `file${String(n)}`)),
    )
  const over = (paths: readonly string[], work: (one: string) => void): Done => {
    for (const one of paths) work(one)
    return { units: paths.length }
  }
  const row = rowsOf('mdtest')
  return {
    key: 'mdtest',
    rows: [
      row('mkdir', 'create folders', 'folders', dir => over(foldersIn(dir), one => mkdirSync(one)), {
        prepare: dir => rmSync(path.join(dir, 'mdtest'), { recursive: true, force: true }),
      }),
      row('create', 'create empty files', 'files', dir =>
        over(filesIn(dir), one => closeSync(openSync(one, 'wx'))),
      ),
      row('stat', 'stat files', 'files', dir => over(filesIn(dir), one => void statSync(one))),
      row('stat-cold', 'stat files cold', 'files', dir => over(filesIn(dir), one => void statSync(one)), {
        cold: true,
      }),
      row('unlink', 'remove files', 'files', dir => over(filesIn(dir), one => unlinkSync(one))),
      row('rmdir', 'remove folders', 'folders', dir => over(foldersIn(dir).reverse(), one => rmdirSync(one))),
    ],
  }
}
