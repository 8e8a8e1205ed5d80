import { MiB } from '../../core/units.ts'

/** Never written to: what holes read as. */
const page = new Uint8Array(1 * MiB)

/** So many zero bytes, in views of one buffer. */
export function zeros(count: number): Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let left = count; left > 0; left -= page.length)
    pieces.push(page.subarray(0, Math.min(left, page.length)))
  return pieces
}
