import { fstatSync } from 'node:fs'
import pino from 'pino'
import type { Log, LogFields } from '../core/env.ts'
import { plain } from './log-fields.ts'

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** One line of text for people, one JSON object a line for programs, or that with the level as the journal has it. */
type LineFormat = 'text' | 'json' | 'journal'
export const logFormats = ['auto', 'text', 'json', 'journal'] as const
export type LogFormat = (typeof logFormats)[number]

export interface LogOptions {
  /** The least urgent level that is written. */
  readonly level: LogLevel
  readonly format: LineFormat
  /** Takes whole lines. */
  readonly write: (line: string) => void
  /** In every line. */
  readonly fields?: LogFields
}

/** Writes to stderr at once, so that nothing is lost when the process ends. */
export function stderrLog(level: LogLevel, fields: LogFields = {}, format: LogFormat = 'auto'): Log {
  const stderr = pino.destination({ fd: 2, sync: true })
  const chosen = format === 'auto' ? formatOfStderr() : format
  return createLog({ level, format: chosen, write: line => void stderr.write(line), fields })
}

/** Text on a terminal; what systemd reads for its journal; else JSON. */
function formatOfStderr(): LineFormat {
  if (process.stderr.isTTY) return 'text'
  return process.env['JOURNAL_STREAM'] === streamOf(2) ? 'journal' : 'json'
}

/** As systemd names it. The variable alone says nothing: a child may have stderr elsewhere. */
function streamOf(fd: number): string | undefined {
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true })
    return `${dev}:${ino}`
  } catch {
    // It is closed.
    return undefined
  }
}

export function createLog({ level, format, write, fields = {} }: LogOptions): Log {
  return new LevelLog(logLevels.indexOf(level), writers[format](write), fields)
}

type Put = (level: LogLevel, message: string, fields: LogFields) => void

class LevelLog implements Log {
  readonly #least: number
  readonly #put: Put
  readonly #fields: LogFields

  constructor(least: number, put: Put, fields: LogFields) {
    this.#least = least
    this.#put = put
    this.#fields = fields
  }

  debug(message: string, fields?: LogFields): void {
    this.#log('debug', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    this.#log('info', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.#log('warn', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.#log('error', message, fields)
  }

  child(fields: LogFields): Log {
    return new LevelLog(this.#least, this.#put, { ...this.#fields, ...fields })
  }

  #log(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (logLevels.indexOf(level) < this.#least) return
    this.#put(level, message, { ...this.#fields, ...fields })
  }
}

function jsonWriter(write: (line: string) => void): Put {
  const logger = pino(
    {
      level: 'debug',
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    { write },
  )
  return (level, message, fields) => logger[level](plain(fields) as object, message)
}

/** Of syslog, as sd-daemon(3) wants them in front of a line. */
const syslogLevels: Readonly<Record<LogLevel, number>> = { debug: 7, info: 6, warn: 4, error: 3 }

function journalWriter(write: (line: string) => void): Put {
  let level: LogLevel = 'info'
  const put = jsonWriter(line => write(`<${syslogLevels[level]}>${line}`))
  return (of, message, fields) => {
    level = of
    put(of, message, fields)
  }
}

const writers: Readonly<Record<LineFormat, (write: (line: string) => void) => Put>> = {
  text: textWriter,
  json: jsonWriter,
  journal: journalWriter,
}

function textWriter(write: (line: string) => void): Put {
  return (level, message, fields) => {
    const time = new Date().toISOString().replace('T', ' ').replace('Z', '')
    const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${textOf(plain(value))}`)
    write(`${time} ${level.toUpperCase().padEnd(5)} ${message}${pairs.join('')}\n`)
  }
}

/** Without line breaks, so that a record stays one line; of a bug's stack the first lines are shown. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value)
  if (typeof value === 'object' && value !== null && 'message' in value) return errorText(value)
  return value === undefined ? 'undefined' : JSON.stringify(value)
}

function errorText(error: {
  readonly message: unknown
  readonly code?: unknown
  readonly stack?: unknown
}): string {
  const frames =
    typeof error.stack === 'string'
      ? error.stack
          .split('\n')
          .filter(line => line.trimStart().startsWith('at '))
          .slice(0, 4)
          .map(line => line.trim())
      : []
  const code = typeof error.code === 'string' ? `${error.code}: ` : ''
  return JSON.stringify([code + String(error.message), ...frames].join(' '))
}
