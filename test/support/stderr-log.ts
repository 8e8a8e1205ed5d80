import type { Log, LogFields } from '#src/core/env.ts'

const line = (level: string) => (message: string, fields?: LogFields) => {
  process.stderr.write(`${level} ${message} ${fields === undefined ? '' : JSON.stringify(fields)}\n`)
}

/** For helper processes of tests, whose stderr a failing test shows. */
export const stderrLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: line('warn'),
  error: line('error'),
  child: () => stderrLog,
}
