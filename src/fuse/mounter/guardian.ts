import { type ChildProcess, spawn } from 'node:child_process'
import type { MountLine } from './mount-table.ts'

/**
 * Waits for the end of its standard input, which only the mount process can write to: that process is then
 * dead, however it died. Then unmounts the path lazily, but only if what is on top there is still the mount
 * it was told of, so that a later mount at the same place is never touched. Where death came before it was
 * told, a dead (ENOTCONN) cairn mount is one of ours. A line "done" ends it without effect.
 */
const script = `
path=$1
id= device=
while read -r word rest; do
  [ "$word" = done ] && exit 0
  id=$word device=$rest
done
top_id= top_device= top_type=
while read -r line_id _ line_device _ line_path tail; do
  [ "$line_path" = "$path" ] || continue
  top_id=$line_id top_device=$line_device
  top_type=\${tail#* - }
  top_type=\${top_type%% *}
done < /proc/self/mountinfo
[ "$top_type" = fuse.cairn ] || exit 0
if [ -n "$id" ]; then
  [ "$top_id" = "$id" ] && [ "$top_device" = "$device" ] || exit 0
else
  [ ! -d "$2" ] || exit 0
fi
exec umount -i -c -l "$2"
`

/** As mountinfo writes a path. */
const escape = (path: string): string =>
  path.replace(/[\\ \t\n]/g, char => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`)

/** A tiny process that outlives this one and clears its mount away. */
export class Guardian {
  readonly #child: ChildProcess
  readonly #exited: Promise<void>

  constructor(path: string) {
    this.#child = spawn('/bin/sh', ['-c', script, 'cairn-guardian', escape(path), path], {
      cwd: '/',
      detached: true,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      // Node opens everything close-on-exec: neither the device nor another guardian's pipe gets in.
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    this.#exited = new Promise(resolve => {
      this.#child.on('exit', () => resolve())
      this.#child.on('error', () => resolve())
    })
    // It may have been killed; then there is nobody to tell.
    this.#child.stdin?.on('error', () => undefined)
    this.#child.unref()
    const stdin = this.#child.stdin as (NodeJS.WritableStream & { unref?: () => void }) | null
    stdin?.unref?.()
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Names the mount to watch over. */
  watch(mount: MountLine): void {
    this.#child.stdin?.write(`${mount.id} ${mount.device}\n`)
  }

  /** The mount is gone in an orderly way: a new one at the path may already look like it. */
  async dismiss(): Promise<void> {
    await this.#end('done\n')
  }

  /** Lets it clear the mount away now. */
  async clear(): Promise<void> {
    await this.#end('')
  }

  async #end(lastWords: string): Promise<void> {
    this.#child.ref()
    this.#child.stdin?.end(lastWords)
    await this.#exited
  }
}
