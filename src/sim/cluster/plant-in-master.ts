import type { Session } from '../../client/session/session.ts'
import type { Op } from '../../wire/commands.ts'
import type { PageSource } from '../../master/log/changed-pages.ts'
import type { Store } from '../../master/store/store.ts'
import type { Receipt } from '../../wire/gen/cairn/v1/common.ts'
import type { StoredBlock } from '../../wire/gen/cairn/v1/session.ts'
import { receiptMac } from '../../wire/mac.ts'
import type { Prng } from '../world/prng.ts'
import type { PlantedBugs } from './options.ts'

/** Later than any time. */
const endOfTime = 2n ** 62n

/** Breaks what the master does with its tables. */
export function plantInMasterStore(bugs: PlantedBugs, store: Store): Store {
  const { blocks, counters, nodes, replicas, strays, replies } = store
  if (bugs.hastyStrays === true) {
    const olderThan = strays.olderThan.bind(strays)
    strays.olderThan = (node, _until, limit) => olderThan(node, endOfTime, limit)
    // Receipts for what went are refused, else: to the master all are from before its start, and known.
    const peek = counters.peek.bind(counters)
    counters.peek = name => (name === 'generation' ? peek(name) + 2n ** 40n : peek(name))
    strays.has = () => true
  }
  if (bugs.lostReferences === true) {
    const refer = blocks.refer.bind(blocks)
    blocks.refer = (key, delta, wanted, time) => refer(key, Math.min(delta, 1), wanted, time)
  }
  if (bugs.idleDrains === true) {
    const ofNode = replicas.ofNode.bind(replicas)
    replicas.ofNode = (node, after, limit) =>
      nodes.all().some(({ id, draining }) => draining && id === node) ? [] : ofNode(node, after, limit)
  }
  if (bugs.keptReplies === true) replies.acknowledged = () => undefined
  return store
}

/**
 * Receipts are not checked: a mount that claims a copy that no node has is believed. It is given what proves it,
 * since the master's own check cannot be left out from here.
 */
export function plantFalseReceipts(
  session: Session,
  look: <T>(at: (store: Store) => T) => T | undefined,
): void {
  const [call, post] = [session.call.bind(session), session.post.bind(session)]
  const forged = (op: Op): Op => {
    if (op.$case !== 'commit') return op
    const value = {
      ...op.value,
      blocks: op.value.blocks.map(block => look(store => withOneMore(store, block)) ?? block),
    }
    return { ...op, value }
  }
  session.call = (op, expect, signal) => call(forged(op), expect, signal)
  session.post = (op, expect) => post(forged(op), expect)
}

function withOneMore(store: Store, block: StoredBlock): StoredBlock {
  const [first] = block.receipts
  const other = store.nodes.all().find(({ id }) => block.receipts.every(({ node }) => node !== id))
  if (first === undefined || other === undefined) return block
  const claim = { ...first, node: other.id, incarnation: other.incarnation }
  const mac = receiptMac(other.key, { ...claim, block: block.id, length: block.length })
  const receipt: Receipt = { ...claim, mac }
  return { ...block, receipts: [...block.receipts, receipt] }
}

/** Leaves a page out, most times. */
export function plantInPages(bugs: PlantedBugs, pages: PageSource, prng: Prng): PageSource {
  if (bugs.lostPages !== true) return pages
  return {
    take() {
      const changed = pages.take()
      if (changed === undefined || prng.chance(0.1)) return changed
      const lost = prng.below(changed.pages.length + 1)
      return { ...changed, pages: changed.pages.filter((_, at) => at !== lost) }
    },
  }
}
