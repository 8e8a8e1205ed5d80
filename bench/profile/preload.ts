/**
 * Loaded first into every thread of every daemon (NODE_OPTIONS=--import), it waits on a socket of the thread's own
 * to be told when to take a profile and where to leave it: `--cpu-prof` would see start and end of the process, too,
 * and not tell one phase from the next.
 */
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { isMainThread, threadId } from 'node:worker_threads'

const folder = process.env['CAIRN_BENCH_PROFILES']
if (folder !== undefined && isDaemon()) listen(folder)

function isDaemon(): boolean {
  return /^(master|chunkserver|mount)$/.test(process.argv[2] ?? '') || !isMainThread
}

function listen(where: string): void {
  const thread = isMainThread ? 'main' : path.basename(process.argv[1] ?? '', '.js')
  const name = `${String(process.pid)}.${thread}.${String(threadId)}.sock`
  const session = new Session()
  session.connect()
  const obey = async ([order = '', value = '']: string[]): Promise<void> => {
    if (order === 'start') {
      await session.post('Profiler.enable')
      await session.post('Profiler.setSamplingInterval', { interval: Number(value) })
      await session.post('Profiler.start')
    } else {
      const { profile } = await session.post('Profiler.stop')
      writeFileSync(value, JSON.stringify(profile))
      await session.post('Profiler.disable')
    }
  }
  const server = createServer(socket => {
    socket.on('error', () => socket.destroy())
    createInterface({ input: socket }).on('line', line => {
      obey(line.split(' ')).then(
        () => socket.end('done\n'),
        (error: unknown) => socket.end(`${String(error)}\n`),
      )
    })
  })
  server.listen(path.join(where, name))
  server.unref()
}
