import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { makeFolder } from '../../service/make-folder.ts'
import { processStart } from './layout.ts'

/**
 * Which process serves which mount of this machine, so that `cairn umount` can wait for it. Rebuildable
 * and never trusted for more: an entry of a process that has ended does not count.
 */
const schema = z.object({ pid: z.number().int().positive(), started: z.string(), path: z.string() })
export type MountOwner = z.infer<typeof schema>

export class MountRegistry {
  readonly #dir: string

  constructor(dir: string = runtimeDir()) {
    this.#dir = dir
  }

  /** `device` is MAJ:MIN as in mountinfo. Best effort: where there is no such folder, nobody can wait. */
  add(device: string, mountpoint: string): void {
    makeFolder(this.#dir)
    const owner: MountOwner = { pid: process.pid, started: processStart(process.pid) ?? '', path: mountpoint }
    const file = this.#file(device)
    writeFileSync(`${file}.new`, JSON.stringify(owner))
    renameSync(`${file}.new`, file)
  }

  /** The device's number may be that of another mount by now. */
  remove(device: string): void {
    if (this.find(device)?.pid === process.pid) rmSync(this.#file(device), { force: true })
  }

  /** What this process could not store before it ends, for whoever waits for that. */
  noteLoss(why: string): void {
    makeFolder(this.#dir)
    writeFileSync(this.#lossFile(process.pid, processStart(process.pid) ?? ''), why)
  }

  /** What a mount process that has ended could not store, undefined if it stored everything. Told once. */
  takeLoss({ pid, started }: MountOwner): string | undefined {
    const file = this.#lossFile(pid, started)
    try {
      const why = readFileSync(file, 'utf8')
      rmSync(file, { force: true })
      return why
    } catch {
      return undefined
    }
  }

  find(device: string): MountOwner | undefined {
    let text: string
    try {
      text = readFileSync(this.#file(device), 'utf8')
    } catch {
      return undefined
    }
    const owner = schema.safeParse(JSON.parse(text))
    return owner.success && processStart(owner.data.pid) === owner.data.started ? owner.data : undefined
  }

  #lossFile(pid: number, started: string): string {
    return path.join(this.#dir, `lost-${String(pid)}-${started}.txt`)
  }

  #file(device: string): string {
    return path.join(this.#dir, `mount-${device.replace(':', '-')}.json`)
  }
}

/** What is good until the machine goes down. */
export function runtimeDir(): string {
  const runtime = process.env['XDG_RUNTIME_DIR']
  return process.getuid?.() === 0 || runtime === undefined ? '/run/cairn' : path.join(runtime, 'cairn')
}
