import { bigGroup } from './big.ts'
import { fioGroup } from './fio.ts'
import { mdtestGroup } from './mdtest.ts'
import type { Group, Sizes } from './row.ts'
import { smallGroup } from './small.ts'
import { Tree, treeGroup } from './tree.ts'

/** All rows. `scratch` is a local folder for what they need beside. */
export const groupsOf = (sizes: Sizes, scratch: string): readonly Group[] => [
  bigGroup(sizes),
  smallGroup(sizes),
  treeGroup(new Tree(scratch, sizes.tree)),
  mdtestGroup(sizes),
  fioGroup(sizes),
]
