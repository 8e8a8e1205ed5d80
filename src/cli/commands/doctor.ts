import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import type { Command } from 'commander'
import { messageOf, UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import { chosenIdentity, type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { type Cause, causesOf } from '../doctor/causes.ts'
import { collect } from '../doctor/collect.ts'
import { type TarEntry, tarOf } from '../doctor/tar.ts'
import { bytes, counted, jsonText, print, printJson, say } from '../output.ts'
import { ownIdentity } from '../own-identity.ts'
import { visible } from '../terminal.ts'

interface Options extends ClusterOptions {
  readonly out?: string
  readonly json?: boolean
}

export function registerDoctor(program: Command, network: () => Promise<Network>): void {
  withCluster(program.command('doctor'))
    .description('collect what helps to find out what is wrong into one file, and name likely causes')
    .option('--out <file>', 'where to (default: cairn-doctor-HOST-TIME.tar.gz here)')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nWorks also when the master does not answer, and without a cluster, of this machine alone. The file has' +
        '\nversions, the state of the cluster, the configuration without secrets, the ends of the logs, and' +
        '\nmetrics of the daemons that /etc/cairn names. Paths of files that are locked or waited for are in it.' +
        '\nExit code 0 if nothing is suspicious, 1 if likely causes are named, 2 if it could not be written.',
    )
    .action(async (options: Options) => {
      const target = path.resolve(options.out ?? defaultName())
      const address = addressOrNone(options)
      const fd = create(target)
      let entries: readonly TarEntry[]
      let causes: readonly Cause[]
      let data: Uint8Array
      try {
        const tls = ownIdentity(chosenIdentity(options), 'admin')?.tls
        const collected = await collect({ network: await network(), address, dir: options.dir, tls })
        causes = causesOf(collected.facts)
        const report = { name: 'cairn-doctor/causes.json', data: Buffer.from(jsonText(causes)) }
        entries = [report, ...collected.entries]
        data = gzipSync(tarOf(entries, Date.now()))
        write(fd, target, data)
      } catch (error) {
        rmSync(target, { force: true })
        throw error
      } finally {
        closeSync(fd)
      }
      if (options.json === true)
        printJson({ file: target, bytes: data.length, contents: entries.map(({ name }) => name), causes })
      else {
        for (const { what, next } of causes) {
          say(`! ${visible(what)}`, '  ')
          for (const step of next) say(`  → ${visible(step)}`, '    ')
        }
        if (causes.length === 0) print('Nothing is suspicious.')
        print('')
        print(`${target}: ${bytes(data.length)}, ${counted(entries.length, 'file')}`)
      }
      if (causes.length > 0) process.exitCode = 1
    })
}

function defaultName(): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(/[:-]/g, '')
  return `cairn-doctor-${os.hostname()}-${time}.tar.gz`
}

/** A machine can be looked at without a cluster; but what was asked for must be there. */
function addressOrNone(options: ClusterOptions): string | undefined {
  try {
    return masterAddress(options)
  } catch (error) {
    if (error instanceof UsageError && options.dir === undefined && !process.env['CAIRN_MASTER'])
      return undefined
    // A cluster here that does not run is what a doctor is called for.
    if (error instanceof UsageError && options.dir !== undefined && /is not running/.test(error.message))
      return undefined
    throw error
  }
}

function create(file: string): number {
  try {
    return openSync(file, 'wx', 0o600)
  } catch (error) {
    throw new UsageError(`cannot write ${file}: ${messageOf(error)}`, { cause: error })
  }
}

function write(fd: number, file: string, data: Uint8Array): void {
  try {
    for (let at = 0; at < data.length; ) at += writeSync(fd, data, at)
  } catch (error) {
    throw new UsageError(`cannot write ${file}: ${messageOf(error)}`, { cause: error })
  }
}
