/** The commands and flags as plain data, taken from commander, for completion and manual pages. */
import type { Command, Option } from 'commander'
import { examples } from './examples.ts'

export interface CommandNode {
  /** From the program on: `cairn config check`. */
  readonly path: string
  readonly name: string
  readonly description: string
  readonly usage: string
  readonly arguments: readonly { readonly name: string; readonly description: string }[]
  readonly flags: readonly Flag[]
  readonly examples: readonly string[]
  /** It does something itself, also if there are commands below it. */
  readonly runs: boolean
  readonly children: readonly CommandNode[]
}

export interface Flag {
  /** `--json`, and its short form if it has one. */
  readonly names: readonly string[]
  /** As in --help: `-o, --options <list>`. */
  readonly text: string
  readonly description: string
  readonly takesValue: boolean
  /** What the value can be, if few things. */
  readonly choices: readonly string[]
}

export function commandTree(command: Command, parent = ''): CommandNode {
  const path = parent === '' ? command.name() : `${parent} ${command.name()}`
  const help = command.createHelp()
  return {
    path,
    name: command.name(),
    description: command.description(),
    usage: command.usage(),
    arguments: help
      .visibleArguments(command)
      .map(argument => ({ name: argument.name(), description: argument.description })),
    flags: help.visibleOptions(command).map(flagOf),
    examples: examples[path] ?? [],
    runs: command.commands.length === 0 || command.registeredArguments.length > 0,
    children: help
      .visibleCommands(command)
      .filter(child => child.name() !== 'help')
      .map(child => commandTree(child, path)),
  }
}

function flagOf(option: Option): Flag {
  const names = [option.long, option.short].filter(name => name !== undefined)
  const value = /[<[]([^>\]]+)[>\]]/.exec(option.flags)?.[1] ?? ''
  return {
    names,
    text: option.flags,
    description: option.description,
    takesValue: option.required || option.optional,
    choices: value.includes('|') ? value.split('|') : (option.argChoices ?? []),
  }
}

/** It and all below it. */
export function everyCommand(node: CommandNode): CommandNode[] {
  return [node, ...node.children.flatMap(everyCommand)]
}
