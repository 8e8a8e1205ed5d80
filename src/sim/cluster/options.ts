import { KiB, MiB, second } from '../../core/units.ts'
import type { EngineSettings } from '../../master/engine/settings.ts'

/** Small blocks, so that a few hundred KiB are several of them; full ones are files, short ones rows. */
export const simBlockBytes = 128 * KiB

/** The master's times, shortened so that everything that takes hours happens in minutes. */
export const simSettings: Partial<EngineSettings> = {
  leaseMs: 10 * second,
  leaseMarginMs: 1 * second,
  heartbeatMs: 2 * second,
  nodeSilentMs: 6 * second,
  repairDelayMs: 8 * second,
  condemnedMs: 15 * second,
  grantMs: 40 * second,
  readTokenMs: 8 * second,
  readKeyMs: 15 * second,
  pinMs: 20 * second,
  inventoryMs: 60 * second,
  copyMs: 20 * second,
  rowsPerTick: 50,
}

/** Where the death of sessions is the matter: it comes soon. */
export const sharedSettings: Partial<EngineSettings> = {
  ...simSettings,
  leaseMs: 4 * second,
  heartbeatMs: 0.8 * second,
  readTokenMs: 600 * second,
  readKeyMs: 3600 * second,
}

/** Rows that one command may touch: so few that large ones are done in steps. */
export const simRowsPerCommand = 16

export const simDataPath = {
  writeBytes: 1 * MiB,
  cacheBytes: 512 * KiB,
  // Little, so that most of what is read comes from nodes.
  writtenBytes: 8 * KiB,
  readAheadBytes: 256 * KiB,
  writeBackAgeMs: 5 * second,
  putStallMs: 5 * second,
  getStallMs: 2 * second,
  giveUpMs: 20 * second,
}

/** What can be broken on purpose, to see that the invariants notice. */
export const plantedBugs = [
  /** Chunkservers' disks answer syncs at once and sync nothing. */
  'lyingDisks',
  /** And so they do for folders: names are not on stable storage. */
  'lyingFolders',
  /** Commits of chunkservers' indexes are not synced. */
  'lyingIndex',
  /** Commits of the master are not synced. */
  'lyingMaster',
  /** The master forgets stored replies: a retry is applied twice. */
  'forgetfulMaster',
  /** Chunkservers give receipts before the block is stored. */
  'hastyReceipts',
  /** The master takes receipts that are none. */
  'uncheckedReceipts',
  /** Blocks are deleted before their commit, which may be on its way, comes. */
  'hastyStrays',
  /** Of several references that one command makes, one is counted. */
  'lostReferences',
  /** Inventories are not compared. */
  'skippedDigests',
  /** Chunkservers do not look for rot. */
  'idleScrubber',
  /** Readers do not verify. */
  'trustingReaders',
  /** What a session acknowledged is kept. */
  'keptReplies',
  /** Where its disk is full, the master keeps nothing in reserve for what was promised to programs. */
  'stingyMaster',
  /** Rows of nodes that are to be emptied are not looked at. */
  'idleDrains',
  /** One copy of what is stored is enough. */
  'singleCopies',
  /** Files of blocks are not removed. */
  'keptFiles',
  /** Of the pages that commits change, the master's log now and then leaves one out. */
  'lostPages',
  /** The client answers fsync at once. */
  'hastyFsync',
  /** The kernel does not forget what it is told to forget. */
  'deafKernel',
  /** What was promised is sent late, after what rests on it. */
  'latePromises',
  /** A mount takes every file for one that no other mount has. */
  'lonelyMounts',
  /** A recall is answered before what is dirty is stored and the kernel has forgotten. */
  'hastyRecall',
  /** On a recall the kernel keeps its names. */
  'keptNames',
  /** On a recall the kernel forgets names, but not that there are none. */
  'keptAbsences',
  /** On a recall the kernel keeps its pages. */
  'keptPages',
  /** What is cached is believed without any word from the master. */
  'endlessLease',
  /** What was written under a session that died is stored under the next. */
  'lateWrites',
  /** Appends go where the kernel thinks that the file ends. */
  'cachedAppend',
  /** Locks are granted without the master. */
  'localLocks',
] as const

export type PlantedBugs = { readonly [Name in (typeof plantedBugs)[number]]?: boolean }
