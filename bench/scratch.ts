/** The folder of a run. Its name tells whose it is, so that what a killed run left behind is known and removed. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { cairnProgram } from './sides/cairn.ts'
import { detach, mountPoints } from './sides/mounts.ts'
import { endNetworkOf } from './sides/peer-network.ts'

const prefix = 'cairn-bench-'

export function makeScratch(parent: string): string {
  return mkdtempSync(path.join(parent, `${prefix}${String(process.pid)}-`))
}

/** Everything in it was stopped before. What is still mounted in it is detached first, never removed. */
export function removeScratch(scratch: string): void {
  for (const point of mountPoints()) if (point.startsWith(`${scratch}/`)) detach(point)
  if (mountPoints().some(point => point.startsWith(`${scratch}/`)))
    throw new Error(`${scratch} has mounts that cannot be detached: remove it by hand`)
  rmSync(scratch, { recursive: true, force: true })
}

/** Of runs that were killed: mounts, clusters, peers, folders. */
export async function removeLeftovers(parent: string): Promise<void> {
  for (const name of readdirSync(parent)) {
    const pid = name.startsWith(prefix) ? /^\d+(?=-)/.exec(name.slice(prefix.length))?.[0] : undefined
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue
    const folder = path.join(parent, name)
    for (const point of mountPoints()) if (point.startsWith(`${folder}/`)) detach(point)
    for (const part of ['cairn', 'layers/cairn', 'functions/cairn'])
      if (existsSync(path.join(folder, part, 'running.json')))
        spawnSync(process.execPath, [cairnProgram, 'down', '--dir', path.join(folder, part)])
    await endNetworkOf(Number(pid))
    removeScratch(folder)
  }
}
