import { fork } from 'node:child_process'
import path from 'node:path'
import { errorOf, type FromWorker, unpacked } from './lane-messages.ts'

/** One job, and small. */
const nodeOptions = ['--single-threaded-gc', '--max-semi-space-size=4']

/**
 * What a module that calls serveProcess makes of a job, in a process of its own: whatever memory that takes goes with
 * it, which that of a thread does not, as it is freed into this process' heap. Both are plain values. Rejects with what
 * is thrown there, or when it ends without an answer. It ends when this process does, however that goes.
 */
export function runProcess<Result>(module: URL, job: unknown): Promise<Result> {
  const name = path.basename(module.pathname, '.js')
  return new Promise((resolve, reject) => {
    const child = fork(module, {
      execArgv: nodeOptions,
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const end = (): void => void child.kill('SIGKILL')
    process.on('exit', end)
    child.on('message', (message: FromWorker) => {
      if ('failure' in message) reject(errorOf(message.failure))
      else resolve(unpacked(message.results) as Result)
      child.disconnect()
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      process.off('exit', end)
      reject(new Error(`Process ${name} ended without an answer: ${signal ?? `exit code ${String(code)}`}`))
    })
    child.send({ job }, error => {
      if (error !== null) reject(error)
    })
  })
}
