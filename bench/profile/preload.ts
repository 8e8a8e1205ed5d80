/**
 * Loaded first into every thread of every daemon (NODE_OPTIONS=--import), it waits on a socket of the thread's own
 * to be told when to take a profile and where to leave it: `--cpu-prof` would see start and end of the process, too,
 * and not tell one phase from the next. It can also be asked how many bytes went over the connections that the thread
 * has made.
 */
import { subscribe } from 'node:diagnostics_channel'
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { isMainThread, threadId } from 'node:worker_threads'

function isDaemon(): boolean {
  return /^(master|chunkserver|mount)$/.test(process.argv[2] ?? '') || !isMainThread
}

interface Moved {
  sent: number
  received: number
}

/** What connections to an address have moved: those that ended, and those that are open. */
class Connections {
  readonly #ended = new Map<string, Moved>()
  readonly #open = new Map<Socket, string>()

  constructor() {
    subscribe('net.client.socket', message => {
      const { socket } = message as { socket: Socket }
      socket.once('connect', () =>
        this.#open.set(socket, `${socket.remoteAddress ?? ''}:${String(socket.remotePort ?? 0)}`),
      )
      socket.once('close', () => this.#closed(socket))
    })
  }

  moved(): Record<string, Moved> {
    const all = new Map(
      [...this.#ended].map(([address, { sent, received }]) => [address, { sent, received }]),
    )
    for (const [socket, address] of this.#open) add(all, address, socket)
    return Object.fromEntries(all)
  }

  #closed(socket: Socket): void {
    const address = this.#open.get(socket)
    if (address !== undefined) add(this.#ended, address, socket)
    this.#open.delete(socket)
  }
}

function add(to: Map<string, Moved>, address: string, { bytesWritten, bytesRead }: Socket): void {
  const moved = to.get(address) ?? { sent: 0, received: 0 }
  to.set(address, { sent: moved.sent + bytesWritten, received: moved.received + bytesRead })
}

function listen(where: string): void {
  const connections = new Connections()
  const thread = isMainThread ? 'main' : path.basename(process.argv[1] ?? '', '.js')
  const name = `${String(process.pid)}.${thread}.${String(threadId)}.sock`
  const session = new Session()
  session.connect()
  const obey = async ([order = '', value = '']: string[]): Promise<string> => {
    if (order === 'bytes') return JSON.stringify(connections.moved())
    if (order === 'start') {
      await session.post('Profiler.enable')
      await session.post('Profiler.setSamplingInterval', { interval: Number(value) })
      await session.post('Profiler.start')
    } else {
      const { profile } = await session.post('Profiler.stop')
      writeFileSync(value, JSON.stringify(profile))
      await session.post('Profiler.disable')
    }
    return 'done'
  }
  const server = createServer(socket => {
    socket.on('error', () => socket.destroy())
    createInterface({ input: socket }).on('line', line => {
      obey(line.split(' ')).then(
        answer => socket.end(`${answer}\n`),
        (error: unknown) => socket.end(`${String(error)}\n`),
      )
    })
  })
  server.listen(path.join(where, name))
  server.unref()
}

const folder = process.env['CAIRN_BENCH_PROFILES']
if (folder !== undefined && isDaemon()) listen(folder)
