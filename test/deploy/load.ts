import { equal } from 'node:assert/strict'
import type { Container } from './container.js'
import { until } from './site.js'

/** Every file there is written on the mount, and beside it, on the client's own disk: the truth to compare with. */
export const makeFiles = `
set -e
mkdir -p /root/truth/small /root/truth/large '/root/truth/näme with  spaces'
cd /root/truth
for i in $(seq 300); do head -c $((RANDOM * 2 % 65536)) /dev/urandom > small/$i; done
for i in $(seq 8); do head -c $((4194304 + RANDOM)) /dev/urandom > large/$i; done
truncate -s 20M large/sparse
printf end | dd of=large/sparse bs=1 seek=9000000 conv=notrunc status=none
head -c 100000 /dev/urandom > $'small/not utf-8 \\xe4'
head -c 100000 /dev/urandom > "näme with  spaces/$(printf 'line\\nfeed')"
ln -s ../small/1 large/link
ln small/2 large/hard
chmod 4750 small/3
chown 1234:5678 small/4
mkfifo small/fifo
touch -d '1999-12-31 23:59:59.123456789' small/5
cp --archive /root/truth /mnt/files/truth
`

/** Both are told apart by content, and by what ls shows. */
const compare = `
set -e
grep -q ' /mnt/files fuse.cairn ' /proc/mounts
diff --recursive --no-dereference --exclude=fifo /root/truth /mnt/files/truth
list() { cd "$1"; find . ! -type d -printf '%P %y %m %U %G %n %s %T@ %l\\n' | sort; }
diff <(list /root/truth) <(list /mnt/files/truth)
`

/** Compares what chunkservers have, not what the mount has in memory: it is a new one. */
export async function verify(client: Container): Promise<void> {
  await client.run('systemctl stop mnt-files.mount')
  await client.run('ls /mnt/files > /dev/null')
  await client.run(compare)
}

const program = `
mkdir -p /root/truth/load /mnt/files/truth/load
i=$(ls /root/truth/load | wc -l)
while [ ! -e /root/load.stop ]; do
  i=$((i + 1)) here=/root/truth/load/$i there=/mnt/files/truth/load/$i
  head -c $((RANDOM * 12 + 1)) /dev/urandom > $here
  cp --preserve=all $here $there.new && sync $there.new && mv $there.new $there && cmp $here $there || exit
  echo $i > /root/load.count
  sleep 0.1
done
`

/** A program on the client that writes, syncs, renames and reads back. It ends with the first call that fails. */
export class Load {
  readonly #client: Container
  readonly #over: Promise<string>

  static async start(client: Container): Promise<Load> {
    await client.run('rm -f /root/load.stop /root/load.count')
    const load = new Load(client)
    await load.goesOn()
    return load
  }

  private constructor(client: Container) {
    this.#client = client
    this.#over = client
      .try(program, 10 * 60_000)
      .then(({ code, output }) => `${output}exit code ${String(code)}`)
    this.#over.catch(() => undefined)
  }

  /** Until it has written three more files. */
  async goesOn(): Promise<void> {
    const before = await this.#count()
    await until('the load to go on', async () => {
      const now = await this.#count()
      return now >= before + 3 ? undefined : `${now - before} files since`
    })
  }

  async stop(): Promise<void> {
    await this.#client.run('touch /root/load.stop')
    equal(await this.#over, 'exit code 0')
  }

  async #count(): Promise<number> {
    const { output } = await this.#client.try('cat /root/load.count')
    return Number.parseInt(output) || 0
  }
}
