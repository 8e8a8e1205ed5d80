/** What a terminal needs and a pipe does not: lines that fit, questions. */
import { createInterface } from 'node:readline/promises'
import { stripVTControlCharacters } from 'node:util'

/** Columns of the terminal; undefined in a pipe, where nothing is wrapped. */
export const columns = (): number | undefined =>
  process.stdout.isTTY ? Math.max(20, process.stdout.columns) : undefined

export const widthOf = (text: string): number => Array.from(stripVTControlCharacters(text)).length

/** Lines of at most `width`, broken at spaces where there are any; all but the first begin with the indent. */
export function wrapped(text: string, width: number | undefined, indent = ''): string {
  if (width === undefined || widthOf(text) <= width) return text
  const lines: string[] = []
  let line = ''
  for (const word of text.match(/\s*\S+/g) ?? []) {
    if (widthOf(line + word) <= width || line.trim() === '') line += word
    else {
      lines.push(line)
      line = indent + word.trimStart()
    }
  }
  return [...lines, line].join('\n')
}

/** What files and hosts are called may have anything in it: nothing of that reaches the terminal as a command. */
export const visible = (text: string): string =>
  text.replace(/\p{Cc}/gu, found => `\\x${(found.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`)

/** Bytes of a path, as people read them. */
export const pathText = (path: Uint8Array): string => visible(Buffer.from(path).toString())

/** Whether somebody is there who can be asked. */
export const isInteractive = (): boolean => process.stdin.isTTY && process.stdout.isTTY

/** Asks; anything but y or yes is no. */
export async function confirmed(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim())
  } finally {
    lines.close()
  }
}
