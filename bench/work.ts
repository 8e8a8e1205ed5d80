/**
 * The program that does a row's work, a process of its own: whoever measures stays able to answer signals while
 * this one waits in system calls, and what it leaves in its memory is gone with it.
 */
import { closeSync, constants, fsyncSync, openSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { groupsOf } from './rows/groups.ts'
import type { Sizes } from './rows/row.ts'

export interface Order {
  readonly sizes: Sizes
  readonly scratch: string
  readonly row: string
  readonly dir: string
  readonly phase: 'prepare' | 'run' | 'empty'
  /** Afterwards, outside of the time measured, everything of the mount that `dir` is is written back. */
  readonly settle?: boolean
}

export type Answer = { readonly units: number; readonly ms: number } | { readonly error: string }

async function obey(order: Order): Promise<Answer> {
  const answer = await run(order)
  if (order.settle === true) writeBack(order.dir)
  return answer
}

/** As `cairn sync` does it. */
function writeBack(mount: string): void {
  const fd = openSync(mount, constants.O_RDONLY | constants.O_DIRECTORY)
  fsyncSync(fd)
  closeSync(fd)
}

async function run({ sizes, scratch, row: key, dir, phase }: Order): Promise<Answer> {
  if (phase === 'empty') {
    for (const name of readdirSync(dir)) rmSync(path.join(dir, name), { recursive: true, force: true })
    return { units: 0, ms: 0 }
  }
  const row = groupsOf(sizes, scratch)
    .flatMap(group => group.rows)
    .find(each => each.key === key)
  if (row === undefined) throw new Error(`there is no row ${key}`)
  if (phase === 'prepare') {
    row.prepare?.(dir)
    return { units: 0, ms: 0 }
  }
  const began = performance.now()
  const { units, ms = performance.now() - began } = await row.run(dir)
  return { units, ms }
}

process.once('message', (order: Order) => {
  obey(order).then(
    answer => finish(answer),
    (error: unknown) =>
      finish({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})

function finish(answer: Answer): void {
  process.send?.(answer, () => process.disconnect())
}
