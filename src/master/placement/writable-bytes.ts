/**
 * How many bytes can be written with `copies` copies each, on as many different nodes, into the given
 * free spaces: the largest T with sum(min(free, T)) >= copies * T. A node larger than the share of a
 * copy can only take one whole copy of everything.
 */
export function writableBytes(freeBytes: readonly number[], copies: number): number {
  const sorted = freeBytes.filter(free => free > 0).sort((a, b) => b - a)
  if (copies < 1 || sorted.length < copies) return 0
  let sum = sorted.reduce((total, free) => total + free, 0)
  let left = copies
  for (const largest of sorted) {
    if (left === 1 || largest * left <= sum) break
    sum -= largest
    left--
  }
  return Math.floor(sum / left)
}
