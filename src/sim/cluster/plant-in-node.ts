import type { BlockStore } from '../../chunkserver/blocks/block-store.ts'
import type { BlockClaim } from '../../chunkserver/blocks/block-verifier.ts'
import type { Checksums } from '../../core/checksum.ts'
import type { Prng } from '../world/prng.ts'
import type { SimDatabase } from '../world/sim-database.ts'
import type { DiskPlatter } from '../world/sim-disk.ts'
import type { PlantedBugs } from './options.ts'

/** A receipt is so much earlier than what it says. */
const hastyMs = 300

/** Breaks the disk of a chunkserver on purpose. */
export function plantInDisk(bugs: PlantedBugs, disk: DiskPlatter, database: SimDatabase, prng: Prng): void {
  disk.lying = bugs.lyingDisks === true
  disk.lyingFolders = bugs.lyingFolders === true
  disk.hoarding = bugs.keptFiles === true
  if (bugs.lyingIndex === true) database.lying = prng
}

/** Breaks what a chunkserver does with its blocks. */
export function plantInStore(
  bugs: PlantedBugs,
  store: BlockStore,
  delay: (ms: number) => Promise<void>,
): BlockStore {
  if (bugs.hastyReceipts === true) {
    const answered = async (generation: bigint, work: () => Promise<bigint>): Promise<bigint> => {
      delay(hastyMs)
        .then(work)
        .catch(() => undefined)
      return generation
    }
    const [putRow, putFile] = [store.putRow.bind(store), store.putFile.bind(store)]
    store.putRow = (claim: BlockClaim, generation, data) => {
      const own = Uint8Array.from(data)
      return answered(generation, () => putRow(claim, generation, own))
    }
    store.putFile = (claim: BlockClaim, generation, file) =>
      answered(generation, () => putFile(claim, generation, file))
  }
  return store
}

/** Digests of inventories that are always alike. */
export const plantedDigests = (bugs: PlantedBugs, checksums: Checksums): Checksums =>
  bugs.skippedDigests === true ? { ...bound(checksums), xxh64: () => 0n } : checksums

/** A reader that believes whatever it is sent. */
export const plantedReader = (bugs: PlantedBugs, checksums: Checksums): Checksums =>
  bugs.trustingReaders === true ? { ...bound(checksums), mismatch: () => -1 } : checksums

const bound = (checksums: Checksums): Checksums => ({
  xxh64: (data, seed) => checksums.xxh64(data, seed),
  make: (id, data, firstPiece) => checksums.make(id, data, firstPiece),
  mismatch: (id, data, sums, firstPiece) => checksums.mismatch(id, data, sums, firstPiece),
  hasher: id => checksums.hasher(id),
})
