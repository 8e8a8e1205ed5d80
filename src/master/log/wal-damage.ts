/**
 * A damaged frame ends SQLite's log for SQLite: what was committed after it is gone without a word. After a power cut
 * that is as it should be, since the frames of the last transaction may not all have reached the disk. But each
 * transaction begins only when the one before is on the disk. So where frames behind the damage follow each other, and two
 * transactions end among them, the first of these was committed, and with it all before.
 */
import { frameFollows, frameHeadBytes, headerBytes, parseHeader, type ReadWal } from './wal-reader.ts'

const framesAtOnce = 256

/** How many transactions that were committed SQLite will not find; 0 where none can be proven. The file changes nowhere meanwhile. */
export function lostCommits(read: ReadWal): number {
  const header = parseHeader(read(0, headerBytes))
  if (header === undefined) return 0
  const frameBytes = frameHeadBytes + header.pageBytes
  let sums = { ...header.sums }
  let broken = false
  let [ends, most] = [0, 0]
  for (let frame = 0; ; frame += framesAtOnce) {
    const bytes = read(headerBytes + frame * frameBytes, framesAtOnce * frameBytes)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    for (let at = 0; at + frameBytes <= bytes.length; at += frameBytes) {
      if (frameFollows(view, at, header, sums)) {
        if (broken && view.getUint32(at + 4) !== 0) ends += 1
        most = Math.max(most, ends)
        continue
      }
      // Perhaps the next one follows this one, as it was.
      broken = true
      ends = 0
      sums = { a: view.getUint32(at + 16), b: view.getUint32(at + 20) }
    }
    if (bytes.length < framesAtOnce * frameBytes) break
  }
  return Math.max(0, most - 1)
}
