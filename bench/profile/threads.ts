import { readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'

export interface Thread {
  readonly pid: number
  /** `main`, or the module that the thread runs. */
  readonly thread: string
  readonly socket: string
}

/** Threads that can be profiled; sockets of those that have ended are removed. */
export function threadsIn(folder: string, isAlive: (pid: number) => boolean): Thread[] {
  const found: Thread[] = []
  for (const file of readdirSync(folder)) {
    const [pid = '', thread = '', , end] = file.split('.')
    if (end !== 'sock') continue
    const socket = path.join(folder, file)
    if (isAlive(Number(pid))) found.push({ pid: Number(pid), thread, socket })
    else rmSync(socket, { force: true })
  }
  return found
}

/** Resolves with what the thread answered. */
export function order({ socket }: Thread, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const stream = connect(socket, () => stream.write(`${line}\n`))
    stream.setEncoding('utf8')
    stream.on('data', chunk => (answer += String(chunk)))
    stream.on('error', reject)
    stream.on('end', () => resolve(answer.trim()))
  })
}
