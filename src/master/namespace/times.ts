/**
 * Times of an inode. ctime never goes back, so that `make` over two mounts is not confused by the
 * little that their clocks differ; mtime and atime are whatever utimensat(2) said last.
 */
import { FsError } from '../../core/errors.ts'
import type { SetTime } from '../../wire/gen/cairn/v1/session.ts'
import type { Inode } from '../store/inodes.ts'

/** Nanoseconds that fit a row; far beyond any time that a program can mean. */
const timeMax = 2n ** 63n - 1n

/** The time of a change to this inode, made by a command of `time`. */
export function changeTime(inode: Inode, time: bigint): bigint {
  if (time >= inode.ctime) return time
  return inode.ctime < timeMax ? inode.ctime + 1n : timeMax
}

/** The inode itself changed (its links, mode, owner, attributes). */
export function touch(inode: Inode, time: bigint): void {
  inode.ctime = changeTime(inode, time)
}

/** Its content changed: bytes of a file, entries of a directory. */
export function touchContent(inode: Inode, time: bigint): void {
  touch(inode, time)
  inode.mtime = inode.ctime
}

/** The value of a time to set; `now` is the time that `touch` just gave. */
export function settledTime(set: SetTime, now: bigint): bigint {
  if (set.now) return now
  if (set.value > timeMax || set.value < -timeMax) throw new FsError('EINVAL', 'The time is out of range')
  return set.value
}
