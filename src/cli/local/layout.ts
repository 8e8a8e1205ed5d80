import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { messageOf, UsageError } from '../../core/errors.ts'
import { makeFolder } from '../../service/make-folder.ts'

/** Where a cluster on one machine keeps its parts, and what it remembers between two starts. */
const layoutVersion = 1

const schema = z.strictObject({
  version: z.literal(layoutVersion),
  master: z.string().optional(),
  chunkservers: z.number().int().min(1).max(64),
  mount: z.string().optional(),
})

export type LocalState = z.infer<typeof schema>

const runningSchema = z.strictObject({
  pid: z.number().int().positive(),
  /** Start time of the process in clock ticks, so that a reused pid is not taken for it. */
  started: z.string(),
  master: z.string(),
  mount: z.string().optional(),
})

export type Running = z.infer<typeof runningSchema>

export class LocalLayout {
  readonly dir: string

  constructor(dir: string) {
    this.dir = path.resolve(dir)
  }

  get master(): string {
    return path.join(this.dir, 'master')
  }

  chunkserver(number: number): string {
    return path.join(this.dir, `chunkserver-${String(number)}`)
  }

  log(part: string): string {
    return path.join(this.dir, 'logs', `${part}.log`)
  }

  /** The state of an existing cluster, undefined where there is none yet. */
  read(): LocalState | undefined {
    const text = readIfThere(this.#stateFile)
    if (text === undefined) return undefined
    const version = z.object({ version: z.number() }).safeParse(parseJson(text, this.#stateFile))
    if (version.success && version.data.version > layoutVersion)
      throw new UsageError(
        `${this.#stateFile} has version ${String(version.data.version)}, this program knows up to ${String(layoutVersion)}: use a newer cairn`,
      )
    return parse(schema, text, this.#stateFile)
  }

  write(state: LocalState): void {
    this.#prepare()
    replaceFile(this.#stateFile, state)
  }

  running(): Running | undefined {
    const text = readIfThere(this.#runningFile)
    if (text === undefined) return undefined
    const running = parse(runningSchema, text, this.#runningFile)
    return processStart(running.pid) === running.started ? running : undefined
  }

  setRunning(running: Running | undefined): void {
    if (running === undefined) rmSync(this.#runningFile, { force: true })
    else replaceFile(this.#runningFile, running)
  }

  /** What could not be stored when the cluster was stopped, for `cairn down`; undefined: everything was. */
  noteLoss(loss: string | undefined): void {
    if (loss === undefined) rmSync(this.#lossFile, { force: true })
    else writeFileSync(this.#lossFile, loss)
  }

  takeLoss(): string | undefined {
    const loss = readIfThere(this.#lossFile)
    this.noteLoss(undefined)
    return loss
  }

  #prepare(): void {
    makeFolder(path.join(this.dir, 'logs'))
  }

  get #stateFile(): string {
    return path.join(this.dir, 'cluster.json')
  }

  get #lossFile(): string {
    return path.join(this.dir, 'not-stored.txt')
  }

  get #runningFile(): string {
    return path.join(this.dir, 'running.json')
  }
}

/** Start time of a process from /proc/PID/stat (field 22), undefined if there is none. */
export function processStart(pid: number): string | undefined {
  const stat = readIfThere(`/proc/${String(pid)}/stat`)
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A zombie has ended: only its exit status is left.
  return fields[0] === 'Z' ? undefined : fields[19]
}

function replaceFile(file: string, value: unknown): void {
  const next = `${file}.new`
  writeFileSync(next, `${JSON.stringify(value, undefined, 2)}\n`)
  renameSync(next, file)
}

function readIfThere(file: string): string | undefined {
  if (!existsSync(file)) return undefined
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ESRCH'))
      return undefined
    throw new UsageError(`cannot read ${file}: ${messageOf(error)}`)
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    throw new UsageError(`${file} is damaged (${messageOf(error)}): remove it to start with defaults`)
  }
}

function parse<T>(type: z.ZodType<T>, text: string, file: string): T {
  const result = type.safeParse(parseJson(text, file))
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw new UsageError(`${file} is damaged: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`)
}
