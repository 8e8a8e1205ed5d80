import { readFile } from 'node:fs/promises'

/** Where the kernel's control file system (fusectl) is mounted: a folder a connection, with the file `abort`. */
export const controlFolder = '/sys/fs/fuse/connections'

/** One line of /proc/self/mountinfo. */
export interface MountLine {
  /** Unique among what is mounted now. */
  readonly id: string
  /** major:minor, as st_dev shows it and /sys/class/bdi names it. */
  readonly device: string
  readonly path: string
  readonly type: string
  readonly source: string
}

/** Blank, tab, newline and backslash are written as octal numbers. */
const unescape = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

export function parseMountTable(text: string): MountLine[] {
  return text.split('\n').flatMap(line => {
    const [before, after] = line.split(' - ')
    const [id, , device, , path] = before?.split(' ') ?? []
    const [type, source] = after?.split(' ') ?? []
    if (id === undefined || device === undefined || path === undefined || type === undefined) return []
    return [{ id, device, path: unescape(path), type, source: unescape(source ?? '') }]
  })
}

/** What is mounted at a path: the last line for it, since later mounts cover earlier ones. */
export async function mountedAt(path: string): Promise<MountLine | undefined> {
  // Bytes that are not UTF-8 survive as latin1 on both sides.
  const table = parseMountTable(await readFile('/proc/self/mountinfo', 'latin1'))
  const wanted = Buffer.from(path, 'utf8').toString('latin1')
  return table.findLast(line => line.path === wanted)
}
