import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Answer, Order } from './work.ts'

const module = fileURLToPath(new URL('./work.js', import.meta.url))
let current: ChildProcess | undefined

/** Has a row's work done by a process of its own. */
export function work(order: Order): Promise<{ units: number; ms: number }> {
  return new Promise((resolve, reject) => {
    const child = (current = fork(module, { env: { ...process.env, NODE_OPTIONS: '' } }))
    let answer: Answer | undefined
    child.once('message', (message: Answer) => (answer = message))
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      current = undefined
      if (answer === undefined)
        reject(new Error(`the work of ${order.row} ended with ${String(signal ?? code)}`))
      else if ('error' in answer) reject(new Error(`${order.row} in ${order.dir}: ${answer.error}`))
      else resolve(answer)
    })
    child.send(order)
  })
}

/** Ends what is under way, so that its mount can be taken away. */
export function stopWork(): void {
  current?.kill('SIGKILL')
}
