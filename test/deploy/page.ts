import { readFileSync } from 'node:fs'

/** A command of docs/operations.md and the prompt in front of it, which says where it is for. */
export interface PageCommand {
  readonly prompt: string
  readonly script: string
}

/**
 * The commands in the blocks ```console of the part "Install", as they stand there: `PROMPT# COMMAND`, with the lines of a
 * here-document after it.
 */
export function commandsOfPage(): PageCommand[] {
  const page = readFileSync(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
  const part = /\n## Install\n([\s\S]*?)\n## /.exec(page)?.[1] ?? ''
  const commands: { prompt: string; script: string }[] = []
  for (const [, block = ''] of part.matchAll(/```console\n([\s\S]*?)```/g))
    for (const line of block.trimEnd().split('\n')) {
      const [, prompt, command] = /^([a-z]+)# (.*)$/.exec(line) ?? []
      const last = commands.at(-1)
      if (prompt !== undefined && command !== undefined) commands.push({ prompt, script: command })
      else if (last !== undefined) last.script += `\n${line}`
    }
  return commands
}
