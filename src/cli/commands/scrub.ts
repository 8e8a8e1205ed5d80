import { type Command, InvalidArgumentError } from 'commander'
import { UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import { adminScrub, adminStatus } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { byteCount, bytes, print, printJson, printTable } from '../output.ts'

interface StartOptions extends ClusterOptions {
  readonly rate?: number
  readonly json?: boolean
}

export function registerScrub(program: Command, network: () => Promise<Network>): void {
  const scrub = program.command('scrub').description('reading and verifying every block on every chunkserver')

  withCluster(scrub.command('status'))
    .description('where each chunkserver is with it')
    .option('--json', 'print it as JSON')
    .action(async (options: ClusterOptions & { json?: boolean }) => {
      const { nodes } = await ask(await network(), masterAddress(options), adminStatus, {})
      const rounds = nodes.map(({ id, state, scrub: round }) => ({
        node: id,
        state,
        permille: round?.permille ?? 0,
        blocks: round?.blocks ?? 0n,
        bytes: round?.bytes ?? 0n,
        damaged: round?.damaged ?? 0n,
        bytesPerSecond: round?.bytesPerSecond ?? 0n,
        finished: date(round?.finished ?? 0n),
      }))
      if (options.json === true) {
        printJson(rounds)
        return
      }
      printTable(
        ['Node', 'State', 'Round', 'Read', 'Damaged', 'At most', 'Last round ended'],
        rounds.map(round => [
          round.node.toString(),
          round.state,
          round.permille === 1000 ? 'resting' : `${(round.permille / 10).toFixed(1)} %`,
          `${round.blocks.toString()} blocks, ${bytes(round.bytes)}`,
          round.damaged.toString(),
          `${bytes(round.bytesPerSecond)}/s`,
          round.finished ?? 'not since its start',
        ]),
      )
    })

  withCluster(scrub.command('start'))
    .description('begin a round now, on one chunkserver or all')
    .argument('[node]', 'its number, as cairn node ls shows it')
    .option('--rate <bytes>', 'bytes a second at most in this round, such as 100MiB', rate)
    .option('--json', 'print the result as JSON')
    .action(async (text: string | undefined, options: StartOptions) => {
      if (text !== undefined && !/^[1-9]\d{0,17}$/.test(text))
        throw new UsageError(`${text} is no number of a chunkserver`)
      const request = { node: BigInt(text ?? 0), bytesPerSecond: BigInt(options.rate ?? 0) }
      const { nodes } = await ask(await network(), masterAddress(options), adminScrub, request)
      if (options.json === true) printJson({ nodes })
      else print(`${nodes.toString()} chunkservers begin`)
    })
}

const date = (ns: bigint): string | undefined =>
  ns === 0n ? undefined : new Date(Number(ns / 1_000_000n)).toISOString()

function rate(text: string): number {
  const parsed = byteCount.safeParse(text)
  if (!parsed.success) throw new InvalidArgumentError(parsed.error.issues[0]?.message ?? '')
  return parsed.data
}
