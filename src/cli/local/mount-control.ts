import { readdirSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { messageOf, UsageError } from '../../core/errors.ts'
import { makeFolder } from '../../service/make-folder.ts'
import { processStart } from './layout.ts'
import { runtimeDir } from './mount-registry.ts'

const requestSchema = z.object({
  do: z.literal('replace'),
  node: z.string().min(1),
  nodeOptions: z.array(z.string()),
  file: z.string().min(1),
})
const answerSchema = z.union([
  z.object({ pid: z.number().int().positive(), program: z.string() }),
  z.object({ error: z.string() }),
])

export type ControlRequest = z.infer<typeof requestSchema>
export type ControlAnswer = { readonly pid: number; readonly program: string }

const socketOf = (pid: number): string => path.join(runtimeDir(), `control-${String(pid)}.sock`)

/**
 * Where a mount process hears commands of its own machine: a socket that only its user, and root, may connect to. One
 * line of JSON each way.
 */
export class MountControl {
  readonly #server: Server
  readonly #connections = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
    server.on('connection', connection => {
      this.#connections.add(connection)
      connection.on('close', () => this.#connections.delete(connection))
      // Who asked has gone: what was begun for him goes on.
      connection.on('error', () => undefined)
    })
  }

  /** `carryOut` resolves with the answer; what it rejects with is told. */
  static async listen(carryOut: (request: ControlRequest) => Promise<ControlAnswer>): Promise<MountControl> {
    const server = createServer(connection => void serve(connection, carryOut))
    const file = socketOf(process.pid)
    makeFolder(path.dirname(file))
    removeDead(path.dirname(file))
    const before = process.umask(0o177)
    try {
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(file, resolve))
    } finally {
      process.umask(before)
    }
    server.unref()
    return new MountControl(server)
  }

  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()))
    for (const connection of this.#connections) connection.destroy()
    await closed
  }

  /** Of a process that ends without `close`. */
  static forget(): void {
    rmSync(socketOf(process.pid), { force: true })
  }
}

/** Of processes that were killed, and of one that had this number before. */
function removeDead(folder: string): void {
  for (const entry of readdirSync(folder)) {
    const pid = Number(/^control-(\d+)\.sock$/.exec(entry)?.[1] ?? Number.NaN)
    if (pid === process.pid || (Number.isInteger(pid) && processStart(pid) === undefined))
      rmSync(path.join(folder, entry), { force: true })
  }
}

async function serve(
  connection: Socket,
  carryOut: (request: ControlRequest) => Promise<ControlAnswer>,
): Promise<void> {
  const line = await firstLine(connection)
  if (line === undefined) return
  let answer: z.infer<typeof answerSchema>
  try {
    answer = await carryOut(requestSchema.parse(JSON.parse(line)))
  } catch (error) {
    answer = { error: messageOf(error) }
  }
  await new Promise<void>(resolve => connection.end(`${JSON.stringify(answer)}\n`, resolve))
}

/** Has the mount process of that number do something. UsageError with its words if it does not. */
export async function askMount(pid: number, request: ControlRequest): Promise<ControlAnswer> {
  const connection = connect(socketOf(pid))
  try {
    await new Promise<void>((resolve, reject) => connection.once('error', reject).once('connect', resolve))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'EACCES') throw new UsageError('that mount is of another user: run it with sudo')
    throw new UsageError(`process ${String(pid)} does not take commands (${code ?? messageOf(error)})`)
  }
  connection.on('error', () => undefined)
  connection.write(`${JSON.stringify(request)}\n`)
  const line = await firstLine(connection)
  connection.destroy()
  if (line === undefined) throw new UsageError(`process ${String(pid)} ended before it answered: see its log`)
  const answer = answerSchema.parse(JSON.parse(line))
  if ('error' in answer) throw new UsageError(answer.error)
  return answer
}

async function firstLine(connection: Socket): Promise<string | undefined> {
  const next = await createInterface({ input: connection })[Symbol.asyncIterator]().next()
  return next.done === true ? undefined : next.value
}
