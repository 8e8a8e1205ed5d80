import { existsSync, readFileSync } from 'node:fs'

/** Metrics of a daemon by series: `name{labels}`. */
export type Metrics = ReadonlyMap<string, number>

/** Where a daemon that logs JSON to this file serves its metrics now. */
export function metricsAddress(logFile: string): string | undefined {
  if (!existsSync(logFile)) return undefined
  const served = readFileSync(logFile, 'utf8')
    .split('\n')
    .filter(line => line.includes('"Serving metrics"'))
    .at(-1)
  return served === undefined ? undefined : (JSON.parse(served) as { address: string }).address
}

/** What makes all daemons of a cluster count and tell where. */
export function countingEnvironment(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {}
  for (const daemon of ['MASTER', 'CHUNKSERVER', 'MOUNT']) {
    env[`CAIRN_${daemon}_METRICS`] = '127.0.0.1:0'
    env[`CAIRN_${daemon}_LOG_FORMAT`] = 'json'
  }
  return env
}

/** What makes every thread of every daemon listen for orders (preload.ts) on a socket in `folder`. */
export function listeningEnvironment(folder: string): NodeJS.ProcessEnv {
  const preload = new URL('./preload.js', import.meta.url).href
  return { CAIRN_BENCH_PROFILES: folder, NODE_OPTIONS: `--import ${preload}` }
}

export async function scrape(address: string): Promise<Metrics> {
  const response = await fetch(`http://${address}/metrics`)
  const body = await response.text()
  if (!response.ok) throw new Error(`${address}: ${body}`)
  const samples = body
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
    .map(line => {
      const end = line.lastIndexOf(' ')
      return [line.slice(0, end), Number(line.slice(end + 1))] as const
    })
  return new Map(samples)
}

/** What grew, and by how much. */
export function growth(before: Metrics, after: Metrics): Map<string, number> {
  const grown = new Map<string, number>()
  for (const [series, value] of after) {
    const by = value - (before.get(series) ?? 0)
    if (by !== 0) grown.set(series, by)
  }
  return grown
}
