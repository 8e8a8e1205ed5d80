import { closeSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

/**
 * How a daemon tells the process that started it that it is usable, or why it is not: one line of
 * JSON on a descriptor that it inherited, which it then closes. An end without a line means that it
 * died first.
 */
export type Readiness =
  | { readonly ready: true; readonly address?: string; readonly pid: number }
  | { readonly ready: false; readonly error: string }

const variable = 'CAIRN_READY_FD'

/** The descriptor on which the child is to report, as the child finds it in its environment. */
export const readyFd = 3
export const readyEnvironment = { [variable]: String(readyFd) }

/** Reports to the parent, if there is one that listens. Only the first call counts. */
export function reportReadiness(readiness: Readiness): void {
  const fd = Number(process.env[variable] ?? Number.NaN)
  if (!Number.isInteger(fd)) return
  Reflect.deleteProperty(process.env, variable)
  try {
    writeSync(fd, `${JSON.stringify(readiness)}\n`)
    closeSync(fd)
  } catch {
    // The parent has gone: there is nobody left to tell, and the daemon itself is well.
  }
}

/** Waits for the child's line on the parent's end of that descriptor. */
export async function awaitReadiness(pipe: Readable, what: string): Promise<Readiness> {
  for await (const line of createInterface({ input: pipe })) {
    const parsed = JSON.parse(line) as Readiness
    return parsed
  }
  return { ready: false, error: `${what} ended before it was ready` }
}

/**
 * Resolves when the other end of standard input is closed: the process that holds it has gone. Standard
 * input is a pipe then, which Node waits for by readiness; a blocking read would hold up the exit.
 */
export function lifelineCut(): Promise<void> {
  return new Promise(resolve => {
    process.stdin.on('end', resolve)
    process.stdin.on('error', () => resolve())
    process.stdin.resume()
  })
}
