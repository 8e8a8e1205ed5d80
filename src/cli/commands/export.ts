import { type Command, InvalidArgumentError, Option } from 'commander'
import { UsageError } from '../../core/errors.ts'
import { everybody, userIdMax } from '../../core/export-names.ts'
import { identityForm } from '../../core/ids.ts'
import type { Network } from '../../core/network.ts'
import type { ExportRecord, ExportReply, ExportRules } from '../../wire/gen/cairn/v1/admin.ts'
import {
  adminCreateExport,
  adminListExports,
  adminReleaseIdentity,
  adminRemoveExport,
  adminSetExport,
  identityList,
} from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { byteCount, bytes, print, printJson, printPairs, printTable } from '../output.ts'
import { visible } from '../terminal.ts'

interface Options extends ClusterOptions {
  readonly json?: boolean
}

interface RuleOptions extends Options {
  readonly readOnly?: true
  readonly readWrite?: true
  readonly rootSquash?: true
  readonly allSquash?: true
  readonly noSquash?: true
  readonly anonUid?: number
  readonly anonGid?: number
  /** Commander's --no-x is the false of x. */
  readonly setuid?: boolean
  readonly devices?: boolean
  readonly opsPerSecond?: number
  readonly writePerSecond?: number
  readonly readPerSecond?: number
  readonly dedup?: string
  readonly shortCircuit?: boolean
  readonly allow?: readonly string[]
}

type WholeNumber = (name: string, min: number, max: number) => (text: string) => number

const shortCircuit = '--short-circuit'
const shortCircuitText =
  'mounts of root on a chunkserver may read its block files by themselves, if there is no --read-per-second'

/** Making the first one indexes all names. */
const createMs = 10 * 60_000

/** `cairn export`: which identities may mount which part of the tree. */
export function registerExport(
  program: Command,
  network: () => Promise<Network>,
  wholeNumber: WholeNumber,
): void {
  const exports = program
    .command('export')
    .description('parts of the tree for certain mounts: make, list, change')

  withRules(withCluster(exports.command('create')), wholeNumber)
    .description('export a folder')
    .option(shortCircuit, shortCircuitText)
    .argument('<name>', 'what to call it')
    .requiredOption('--path <path>', "the folder, from the cluster's root")
    .action(async (name: string, options: RuleOptions & { path: string }) => {
      const { dial, address } = await cluster(network, options)
      const identities = await idsOf(dial, address, options.allow ?? [])
      const request = { name, path: Buffer.from(options.path), rules: rulesOf(options), identities }
      const reply = await ask(dial, address, adminCreateExport, request, createMs)
      tell(options, reply, `${options.path} is exported as ${name}`)
    })

  withCluster(exports.command('ls'))
    .description('all exports, who may mount them, and how many do')
    .option('--json', 'print it as JSON')
    .action(async (options: Options) => {
      const { dial, address } = await cluster(network, options)
      const { exports: found, unbound } = await ask(dial, address, adminListExports, {})
      if (options.json === true) {
        printJson({ exports: found.map(asJson), unbound })
        return
      }
      printTable(
        ['Export', 'Path', 'Rules', 'Identities', 'Mounts'],
        found.map(each => [
          ...[each.name, pathOf(each), rulesText(each.rules)],
          ...[each.identities.join(' '), each.mounts.toString()],
        ]),
      )
      for (const identity of unbound) print(`${identity} is in no export any more, and may mount nothing`)
    })

  withCluster(exports.command('show'))
    .description('one export')
    .argument('<name>', 'as cairn export ls shows it')
    .option('--json', 'print it as JSON')
    .action(async (name: string, options: Options) => {
      const { dial, address } = await cluster(network, options)
      const { exports: all } = await ask(dial, address, adminListExports, {})
      const found = all.find(each => each.name === name)
      if (found === undefined) throw new UsageError(`there is no export ${name}: see cairn export ls`)
      if (options.json === true) printJson(asJson(found))
      else show(found)
    })

  // What a flag grants is declared before the one that takes it away: then neither is given by default.
  withRules(
    withCluster(exports.command('set'))
      .option('--setuid', 'setuid, setgid and capabilities can be set')
      .option('--devices', 'device nodes can be made')
      .option(shortCircuit, shortCircuitText),
    wholeNumber,
  )
    .description('change what an export allows, at once, also for mounts that are there')
    .argument('<name>', 'as cairn export ls shows it')
    .option('--no-short-circuit', 'all is read by way of chunkservers')
    .option('--read-write', 'it can be changed')
    .option('--no-squash', 'callers are who their mount says')
    .option('--disallow <identities>', 'who may not mount it any more, nor anything else instead', several)
    .action(
      async (name: string, options: RuleOptions & { squash?: boolean; disallow?: readonly string[] }) => {
        const { dial, address } = await cluster(network, options)
        const rules = rulesOf({ ...options, ...(options.squash === false ? { noSquash: true } : {}) })
        const add = await idsOf(dial, address, options.allow ?? [])
        const drop = await idsOf(dial, address, options.disallow ?? [])
        const reply = await ask(dial, address, adminSetExport, { name, rules, add, drop })
        tell(options, reply, `The export ${name} is changed`)
      },
    )

  withCluster(exports.command('remove'))
    .description('end an export and its mounts; who was to see it alone may mount nothing then')
    .argument('<name>', 'as cairn export ls shows it')
    .option('--json', 'print the result as JSON')
    .action(async (name: string, options: Options) => {
      const { dial, address } = await cluster(network, options)
      tell(options, await ask(dial, address, adminRemoveExport, { name }), `The export ${name} is removed`)
    })

  withCluster(exports.command('release'))
    .description('let somebody see everything again who is in no export any more')
    .argument('<identity>', 'its name or id, or *')
    .option('--json', 'print the result as JSON')
    .action(async (which: string, options: Options) => {
      const { dial, address } = await cluster(network, options)
      const [identity = ''] = await idsOf(dial, address, [which])
      await ask(dial, address, adminReleaseIdentity, { identity })
      if (options.json === true) printJson({ identity })
      else print(`${which} may mount everything`)
    })
}

function withRules(command: Command, wholeNumber: WholeNumber): Command {
  return command
    .option('--read-only', 'nothing in it can be changed')
    .option('--root-squash', 'nobody is root there: callers of uid or gid 0 are the anonymous ones')
    .option('--all-squash', 'everybody is the anonymous user there')
    .option('--anon-uid <n>', 'who that is (default: 65534)', wholeNumber('--anon-uid', 1, userIdMax))
    .option('--anon-gid <n>', 'and its group (default: 65534)', wholeNumber('--anon-gid', 1, userIdMax))
    .option('--no-setuid', 'setuid, setgid and capabilities cannot be set')
    .option('--no-devices', 'device nodes cannot be made')
    .option(
      '--ops-per-second <n>',
      'at most so many calls of all its mounts together; 0: no limit',
      wholeNumber('--ops-per-second', 0, 0xffff_ffff),
    )
    .option(
      '--write-per-second <bytes>',
      'at most so much written by them, such as 100MiB; 0: no limit',
      byteRate,
    )
    .option(
      '--read-per-second <bytes>',
      'at most so much read by them, such as 100MiB; 0: no limit',
      byteRate,
    )
    .addOption(
      new Option(
        '--dedup <own|shared>',
        'equal content is stored once within the export, or with all that are shared, which then can tell of each other; ' +
          'for mounts that come after (default: own)',
      ).choices(['own', 'shared']),
    )
    .option(
      '--allow <identities>',
      'names or ids of who may mount it, and nothing else, separated by commas; * is whoever is in no export',
      several,
    )
    .option('--json', 'print the result as JSON')
}

function byteRate(text: string): number {
  const parsed = byteCount.safeParse(text)
  if (!parsed.success) throw new InvalidArgumentError('must be a number of bytes such as 10485760 or 10MiB.')
  return parsed.data
}

/** `--allow a,b --allow c` */
const several = (text: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  ...text.split(',').filter(each => each !== ''),
]

async function cluster(network: () => Promise<Network>, options: ClusterOptions) {
  return { dial: await network(), address: masterAddress(options) }
}

/** The wire knows identities by their ids. */
async function idsOf(dial: Network, address: string, names: readonly string[]): Promise<string[]> {
  if (names.every(name => name === everybody || identityForm.test(name))) return [...names]
  const { identities } = await ask(dial, address, identityList, {})
  const mounts = identities.filter(({ role, revoked }) => role === 'mount' && revoked === 0n)
  return names.map(which => {
    if (which === everybody) return which
    const [found, second] = mounts.filter(({ id, name }) => id === which || name === which)
    if (found === undefined)
      throw new UsageError(`there is no identity ${which} of the role mount: see cairn identity ls`)
    if (second !== undefined)
      throw new UsageError(`several identities are called ${which}: give the id of one`)
    return found.id
  })
}

function rulesOf(options: RuleOptions): ExportRules {
  const { readOnly, readWrite, rootSquash, allSquash, noSquash } = options
  if (readOnly === true && readWrite === true) throw new UsageError('--read-only or --read-write?')
  const squashes = [
    ...(noSquash === true ? ['none'] : []),
    ...(rootSquash === true ? ['root'] : []),
    ...(allSquash === true ? ['all'] : []),
  ]
  if (squashes.length > 1)
    throw new UsageError('--root-squash, --all-squash and --no-squash exclude each other')
  return {
    readOnly: readOnly ?? (readWrite === true ? false : undefined),
    squash: squashes[0],
    anonUid: options.anonUid,
    anonGid: options.anonGid,
    setuid: options.setuid,
    devices: options.devices,
    callsPerSecond: options.opsPerSecond,
    dedup: options.dedup,
    shortCircuit: options.shortCircuit,
    readBytesPerSecond: options.readPerSecond === undefined ? undefined : BigInt(options.readPerSecond),
    writtenBytesPerSecond: options.writePerSecond === undefined ? undefined : BigInt(options.writePerSecond),
  }
}

function tell(options: Options, { export: record }: ExportReply, text: string): void {
  if (options.json === true) printJson(record === undefined ? {} : asJson(record))
  else print(text)
}

const pathOf = ({ path }: ExportRecord): string =>
  path.length === 0 ? '(removed)' : visible(Buffer.from(path).toString('utf8'))

function rulesText(rules: ExportRules | undefined): string {
  const words = [rules?.readOnly === true ? 'read-only' : 'read-write']
  if (rules?.squash !== undefined && rules.squash !== 'none')
    words.push(`${rules.squash}-squash to ${String(rules.anonUid)}:${String(rules.anonGid)}`)
  if (rules?.setuid === false) words.push('no setuid')
  if (rules?.devices === false) words.push('no devices')
  if (rules?.callsPerSecond) words.push(`${String(rules.callsPerSecond)} calls/s`)
  if (rules?.writtenBytesPerSecond) words.push(`${bytes(rules.writtenBytesPerSecond)}/s written`)
  if (rules?.readBytesPerSecond) words.push(`${bytes(rules.readBytesPerSecond)}/s read`)
  if (rules?.dedup === 'shared') words.push('shared dedup')
  if (rules?.shortCircuit === true) words.push('short-circuit')
  return words.join(', ')
}

function show(record: ExportRecord): void {
  printPairs([
    ['Export', record.name],
    ['Path', pathOf(record)],
    ['Inode', record.ino.toString()],
    ['Rules', rulesText(record.rules)],
    ['Identities', record.identities.length === 0 ? 'whoever asks for it' : record.identities.join(' ')],
    ['Mounts', record.mounts.toString()],
  ])
}

/** Scripts rely on these names. */
const asJson = ({ name, ino, path, rules, identities, mounts }: ExportRecord): object => ({
  ...{ name, path: Buffer.from(path).toString('utf8'), ino },
  ...rules,
  ...{ identities, mounts },
})
