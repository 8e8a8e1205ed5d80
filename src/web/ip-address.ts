import { isIPv4, isIPv6 } from 'node:net'

/** Of an IPv4 or IPv6 address; undefined for a name. */
export function ipAddressBytes(host: string): Uint8Array | undefined {
  if (isIPv4(host)) return Uint8Array.from(host.split('.'), Number)
  if (!isIPv6(host)) return undefined
  // The URL parser knows all ways to write one; a zone is of this machine only.
  const plain = new URL(`http://[${host.replace(/%.*$/, '')}]/`).hostname.slice(1, -1)
  const [head = '', tail] = plain.split('::')
  const words = (part: string): number[] =>
    part.split(':').flatMap(word => (word === '' ? [] : [parseInt(word, 16)]))
  const [left, right] = [words(head), words(tail ?? '')]
  const all =
    tail === undefined
      ? left
      : [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right]
  return Uint8Array.from(all.flatMap(word => [word >> 8, word & 0xff]))
}
