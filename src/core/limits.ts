import { assert } from './assert.ts'
import { KiB, MiB, second } from './units.ts'

/** Longest name in a directory, bytes (NAME_MAX). */
export const nameBytesMax = 255
/** Longest symlink target, bytes (PATH_MAX less the NUL). */
export const symlinkBytesMax = 4095
/** Longest xattr value (XATTR_SIZE_MAX) and list of names (XATTR_LIST_MAX), bytes. */
export const xattrBytesMax = 64 * KiB
export const xattrListBytesMax = 64 * KiB
export const xattrNameBytesMax = 255
/** Most hard links to one file: ext4's number, so that programs meet the limit they know. */
export const linksMax = 65000

/**
 * Earliest and latest time that a program can set, seconds since 1970: ext4's bound in 1901, and the one in
 * 2262 where nanoseconds fill 63 bits. What is beyond becomes the bound, as on ext4.
 */
export const fileTimeMinSeconds = -(2n ** 31n)
export const fileTimeMaxSeconds = 9_223_372_036n

/**
 * Largest file, bytes: 4 PiB. Offsets and sizes are plain numbers, checked at the boundary; up to
 * here the sum of two of them is still an exact integer.
 */
export const fileBytesMax = 2 ** 52
assert(fileBytesMax * 2 <= 2 ** 53, 'sums of offsets are exact')

/** Default and bounds of the block size that a cluster is formatted with; a power of two. */
export const blockBytesDefault = 4 * MiB
export const blockBytesMin = 64 * KiB
export const blockBytesMax = 16 * MiB

/** One checksum per piece: cheap to read again on a mismatch, large enough to amortise a seek. */
export const pieceBytes = 64 * KiB
assert(blockBytesMin % pieceBytes === 0, 'pieces tile a block exactly')

export const copiesDefault = 3
export const copiesMax = 9

/** Data travels in messages of at most this much; measured best for grpc-js. */
export const dataMessageBytes = 1 * MiB
/** Upper bound of any message on any socket. */
export const messageBytesMax = 20 * MiB

/**
 * A session silent for this long has lost its leases and locks. A setting of the master. The shorter it is, the
 * sooner others go on without a mount that is cut off, and the shorter the pause of a network or a machine that
 * costs a mount what it had not stored; less than five seconds would be too near to the pauses of busy machines.
 */
export const leaseMs = 30 * second
export const leaseMsMin = 5 * second
export const leaseMsMax = 600 * second
export const heartbeatMs = 5 * second
/** Heartbeats of which one must come through in a lease time. */
export const heartbeatsPerLease = 5
/** Data is written back at this age, as the durability promise says. */
export const writeBackAgeMs = 5 * second

/** Directories that one ReadTree asks for, or is answered with. */
export const directoriesAtOnce = 256

/** Blocks of one piece that are asked for at once, and small files whose extents are. */
export const smallAtOnce = 64

/** Files without a row that a node asks its master about with one heartbeat. */
export const unprovenAtOnce = 256

/**
 * Version of the wire protocol, and the oldest one still spoken. 2: many small files are read with one question
 * (GetExtentsOf, GetSmall). 3: and many directories (ReadTree). 4: ids of blocks may be of a dedup domain.
 */
export const wireVersion = 4
export const wireVersionSmall = 2
export const wireVersionTree = 3
export const wireVersionDomains = 4
export const wireVersionMin = 1
