import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'
import type { Command } from 'commander'
import { FsError, messageOf, UsageError } from '../../core/errors.ts'
import type { Network } from '../../core/network.ts'
import { MiB } from '../../core/units.ts'
import type { BackupReply } from '../../wire/gen/cairn/v1/admin.ts'
import { adminBackup, adminReadBackup } from '../../wire/services.ts'
import { ask, askLong } from '../admin-client.ts'
import { type ClusterOptions, masterAddress, withCluster } from '../cluster-address.ts'
import { bytes, print, printJson, timeOf } from '../output.ts'
import { syncFolder } from '../sync-folder.ts'

const pieceBytes = 1 * MiB

export function registerBackup(program: Command, network: () => Promise<Network>): void {
  withCluster(program.command('backup'))
    .description("copy the master's database, as of one moment, into a file here")
    .argument('<file>', 'replaced, when the copy is whole')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nThe master goes on meanwhile, and checks the copy. The data itself stays on the chunkservers.' +
        '\nExit code 0 if all is well, 1 if the copy was made but has problems, 2 if it could not be made.',
    )
    .action(async (target: string, options: ClusterOptions & { json?: boolean }) => {
      const address = masterAddress(options)
      const file = path.resolve(target)
      const partial = `${file}.new`
      const fd = create(partial)
      let backup: BackupReply
      try {
        const net = await network()
        backup = await askLong(net, address, adminBackup, {})
        await fetchInto(fd, backup, (offset, length) =>
          ask(net, address, adminReadBackup, { name: backup.name, offset: BigInt(offset), length }),
        )
        fsyncSync(fd)
        renameSync(partial, file)
        syncFolder(path.dirname(file))
      } catch (error) {
        rmSync(partial, { force: true })
        throw error instanceof Error && 'syscall' in error
          ? new UsageError(`cannot write ${file}: ${messageOf(error)}`, { cause: error })
          : error
      } finally {
        closeSync(fd)
      }
      report(file, backup, options.json === true)
      if (backup.problems.length > 0) process.exitCode = 1
    })
}

function create(file: string): number {
  try {
    return openSync(file, 'w', 0o600)
  } catch (error) {
    throw new UsageError(`cannot write ${file}: ${messageOf(error)}`, { cause: error })
  }
}

/** All bytes of the copy; that they are those which the master checked is verified. */
async function fetchInto(
  fd: number,
  backup: BackupReply,
  read: (offset: number, length: number) => Promise<{ readonly data: Uint8Array }>,
): Promise<void> {
  const hash = createHash('sha256')
  const total = Number(backup.bytes)
  for (let at = 0; at < total; ) {
    const { data } = await read(at, pieceBytes)
    if (data.length === 0) throw new FsError('EIO', `the copy ends at byte ${String(at)} of ${String(total)}`)
    hash.update(data)
    writeSync(fd, data)
    at += data.length
  }
  if (!hash.digest().equals(backup.sha256))
    throw new FsError('EIO', 'what arrived is not what the master checked')
}

function report(file: string, backup: BackupReply, json: boolean): void {
  if (json) {
    printJson({
      file,
      bytes: backup.bytes,
      sha256: Buffer.from(backup.sha256).toString('hex'),
      taken: timeOf(backup.taken),
      formatVersion: backup.version,
      cluster: Buffer.from(backup.cluster).toString('hex'),
      incarnation: backup.incarnation,
      inodes: backup.inodes,
      problems: backup.problems,
    })
    return
  }
  for (const problem of backup.problems) print(problem)
  print(
    `${file}: ${bytes(backup.bytes)}, ${backup.inodes.toString()} inodes, as of ${timeOf(backup.taken)}, checked` +
      (backup.problems.length > 0 ? `: ${String(backup.problems.length)} problems` : ''),
  )
}
