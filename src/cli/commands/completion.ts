import { Argument, type Command } from 'commander'
import { version } from '../../service/version.ts'
import { commandTree } from '../help/command-tree.ts'
import { completionScript, type Shell, shells } from '../help/completion.ts'
import { manualPage } from '../help/manual.ts'

export function registerCompletion(program: Command): void {
  program
    .command('completion')
    .description('print the completion script of a shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(shells))
    .action((shell: Shell) => {
      process.stdout.write(completionScript[shell](commandTree(program)))
    })
  program
    .command('manual', { hidden: true })
    .description('print the manual page, for man(1)')
    .action(() => {
      process.stdout.write(manualPage(commandTree(program), version))
    })
}
