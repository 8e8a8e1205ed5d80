import { type ChildProcess, spawn } from 'node:child_process'
import { controlFolder, type MountLine } from './mount-table.ts'

/**
 * Waits until the mount process is dead, however it died: its standard input ends, which only that process can
 * write to, or a signal says that the thread which started it is gone. The second is needed because one thread
 * that the kernel keeps waiting (a notification for a page, the page for an answer of ours) keeps all
 * descriptors of a killed process open, the device among them, so that nothing would ever end.
 *
 * Then it aborts the connection, and unmounts the path lazily if the mount is on top there. Both only for the very
 * mount that it was told of, so that a later mount at the same place is never touched. Where death came before
 * it was told, a dead (ENOTCONN) cairn mount on top is one of ours. A line "done" ends it without effect.
 */
const script = `
path=$1 mountpoint=$2
id= device=
clear() {
  ours= top=
  while read -r line_id _ line_device _ line_path tail; do
    [ "$line_path" = "$path" ] || continue
    type=\${tail#* - }
    type=\${type%% *}
    top=
    [ "$type" = fuse.cairn ] || continue
    if [ -z "$id" ]; then
      top=maybe
    elif [ "$line_id" = "$id" ] && [ "$line_device" = "$device" ]; then
      ours=1 top=1
    fi
  done < /proc/self/mountinfo
  [ -z "$ours" ] || echo 1 > "${controlFolder}/\${device#*:}/abort"
  [ "$top" != maybe ] || stat -f "$mountpoint" > /dev/null 2>&1 || top=1
  [ "$top" != 1 ] || umount -i -c -l "$mountpoint"
  exit 0
}
trap clear USR1
echo ready
exec > /dev/null
while read -r word rest; do
  [ "$word" = done ] && exit 0
  id=$word device=$rest
done
clear
`

/** Starts the script with the signal arranged for, where setpriv(1) can do that. */
const launcher = `
if setpriv --pdeathsig USR1 true; then exec setpriv --pdeathsig USR1 /bin/sh -c "$3" "$0" "$1" "$2"; fi
exec /bin/sh -c "$3" "$0" "$1" "$2"
`

/** As mountinfo writes a path. */
const escape = (path: string): string =>
  path.replace(/[\\ \t\n]/g, char => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`)

/** A tiny process that outlives this one and clears its mount away. To be made on the main thread. */
export class Guardian {
  /** It is ready to be left alone: before, the signal of a death would end it instead. */
  readonly ready: Promise<unknown>
  readonly #child: ChildProcess
  readonly #exited: Promise<void>

  constructor(path: string) {
    this.#child = spawn('/bin/sh', ['-c', launcher, 'cairn-guardian', escape(path), path, script], {
      cwd: '/',
      detached: true,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' },
      // Node opens everything close-on-exec: neither the device nor another guardian's pipe gets in.
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    this.#exited = new Promise(resolve => {
      this.#child.on('exit', () => resolve())
      this.#child.on('error', () => resolve())
    })
    this.ready = Promise.race([
      this.#exited,
      new Promise(resolve => this.#child.stdout?.once('data', resolve).once('error', resolve)),
    ]).finally(() => this.#child.stdout?.destroy())
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
