import { closeSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs'
import { createChecksums } from '../core/checksum.ts'
import type { Network } from '../core/network.ts'
import { rebuild, type Rebuilt } from '../master/log/rebuild.ts'
import { stampDatabase } from '../master/backup/take-backup.ts'
import { version } from '../service/version.ts'
import { MasterFolder } from './master-folder.ts'
import { restoreFolder, type Restored } from './restore-folder.ts'

export interface FromNodesOptions {
  readonly addresses: readonly string[]
  readonly folder: string
  /** Wall clock, ns. */
  readonly now: bigint
  /** Also with problems that fsck finds. */
  readonly force: boolean
}

/** Puts a database together from what chunkservers have, and restores it as any backup. The folder is locked by the caller. */
export async function restoreFromNodes(
  network: Network,
  { addresses, folder, now, force }: FromNodesOptions,
): Promise<{ readonly rebuilt: Rebuilt; readonly restored: Restored }> {
  const file = `${new MasterFolder(folder).database}.from-nodes`
  removeAll(file)
  try {
    const rebuilt = await rebuildInto(file, network, addresses)
    stampDatabase(file, { taken: rebuilt.time, program: version })
    return { rebuilt, restored: restoreFolder({ file, folder, now, force }) }
  } finally {
    removeAll(file)
  }
}

async function rebuildInto(file: string, network: Network, addresses: readonly string[]): Promise<Rebuilt> {
  const fd = openSync(file, 'w', 0o600)
  try {
    return await rebuild(network, await createChecksums(), addresses, {
      begin: () => ftruncateSync(fd),
      write: (offset, data) => {
        for (let at = 0; at < data.length; ) at += writeSync(fd, data, at, data.length - at, offset + at)
      },
      end: bytes => ftruncateSync(fd, bytes),
    })
  } finally {
    closeSync(fd)
  }
}

function removeAll(file: string): void {
  for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${file}${end}`, { force: true })
}
