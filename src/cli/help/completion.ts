/** Completion scripts, made from the commands. Where nothing is known, names of files are offered. */
import { type CommandNode, everyCommand, type Flag } from './command-tree.ts'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

export const completionScript: Readonly<Record<Shell, (root: CommandNode) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
}

/** Single quotes, as sh and its kin read them. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`

const namesOf = (flags: readonly Flag[]): string[] => flags.flatMap(flag => flag.names)
const nested = (root: CommandNode): CommandNode[] => everyCommand(root).filter(node => node !== root)

function bashCompletion(root: CommandNode): string {
  const all = everyCommand(root)
  const values = all.flatMap(({ path, flags }) =>
    flags
      .filter(flag => flag.takesValue)
      .map(flag => {
        const pattern = flag.names.map(name => quoted(`${path} ${name}`)).join(' | ')
        const words = flag.choices.length === 0 ? '-f' : `-W ${quoted(flag.choices.join(' '))}`
        return `    ${pattern}) COMPREPLY=($(compgen ${words} -- "$word")); return ;;`
      }),
  )
  const commands = all.map(
    ({ path, flags, children }) =>
      `    ${quoted(path)}) flags=${quoted(namesOf(flags).join(' '))}; commands=${quoted(children.map(child => child.name).join(' '))} ;;`,
  )
  return `# Completion of cairn for bash: source <(cairn completion bash)
_cairn() {
  local word=\${COMP_WORDS[COMP_CWORD]} path=cairn flags= commands= at
  for ((at = 1; at < COMP_CWORD; at++)); do
    case "$path \${COMP_WORDS[at]}" in
      ${nested(root)
        .map(({ path }) => quoted(path))
        .join(' | ')}) path="$path \${COMP_WORDS[at]}" ;;
    esac
  done
  case "$path \${COMP_WORDS[COMP_CWORD - 1]}" in
${values.join('\n')}
  esac
  case "$path" in
${commands.join('\n')}
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$word"))
  elif [[ -n $commands ]]; then
    COMPREPLY=($(compgen -W "$commands" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _cairn cairn
`
}

function zshCompletion(root: CommandNode): string {
  const described = (entries: readonly (readonly [string, string])[]): string =>
    entries.map(([name, text]) => quoted(`${name.replaceAll(':', '\\:')}:${text}`)).join(' ')
  const cases = everyCommand(root).map(
    ({ path, flags, children }) =>
      `    ${quoted(path)})\n` +
      `      flags=(${described(flags.flatMap(flag => flag.names.map(name => [name, flag.description] as const)))})\n` +
      `      commands=(${described(children.map(child => [child.name, child.description] as const))}) ;;`,
  )
  const values = everyCommand(root).flatMap(({ path, flags }) =>
    flags
      .filter(flag => flag.choices.length > 0)
      .map(
        flag =>
          `    ${flag.names.map(name => quoted(`${path} ${name}`)).join(' | ')}) compadd -- ${flag.choices.map(quoted).join(' ')}; return ;;`,
      ),
  )
  return `#compdef cairn
# Completion of cairn for zsh: cairn completion zsh > a file _cairn in a folder of $fpath
_cairn() {
  local where=cairn at
  local -a flags commands
  for ((at = 2; at < CURRENT; at++)); do
    case "$where $words[at]" in
      ${nested(root)
        .map(({ path }) => quoted(path))
        .join(' | ')}) where="$where $words[at]" ;;
    esac
  done
  case "$where $words[CURRENT - 1]" in
${values.join('\n')}
  esac
  case "$where" in
${cases.join('\n')}
  esac
  if [[ $PREFIX == -* ]]; then
    _describe flag flags
  elif (($#commands)); then
    _describe command commands
  else
    _files
  fi
}
if [[ $funcstack[1] == _cairn ]]; then _cairn "$@"; else compdef _cairn cairn; fi
`
}

function fishCompletion(root: CommandNode): string {
  const lines = everyCommand(root).flatMap(({ path, flags, children }) => {
    const here = `-n ${quoted(`test (__cairn_where) = ${quoted(path)}`).replaceAll(`'\\''`, '"')}`
    return [
      ...children.map(
        child => `complete -c cairn -f ${here} -a ${child.name} -d ${fishQuoted(child.description)}`,
      ),
      ...flags.map(flag => {
        const names = flag.names.map(name =>
          name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
        )
        const value = !flag.takesValue
          ? ''
          : flag.choices.length > 0
            ? ` -x -a ${fishQuoted(flag.choices.join(' '))}`
            : ' -r'
        return `complete -c cairn ${here} ${names.join(' ')}${value} -d ${fishQuoted(flag.description)}`
      }),
    ]
  })
  return `# Completion of cairn for fish: cairn completion fish > ~/.config/fish/completions/cairn.fish
function __cairn_where
    set -l where cairn
    for word in (commandline -opc)[2..-1]
        switch "$where $word"
            case ${nested(root)
              .map(({ path }) => fishQuoted(path))
              .join(' ')}
                set where "$where $word"
        end
    end
    echo $where
end
${lines.join('\n')}
`
}

const fishQuoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
