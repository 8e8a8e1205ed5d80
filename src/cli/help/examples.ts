/** Command lines as people type them, by command: for --help and the manual page. */
export const examples: Readonly<Record<string, readonly string[]>> = {
  'cairn up': ['cairn up --dir ~/cairn --mount ~/files', 'cairn up --dir ~/cairn --chunkservers 5 --detach'],
  'cairn down': ['cairn down --dir ~/cairn'],
  'cairn master': [
    'cairn master --data /srv/cairn/master --listen 10.0.0.1:9420',
    'cairn master --config /etc/cairn/master.toml',
  ],
  'cairn chunkserver': [
    'cairn chunkserver --data /srv/a --master 10.0.0.1:9420 --listen 10.0.0.2:9421',
    'cairn chunkserver --disk disk1',
  ],
  'cairn mount': [
    'cairn mount 10.0.0.1:9420 /mnt/files',
    'cairn mount -o ro,noatime 10.0.0.1:9420 /mnt/files',
    'cairn mount --export projects 10.0.0.1:9420 /mnt/projects',
    'cairn mount --replace /mnt/files',
    'cairn mount ls',
  ],
  'cairn mount ls': ['cairn mount ls', 'cairn mount ls --master 10.0.0.1:9420 --json'],
  'cairn mount evict': ['cairn mount evict 7 --dry-run', 'cairn mount evict 7 --yes'],
  'cairn umount': ['cairn umount /mnt/files', 'cairn umount --lazy /mnt/files'],
  'cairn config check': ['cairn config check', 'cairn config check chunkserver'],
  'cairn config show': ['cairn config show master'],
  'cairn config example': ['cairn config example mount > /etc/cairn/mount.toml'],
  'cairn completion': ['source <(cairn completion bash)'],
  'cairn version': ['cairn version --json'],
  'cairn status': ['cairn status', 'cairn status --json | jq .blocks'],
  'cairn health': ['cairn health', 'cairn health --json | jq -r .health'],
  'cairn info': ['cairn info /mnt/files/report.pdf', 'cairn info --limit 10 --json /mnt/files/disk.img'],
  'cairn copies get': ['cairn copies get /mnt/files/scratch'],
  'cairn copies set': [
    'cairn copies set 3 /mnt/files/report.pdf',
    'cairn copies set -r 2 /mnt/files/scratch',
  ],
  'cairn sync': ['cairn sync /mnt/files'],
  'cairn fsck': [
    'cairn fsck',
    'cairn fsck --data',
    'cairn fsck --repair /srv/cairn/master',
    'cairn fsck --repair /srv/cairn/master --yes',
  ],
  'cairn backup': ['cairn backup /backup/cairn.db'],
  'cairn restore': [
    'cairn restore /backup/cairn.db --data /srv/cairn/master',
    'cairn restore --from-nodes 10.0.0.2:9421 10.0.0.3:9421 --data /srv/master',
  ],
  'cairn restore status': ['cairn restore status'],
  'cairn restore confirm': ['cairn restore confirm'],
  'cairn cluster init': ['cairn cluster init'],
  'cairn cluster token create': [
    'cairn cluster token create --role chunkserver',
    'cairn cluster token create --role mount --expires 7d --uses 20',
    'cairn cluster token create --role mount --export projects',
  ],
  'cairn export create': [
    'cairn export create projects --path /projects --allow laptop7',
    "cairn export create public --path /public --read-only --all-squash --allow '*'",
  ],
  'cairn export ls': ['cairn export ls', "cairn export ls --json | jq -r '.exports[].name'"],
  'cairn export show': ['cairn export show projects'],
  'cairn export set': [
    'cairn export set projects --read-only',
    'cairn export set projects --allow laptop8 --disallow laptop7',
  ],
  'cairn export remove': ['cairn export remove projects'],
  'cairn export release': ['cairn export release laptop7'],
  'cairn console login': ['cairn console login', 'cairn console login --json | jq -r .url'],
  'cairn identity ls': ['cairn identity ls', "cairn identity ls --json | jq -r '.[].name'"],
  'cairn identity revoke': ['cairn identity revoke laptop7'],
  'cairn node join': ['cairn node join 10.0.0.1:9420 --token "$TOKEN"'],
  'cairn node ls': ['cairn node ls', 'cairn node ls --json'],
  'cairn node show': ['cairn node show 2'],
  'cairn node label': ["cairn node label 2 'rack 3, slot 7'", 'cairn node label 2'],
  'cairn node drain': ['cairn node drain 2'],
  'cairn node undrain': ['cairn node undrain 2'],
  'cairn node remove': ['cairn node remove 2'],
  'cairn repair status': ['cairn repair status'],
  'cairn rebalance status': ['cairn rebalance status'],
  'cairn rebalance start': ['cairn rebalance start'],
  'cairn rebalance stop': ['cairn rebalance stop'],
  'cairn scrub status': ['cairn scrub status'],
  'cairn scrub start': ['cairn scrub start', 'cairn scrub start 2 --rate 100MiB'],
  'cairn damaged': ['cairn damaged', "cairn damaged --json | jq -r '.blocks[].files[].path'"],
  'cairn locate': ['cairn locate /mnt/files/report.pdf', 'cairn locate -r /mnt/files/projects'],
  'cairn top': ['cairn top', 'cairn top --once --interval 10', 'cairn top --json | jq .operations'],
  'cairn warmup': ['cairn warmup /mnt/files/projects', 'cairn warmup --metadata /mnt/files'],
  'cairn bench': [
    'cairn bench /mnt/files',
    'cairn bench --size 1GiB --json /mnt/files',
    'cairn bench /var/tmp',
  ],
  'cairn doctor': ['cairn doctor', 'cairn doctor --dir ~/cairn --out /tmp/cairn-doctor.tar.gz'],
  'cairn gc status': ['cairn gc status'],
  'cairn lock ls': ['cairn lock ls', 'cairn lock ls /mnt/files/mail.db', 'cairn lock ls --mount 7'],
  'cairn lease ls': ['cairn lease ls /mnt/files/report.pdf', 'cairn lease ls --waited'],
}

/** What --help says after everything else. */
export function examplesText(path: string): string {
  const lines = examples[path] ?? []
  if (lines.length === 0) return ''
  return `\n${lines.length === 1 ? 'Example' : 'Examples'}:\n${lines.map(line => `  ${line}`).join('\n')}`
}
