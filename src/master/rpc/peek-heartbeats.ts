/**
 * Finds heartbeats in encoded frames without decoding the rest: they are answered by the front at
 * once, while the frame waits for the engine. A frame that cannot be read has none; the engine will
 * say what is wrong with it.
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import { NodeHeartbeat } from '../../wire/gen/cairn/v1/nodes.ts'
import { Heartbeat } from '../../wire/gen/cairn/v1/session.ts'

/** SessionUp.items, SessionUpItem.heartbeat and NodeUp.heartbeat (proto/cairn/v1). */
const itemsField = 1
const sessionHeartbeatField = 5
const nodeHeartbeatField = 2

/** Each heartbeat's sent_ms, in order. */
export function peekSessionHeartbeats(frame: Uint8Array): bigint[] {
  const found: bigint[] = []
  attempt(() => {
    for (const item of fields(frame, itemsField))
      for (const bytes of fields(item, sessionHeartbeatField)) found.push(Heartbeat.decode(bytes).sentMs)
  })
  return found
}

/** The heartbeat's sent_ms, if the frame is one. */
export function peekNodeHeartbeat(frame: Uint8Array): bigint | undefined {
  let found: bigint | undefined
  attempt(() => {
    for (const bytes of fields(frame, nodeHeartbeatField)) found = NodeHeartbeat.decode(bytes).sentMs
  })
  return found
}

/** The length-delimited fields of a number, without copying. */
function* fields(message: Uint8Array, wanted: number): Generator<Uint8Array> {
  const reader = new BinaryReader(message)
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (field === wanted && type === WireType.LengthDelimited) yield reader.bytes()
    else reader.skip(type)
  }
}

function attempt(work: () => void): void {
  try {
    work()
  } catch (thrown) {
    // What the wire library throws at malformed bytes; the engine meets the same bytes and closes.
    if (!(thrown instanceof Error)) throw thrown
  }
}
