/** Names likely causes from what was found. Pure: what was found comes from collect.ts. */

export interface Cause {
  readonly what: string
  readonly next: readonly string[]
}

export interface Facts {
  /** Why the master did not answer; undefined if it did, or none was named. */
  readonly masterError: string | undefined
  readonly ownVersion: string
  readonly masterVersion: string | undefined
  readonly mountVersions: readonly string[]
  /** What the master finds, with next steps. */
  readonly findings: readonly Cause[]
  readonly memory: { readonly totalBytes: number; readonly availableBytes: number }
  readonly load: { readonly perMinute: number; readonly processors: number }
  readonly disks: readonly {
    readonly folder: string
    readonly totalBytes: number
    readonly freeBytes: number
  }[]
  /** Cairn mounts of this machine, and why they do not answer. */
  readonly mounts: readonly { readonly path: string; readonly trouble: string | undefined }[]
  readonly logs: readonly { readonly name: string; readonly text: string }[]
  /** Metrics that could not be had. */
  readonly silentDaemons: readonly string[]
}

const fullShare = 0.05

/** What lines of logs tell of, and what to do. */
const signs: readonly { readonly pattern: RegExp; readonly what: string; readonly next: string }[] = [
  {
    pattern: /ENOSPC|disk is full/i,
    what: 'a disk was full',
    next: 'df -h on that machine; cairn gc status says what frees itself',
  },
  {
    pattern: /\bEIO\b.*(disk|read|write)|disk fails|I\/O error/i,
    what: 'a disk gave errors',
    next: 'journalctl -k on that machine; replace the disk: cairn node drain N, cairn node remove N',
  },
  {
    pattern: /written data is lost|could not be stored/i,
    what: 'something that was written could not be stored',
    next: 'the line names file and block; the program had an error from fsync or close',
  },
  {
    pattern: /lease ran out|silent for too long|did not give back its lease/i,
    what: 'a mount lost contact with the master for its lease time',
    next: 'look at the network between them and at the load of both machines',
  },
  {
    pattern: /clock jumped/i,
    what: 'the clock of the master jumped',
    next: 'keep it with chrony or systemd-timesyncd: timedatectl status',
  },
  {
    pattern: /is damaged|checksum/i,
    what: 'stored bytes did not have their checksum',
    next: 'cairn damaged, cairn scrub status; many of them on one disk mean that it fails',
  },
  {
    pattern: /heap out of memory|SIGKILL|oom-kill|Out of memory/i,
    what: 'a process ran out of memory',
    next: 'give the machine more memory, or the mount a smaller cache',
  },
  {
    pattern: /EADDRINUSE|it is in use/i,
    what: 'an address or folder was in use by another process',
    next: 'look for a second daemon with the same listen address or folder: ss -ltnp',
  },
]

export function causesOf(facts: Facts): Cause[] {
  return [
    ...ofMaster(facts),
    ...facts.findings,
    ...ofVersions(facts),
    ...ofMachine(facts),
    ...ofMounts(facts),
    ...ofLogs(facts),
  ]
}

function ofMaster({ masterError, silentDaemons }: Facts): Cause[] {
  const found: Cause[] = []
  if (masterError !== undefined)
    found.push({
      what: `the master does not answer: ${masterError}`,
      next: [
        'on its machine: systemctl status cairn-master, journalctl -u cairn-master -n 50',
        'from here: is the address right, and is there a firewall between?',
      ],
    })
  for (const daemon of silentDaemons)
    found.push({
      what: `the daemon that serves ${daemon} does not answer`,
      next: ['systemctl status its unit'],
    })
  return found
}

function ofVersions({ ownVersion, masterVersion, mountVersions }: Facts): Cause[] {
  const others = [masterVersion, ...mountVersions].filter(
    (version): version is string => version !== undefined && version !== ownVersion,
  )
  if (others.length === 0) return []
  return [
    {
      what: `versions differ: ${[...new Set(others)].join(', ')} in the cluster, ${ownVersion} here`,
      next: ['upgrade all of them: the master first'],
    },
  ]
}

function ofMachine({ memory, load, disks }: Facts): Cause[] {
  const found: Cause[] = []
  if (memory.availableBytes < memory.totalBytes * fullShare)
    found.push({
      what: 'this machine has hardly any memory left',
      next: ['look at who has it: ps aux --sort=-rss | head'],
    })
  if (load.perMinute > load.processors * 4)
    found.push({
      what: `this machine is overloaded: ${load.perMinute.toFixed(1)} processes want its ${String(load.processors)} processors`,
      next: ['look at who does: top'],
    })
  for (const { folder, totalBytes, freeBytes } of disks)
    if (freeBytes < totalBytes * fullShare)
      found.push({ what: `the disk of ${folder} is nearly full`, next: [`df -h ${folder}`] })
  return found
}

const ofMounts = ({ mounts }: Facts): Cause[] =>
  mounts.flatMap(({ path, trouble }) =>
    trouble === undefined
      ? []
      : [
          {
            what: `the mount ${path} does not work: ${trouble}`,
            next: [`see its log; then: cairn umount --lazy ${path}, and mount it again`],
          },
        ],
  )

/** One for each kind of line, with the newest such line. */
function ofLogs({ logs }: Facts): Cause[] {
  return signs.flatMap(({ pattern, what, next }) => {
    const hits = logs.flatMap(({ name, text }) =>
      text
        .split('\n')
        .filter(line => pattern.test(line))
        .map(line => ({ name, line })),
    )
    const last = hits.at(-1)
    if (last === undefined) return []
    return [
      {
        what: `${what} (${String(hits.length)} lines; the last in ${last.name}): ${last.line.trim().slice(0, 200)}`,
        next: [next],
      },
    ]
  })
}
