/**
 * A frame of a mount in parts of few items, so that a step of the engine may end between them. Only cut, not decoded: what cannot
 * be cut stays whole, and the engine will say what is wrong with it.
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'

/** SessionUp.items (proto/cairn/v1/session.proto). */
const itemsField = 1
export const itemsPerPart = 32

export function partsOf(frame: Uint8Array): readonly Uint8Array[] {
  const items: Uint8Array[] = []
  const others: Uint8Array[] = []
  try {
    const reader = new BinaryReader(frame)
    while (reader.pos < reader.len) {
      const start = reader.pos
      const [field, type] = reader.tag()
      reader.skip(type, field)
      const isItem = field === itemsField && type === WireType.LengthDelimited
      ;(isItem ? items : others).push(frame.subarray(start, reader.pos))
    }
  } catch (thrown) {
    // What the wire library throws at malformed bytes.
    if (!(thrown instanceof Error)) throw thrown
    return [frame]
  }
  if (items.length <= itemsPerPart) return [frame]
  const parts: Uint8Array[] = []
  for (let at = 0; at < items.length; at += itemsPerPart) {
    const some = items.slice(at, at + itemsPerPart)
    parts.push(Buffer.concat(at === 0 ? [...others, ...some] : some))
  }
  return parts
}
