import type { Command } from 'commander'
import os from 'node:os'
import { UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import type { IdentityRecord } from '../../wire/gen/cairn/v1/identity.ts'
import { identityList, identityRevoke } from '../../wire/services.ts'
import { IdentityFolder } from '../../wire/tls/identity-folder.ts'
import { identityNameForm } from '../../wire/tls/peer.ts'
import { Tls } from '../../wire/tls/tls.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, peerAddress, withCluster } from '../cluster-address.ts'
import { print, printJson, printTable } from '../output.ts'
import { defaultFolder } from '../identity-folders.ts'
import { writeIdentity } from '../own-identity.ts'
import { visible } from '../terminal.ts'

interface Options extends ClusterOptions {
  readonly json?: boolean
}

interface JoinOptions {
  readonly token?: string
  readonly name?: string
  readonly identity?: string
  readonly json?: boolean
}

export function registerIdentity(program: Command, network: () => Promise<Network>): void {
  const identity = program
    .command('identity')
    .description('who may do what, on a cluster with TLS: list, revoke')

  withCluster(identity.command('ls'))
    .description('everybody who has a certificate of the cluster')
    .option('--json', 'print it as JSON')
    .action(async (options: Options) => {
      const { identities } = await ask(await network(), masterAddress(options), identityList, {})
      if (options.json === true) printJson(identities.map(asJson))
      else
        printTable(
          ['id', 'role', 'name', 'state', 'until', 'export'],
          identities.map(each => [
            ...[each.id, each.role, visible(each.name), stateOf(each), time(each.until)],
            visible(each.export),
          ]),
        )
    })

  withCluster(identity.command('revoke'))
    .description('end an identity for good, its open connections too')
    .argument('<identity>', 'its id, or its name if no other has it')
    .option('--json', 'print the result as JSON')
    .action(async (which: string, options: Options) => {
      const reply = await ask(await network(), masterAddress(options), identityRevoke, { identity: which })
      const revoked = reply.identity
      if (options.json === true) printJson(revoked === undefined ? {} : asJson(revoked))
      else print(`The identity ${which} is revoked: it is refused from now on, everywhere`)
    })
}

/** `cairn node join`. */
export function registerJoin(node: Command): void {
  node
    .command('join')
    .description('get this machine an identity of a cluster with TLS, for a token')
    .argument('<host:port>', 'address of the master', peerAddress)
    .option(
      '--token <token>',
      'as cairn cluster token create prints it (or CAIRN_TOKEN, which ps does not show)',
    )
    .option('--name <name>', "what to call it (default: this machine's name)")
    .option('--identity <dir>', `folder for it (default: ${defaultFolder('chunkserver')}, or as the role is)`)
    .option('--json', 'print the result as JSON')
    .action(async (address: string, options: JoinOptions) => {
      const joined = await join(address, options)
      if (options.json === true) printJson(joined)
      else print(`This machine is the ${joined.role} ${joined.name} now; its identity is in ${joined.folder}`)
    })
}

/** Exchanges a token for an identity, and writes it down. */
export async function join(address: string, options: JoinOptions) {
  const { joinCluster } = await import('../../wire/grpc/join.ts')
  const token = options.token ?? process.env['CAIRN_TOKEN'] ?? ''
  if (token === '') throw new UsageError('which token? give --token, or set CAIRN_TOKEN')
  if (options.identity !== undefined && new IdentityFolder(options.identity).isThere)
    throw there(options.identity)
  const credentials = await joinCluster(address, token, options.name ?? hostName())
  const { role, name, id } = new Tls(credentials).identity
  const folder = new IdentityFolder(options.identity ?? defaultFolder(role))
  if (folder.isThere) throw there(folder.dir)
  writeIdentity(folder, role, credentials)
  return { role, name, id, folder: folder.dir }
}

const there = (dir: string): UsageError =>
  new UsageError(
    `there is an identity in ${dir} already: remove it first, or choose another folder with --identity`,
  )

/** What of this machine's name may be in a certificate. */
function hostName(): string {
  const name = os
    .hostname()
    .replaceAll(/[^A-Za-z0-9_.-]/g, '-')
    .slice(0, 64)
  return identityNameForm.test(name) ? name : ''
}

const time = (ms: bigint): string => new Date(Number(ms)).toISOString()

function stateOf({ revoked, until }: IdentityRecord): string {
  if (revoked > 0n) return 'revoked'
  return until <= BigInt(Date.now()) ? 'expired' : 'good'
}

const asJson = (each: IdentityRecord): object => ({
  ...{ id: each.id, role: each.role, name: each.name, state: stateOf(each) },
  ...{ created: time(each.created), until: time(each.until) },
  ...(each.revoked > 0n ? { revoked: time(each.revoked) } : {}),
  ...(each.export === '' ? {} : { export: each.export }),
})
