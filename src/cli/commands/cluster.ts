import { type Command, Option } from 'commander'
import { UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import { identityCreateToken } from '../../wire/services.ts'
import { joinableRoles } from '../../wire/tls/roles.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import * as kind from '../config/kinds.ts'
import { print, printJson } from '../output.ts'
import { defaultFolder } from '../identity-folders.ts'

interface TokenOptions extends ClusterOptions {
  readonly role: string
  readonly expires: string
  readonly uses: number
  readonly export?: string
  readonly json?: boolean
}

export function registerCluster(
  program: Command,
  network: () => Promise<Network>,
  wholeNumber: (name: string, min: number, max: number) => (text: string) => number,
): void {
  const cluster = program
    .command('cluster')
    .description('TLS: the authority of a cluster, and tokens to join it')

  cluster
    .command('init')
    .description(
      "make the cluster's authority, the identity of its master, and one of an admin; on the master's machine",
    )
    .option(
      '--master-identity <dir>',
      `folder of the master's identity and the authority (default: ${defaultFolder('master')})`,
    )
    .option('--admin-identity <dir>', `folder of the admin's identity (default: ${defaultFolder('admin')})`)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nWhere there is an authority already it only makes a new identity of an admin, while the master is stopped.',
    )
    .action(async (options: { masterIdentity?: string; adminIdentity?: string; json?: boolean }) => {
      const { initAuthority } = await import('../init-authority.ts')
      const made = await initAuthority({
        master: options.masterIdentity ?? defaultFolder('master'),
        admin: options.adminIdentity ?? defaultFolder('admin'),
      })
      if (options.json === true) {
        printJson(made)
        return
      }
      print(
        made.fresh
          ? `The cluster's authority is in ${made.master}: keep a copy where nobody else reads it`
          : `The authority in ${made.master} made a new identity of an admin`,
      )
      print(`The identity of an admin is in ${made.admin}`)
      print('Next: start the master, then cairn cluster token create --role chunkserver')
    })

  withCluster(cluster.command('token').description('tokens to join with').command('create'))
    .description('make a token, with which other machines get an identity')
    .addOption(new Option('--role <role>', 'what it is for').choices(joinableRoles).makeOptionMandatory())
    .option('--expires <time>', 'how long it is good for: 30m, 1h, 7d', '1h')
    .option('--uses <n>', 'how often it is good', wholeNumber('--uses', 1, 10_000), 1)
    .option('--export <name>', 'of the role mount: what whoever joins with it may mount, and nothing else')
    .option('--json', 'print the result as JSON')
    .action(async (options: TokenOptions) => {
      const { role, uses, export: exported = '' } = options
      const lasts = kind.duration.schema.safeParse(options.expires)
      if (!lasts.success) throw new UsageError(`--expires must be ${kind.duration.allowed}`)
      const address = masterAddress(options)
      const request = { role, uses, lastsMs: BigInt(lasts.data), export: exported }
      const { token, expires } = await ask(await network(), address, identityCreateToken, request)
      const until = new Date(Number(expires)).toISOString()
      if (options.json === true) printJson({ token, role, uses, expires: until, export: exported })
      // Alone on standard output, to be put in a variable.
      else {
        print(token)
        process.stderr.write(
          `For ${String(uses)} of the role ${role}, until ${until}. Whoever has it can join: keep it secret.\n`,
        )
      }
    })
}
