import type { Store } from './store.ts'

/** The latest cluster time that the tables are known to hold, within what a node's heartbeat is apart. */
export function newestTime(store: Store): bigint {
  let newest = maximum(store.format.facts.created, store.restores.last?.restored ?? 0n)
  for (const { seen } of store.nodes.all()) newest = maximum(newest, seen)
  for (const { started } of store.sessions.all()) newest = maximum(newest, started)
  return newest
}

const maximum = (a: bigint, b: bigint): bigint => (a > b ? a : b)
