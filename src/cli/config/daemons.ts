/** The settings of every daemon. */
import {
  blockBytesDefault,
  blockBytesMax,
  blockBytesMin,
  copiesDefault,
  copiesMax,
  leaseMs,
  leaseMsMax,
  leaseMsMin,
} from '../../core/limits.ts'
import { slowMsDefault } from '../../core/request-log.ts'
import { GiB, hour, MiB, second } from '../../core/units.ts'
import { type LogFormat, logFormats, type LogLevel, logLevels } from '../../service/log.ts'
import type { Role } from '../../wire/tls/roles.ts'
import { defaultFolder } from '../identity-folders.ts'
import * as kind from './kinds.ts'
import { type Daemon, maybe, sure, type Values } from './setting.ts'

const common = {
  logLevel: sure<LogLevel>({
    kind: kind.choice(logLevels),
    meaning: 'The least urgent lines that are logged',
    default: 'info',
    example: 'info',
  }),
  logFormat: sure<LogFormat>({
    kind: kind.choice(logFormats),
    meaning:
      'How lines are logged on standard error: text for people, json for programs, journal is json with the ' +
      "level in front as systemd's journal knows it, auto chooses by where standard error goes",
    default: 'auto',
    example: 'auto',
  }),
  slow: sure({
    kind: kind.seconds,
    meaning:
      'What a program waits for longer than this, in seconds, is logged, as are requests between daemons that took a ' +
      'quarter of it (docs/operations.md)',
    default: slowMsDefault / second,
    example: slowMsDefault / second,
    env: 'CAIRN_SLOW',
  }),
  insecure: sure<'on' | 'off'>({
    kind: kind.onOrOff,
    meaning:
      'Whether it may serve without TLS where other machines reach it: everybody who does reads and changes everything ' +
      '(docs/security.md)',
    default: 'off',
    example: 'off',
  }),
} as const

const identity = (role: Role, meaning: string) =>
  maybe<string>({
    kind: kind.folderOrOff,
    meaning: `The folder of its identity, with which all it says goes by TLS${meaning}; off: go without`,
    otherwise: `${defaultFolder(role)}, if it is there`,
    example: defaultFolder(role),
  })

const shortCircuit = (meaning: string) =>
  sure<'on' | 'off'>({ kind: kind.choice(['on', 'off']), meaning, default: 'on', example: 'on' })

const metrics = (example: string, recommended: boolean) =>
  sure({
    kind: kind.addressOrOff,
    meaning:
      'Where /metrics (for Prometheus), /healthz and /readyz are served: over HTTP to everybody on this machine, and on ' +
      'an address that others reach by HTTPS, to certificates of admins and observers (docs/operations.md)',
    default: 'off',
    example,
    recommended,
  })

const master = {
  data: sure({
    kind: kind.folder,
    meaning: 'The folder of its database; a new cluster is made in an empty one',
    required: true,
    example: '/var/lib/cairn/master',
  }),
  listen: sure({
    kind: kind.address,
    meaning: 'The address to serve; every chunkserver and mount must reach it',
    required: true,
    example: '127.0.0.1:9420',
  }),
  identity: identity('master', ', as cairn cluster init makes it'),
  copies: maybe({
    kind: kind.wholeNumber(1, copiesMax),
    meaning:
      'How many copies of every block are kept where nothing else is set; counts when a new cluster is made',
    otherwise: String(copiesDefault),
    example: copiesDefault,
  }),
  blockSize: maybe({
    kind: kind.bytes(
      `a power of two from "${kind.withUnit(blockBytesMin)}" to "${kind.withUnit(blockBytesMax)}"`,
      count => count >= blockBytesMin && count <= blockBytesMax && (count & (count - 1)) === 0,
    ),
    meaning: 'The largest block; counts when a new cluster is made',
    otherwise: kind.withUnit(blockBytesDefault),
    example: blockBytesDefault,
  }),
  leaseTime: maybe({
    kind: kind.wholeNumber(leaseMsMin / second, leaseMsMax / second),
    meaning: 'Seconds: a mount that is silent for so long has lost its leases and locks',
    otherwise: String(leaseMs / second),
    example: leaseMs / second,
  }),
  backupEvery: sure({
    kind: kind.duration,
    meaning: 'How often its database is copied into its folder; 0: never by itself',
    default: 1 * hour,
    example: 1 * hour,
  }),
  backupHourly: sure({
    kind: kind.wholeNumber(0, 9999),
    meaning: 'Of so many hours the newest copy is kept',
    default: 24,
    example: 24,
  }),
  backupDaily: sure({
    kind: kind.wholeNumber(0, 9999),
    meaning: 'Of so many days the newest copy is kept',
    default: 7,
    example: 7,
  }),
  logCopies: sure({
    kind: kind.wholeNumber(0, copiesMax),
    meaning:
      'On so many chunkservers a copy of its database and all changes since are kept, within a second, against the ' +
      'loss of its disk; 0: on none',
    default: 2,
    example: 2,
  }),
  repairDelay: sure({
    kind: kind.seconds,
    meaning:
      'How long the copies of a chunkserver that went away, or whose disk fails, are waited for before they are made ' +
      'anew, in seconds; so long after its own start the master waits for chunkservers to report, too',
    default: 60,
    example: 60,
  }),
  maintenanceDelay: sure({
    kind: kind.seconds,
    meaning: 'The same for a chunkserver that was stopped in order, in seconds',
    default: 180,
    example: 600,
  }),
  repairLimit: sure({
    kind: kind.bytes(),
    meaning:
      'Bytes of copies under way at a time to and from one chunkserver, when copies are made anew or moved',
    default: 64 * MiB,
    example: 64 * MiB,
  }),
  ...common,
  metrics: metrics('127.0.0.1:9430', true),
  console: sure({
    kind: kind.addressOrOff,
    meaning:
      'Where the console, a page for browsers, is served, which can change nothing: over HTTP to everybody on this ' +
      'machine, who sees the state of the cluster and the names of all files, and on an address that others reach by ' +
      'HTTPS, to whoever logs in with cairn console login',
    default: 'off',
    example: '127.0.0.1:9480',
  }),
} as const

const chunkserver = {
  data: sure({
    kind: kind.folder,
    meaning: 'The folder of its blocks, on the disk that it is to use',
    required: true,
    example: '/var/lib/cairn/disk1',
  }),
  master: sure({
    kind: kind.peerAddress,
    meaning: 'The address of the master',
    required: true,
    example: '127.0.0.1:9420',
    env: 'CAIRN_MASTER',
  }),
  listen: sure({
    kind: kind.address,
    meaning: 'The address to serve; every mount and every other chunkserver must reach it',
    required: true,
    example: '127.0.0.1:9421',
  }),
  identity: identity('chunkserver', ', as cairn node join makes it'),
  zone: sure({
    kind: kind.zone,
    meaning: 'The failure domain: copies of a block go to different ones',
    default: 'default',
    example: 'rack1',
  }),
  capacity: maybe({
    kind: kind.bytes(),
    meaning: 'The most that its blocks may take',
    otherwise: 'what the disk has',
    example: 500 * GiB,
  }),
  shortCircuit: shortCircuit('Whether mounts on this machine are told where the files of blocks are'),
  ...common,
  metrics: metrics('127.0.0.1:9431', false),
} as const

const mount = {
  master: sure({
    kind: kind.peerAddress,
    meaning: 'The address of the master',
    required: true,
    example: '127.0.0.1:9420',
    env: 'CAIRN_MASTER',
    argument: 'host:port',
  }),
  identity: identity('mount', ', as cairn mount --token makes it'),
  options: sure({
    kind: kind.words,
    meaning: 'Mount options: ro, noatime, nosuid, nodev, noexec, …',
    default: [],
    example: ['noatime'],
    flag: '-o, --options',
  }),
  zone: sure({
    kind: kind.zone,
    meaning: 'Where this machine stands, to read from near copies',
    default: 'default',
    example: 'rack1',
  }),
  export: maybe({
    kind: kind.exportName,
    meaning: 'The export to mount: a part of the tree, as cairn export makes it',
    otherwise: 'what this machine may mount, or everything',
    example: 'projects',
  }),
  wait: sure({
    kind: kind.seconds,
    meaning: 'How long system calls wait for a master that is away before they fail, in seconds',
    default: 60,
    example: 60,
  }),
  cache: maybe({
    kind: kind.bytes(),
    meaning: 'Memory for data that was read; half as much is used for small files that were written lately',
    otherwise: '64MiB',
    example: 256 * MiB,
  }),
  shortCircuit: shortCircuit('Whether files of blocks of chunkservers on this machine are read without them'),
  driver: sure<'fuse' | 'fuse-native'>({
    kind: kind.choice(['fuse', 'fuse-native']),
    meaning:
      'What speaks with the kernel: Cairn itself, or the package fuse-native with libfuse 2, which can do less ' +
      '(docs/operations.md)',
    default: 'fuse',
    example: 'fuse',
  }),
  busyPoll: sure({
    kind: kind.wholeNumber(0, 1000),
    meaning:
      'How long the mount stays awake for the next request after each answer, while they come quickly, in ' +
      'microseconds: waking up would take longer than most requests; 0 is not at all',
    default: 100,
    example: 100,
  }),
  log: maybe({
    kind: kind.file,
    meaning: 'The log of a mount process that runs in the background',
    otherwise: 'in /var/log/cairn, or in the state folder of the user',
    example: '/var/log/cairn/mount.log',
  }),
  ...common,
  metrics: metrics('127.0.0.1:9440', false),
} as const

export const masterDaemon: Daemon<typeof master> = {
  name: 'master',
  summary: 'the master of a cluster',
  settings: master,
}

export const chunkserverDaemon: Daemon<typeof chunkserver> = {
  name: 'chunkserver',
  summary: 'the storage nodes of this machine: one process for each disk',
  settings: chunkserver,
  section: {
    name: 'disk',
    meaning:
      'One for each disk, started with cairn chunkserver --disk NAME, which is what cairn-chunkserver@NAME.service does',
    examples: {
      disk1: { data: '/var/lib/cairn/disk1', listen: '127.0.0.1:9421', metrics: '127.0.0.1:9431' },
      disk2: { data: '/var/lib/cairn/disk2', listen: '127.0.0.1:9422', metrics: '127.0.0.1:9432' },
    },
  },
}

export const mountDaemon: Daemon<typeof mount> = {
  name: 'mount',
  summary: 'the mounts of this machine',
  settings: mount,
  section: {
    name: 'path',
    meaning: 'For the mount on that path alone',
    examples: { '/mnt/archive': { options: ['ro'], cache: 32 * MiB } },
  },
}

export type MasterSettings = Values<typeof master>
export type ChunkserverSettings = Values<typeof chunkserver>
export type MountSettings = Values<typeof mount>

export const daemons: readonly Daemon[] = [
  masterDaemon as unknown as Daemon,
  chunkserverDaemon as unknown as Daemon,
  mountDaemon as unknown as Daemon,
]
