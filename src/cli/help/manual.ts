/** Manual pages, made from the commands: roff for man(1). */
import { type CommandNode, everyCommand } from './command-tree.ts'

/** cairn(1) has everything: a page for each of many small commands helps nobody. */
export function manualPage(root: CommandNode, version: string): string {
  const lines = [
    `.TH CAIRN 1 "" "cairn ${version}" "Cairn"`,
    '.SH NAME',
    'cairn \\- a distributed file system',
    '.SH SYNOPSIS',
    '.B cairn',
    '.I command',
    '[options]',
    '.SH DESCRIPTION',
    'Cairn makes one POSIX file system of the disks of many machines. A master keeps names and the placement of blocks, ' +
      'chunkservers keep the blocks, and mounts show the files. This command runs and administers all of them.',
    '.PP',
    'Commands find the cluster by --master HOST:PORT, by CAIRN_MASTER, by --dir DIR of a local one, or by the mount ' +
      'that a path is on. Every command that prints a result has --json.',
    '.SH COMMANDS',
    ...everyCommand(root)
      .filter(node => node.children.length === 0 || node.runs)
      .flatMap(section),
    '.SH EXIT STATUS',
    '.TP',
    '0',
    'All is well.',
    '.TP',
    '1',
    'The answer is bad news: damage, a degraded cluster, something written that could not be stored.',
    '.TP',
    '2',
    'It could not be done.',
    '.TP',
    '3',
    'Of cairn health alone: nothing can be written, or something cannot be read.',
    '.SH FILES',
    ...['master', 'chunkserver', 'mount'].flatMap(name => [
      '.TP',
      `.I /etc/cairn/${name}.toml`,
      escape(`Settings of cairn ${name}: each flag of it that is described above, as key = value.`),
    ]),
  ]
  return `${lines.join('\n')}\n`
}

function section({ path, usage, description, arguments: args, flags, examples }: CommandNode): string[] {
  return [
    `.SS ${escape(`${path} ${usage}`)}`,
    escape(`${description.charAt(0).toUpperCase()}${description.slice(1)}.`),
    ...args.flatMap(({ name, description: text }) => ['.TP', `.I ${escape(name)}`, escape(text)]),
    ...flags.flatMap(flag => ['.TP', `.B ${escape(flag.text)}`, escape(flag.description)]),
    ...(examples.length === 0 ? [] : ['.PP', 'For example:', '.PP', '.nf', ...examples.map(escape), '.fi']),
  ]
}

/** What roff would take for its own. */
const escape = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1')
