import type { Command } from 'commander'
import { formatAddress, parseAddress } from '../../core/address.ts'
import type { Network } from '../../core/network.ts'
import { identityLogin } from '../../wire/services.ts'
import { ask } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { print, printJson } from '../output.ts'

interface Options extends ClusterOptions {
  readonly json?: boolean
}

export function registerConsole(program: Command, network: () => Promise<Network>): void {
  const console = program.command('console').description('the page for browsers: log in')

  withCluster(console.command('login'))
    .description('print a link that lets a browser into the console, once and within two minutes')
    .option('--json', 'print it as JSON')
    .action(async (options: Options) => {
      const master = masterAddress(options)
      const reply = await ask(await network(), master, identityLogin, {})
      const { code } = reply
      const site = `${code === '' ? 'http' : 'https'}://${reachable(reply.address, master)}/`
      if (code === '') {
        if (options.json === true) printJson({ url: site })
        else print(`${site} asks for no login: only the machine of the master reaches it`)
        return
      }
      const url = `${site}login.html#${code}`
      const until = new Date(Number(reply.expires)).toISOString()
      const fingerprint = Buffer.from(reply.fingerprint)
        .toString('hex')
        .toUpperCase()
        .replaceAll(/..(?=.)/g, '$&:')
      if (options.json === true) printJson({ url, code, expires: until, certificate: fingerprint })
      // Alone on standard output, for whoever gives it to a browser.
      else {
        print(url)
        process.stderr.write(
          `Good once, until ${until}. Whoever has it gets in as you: keep it secret.\n` +
            `A browser that does not know the authority of the cluster (ca.pem) warns: go on only if the SHA-256 fingerprint\n` +
            `of the certificate that it shows is ${fingerprint}\n`,
        )
      }
    })
}

/** Where it listens; of all addresses, the one at which the master is. */
function reachable(address: string, master: string): string {
  const at = parseAddress(address)
  const host = parseAddress(master)?.host
  if (at === undefined || host === undefined || (at.host !== '0.0.0.0' && at.host !== '::')) return address
  return formatAddress({ host, port: at.port })
}
