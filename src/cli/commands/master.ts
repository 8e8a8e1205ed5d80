import type { Command } from 'commander'
import { MiB } from '../../core/units.ts'
import { masterDaemon } from '../config/daemons.ts'
import { type DaemonFlags, settingsOf, withDaemonOptions } from '../daemon-options.ts'

/** Of messages, and of what goes to the nodes that keep the log. */
const freedBytes = 8 * MiB

export function registerMaster(program: Command): void {
  withDaemonOptions(program.command('master'), masterDaemon)
    .description('run the master of a cluster')
    .action(async (flags: DaemonFlags) => {
      const settings = settingsOf(masterDaemon, flags)
      const [{ runAsDaemon }, { startMaster }, { collectFreed }] = await Promise.all([
        import('../daemons/daemon.ts'),
        import('../daemons/master.ts'),
        import('../../env/collect-freed.ts'),
      ])
      collectFreed(freedBytes)
      await runAsDaemon('master', { ...settings, lifeline: flags.lifeline }, world =>
        startMaster(world, settings),
      )
    })
}
