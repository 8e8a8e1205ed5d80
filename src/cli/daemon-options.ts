import { type Command, Option } from 'commander'
import { logLevels } from '../service/log.ts'

/** What every daemon takes. */
export function withDaemonOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--log-level <level>', 'least urgent lines to log').choices(logLevels).default('info'),
    )
    .addOption(new Option('--lifeline', 'stop when standard input ends').hideHelp())
}
