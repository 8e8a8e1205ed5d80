import type { Command } from 'commander'
import { masterDaemon } from '../config/daemons.ts'
import { type DaemonFlags, settingsOf, withDaemonOptions } from '../daemon-options.ts'

export function registerMaster(program: Command): void {
  withDaemonOptions(program.command('master'), masterDaemon)
    .description('run the master of a cluster')
    .action(async (flags: DaemonFlags) => {
      const settings = settingsOf(masterDaemon, flags)
      const [{ runAsDaemon }, { startMaster }] = await Promise.all([
        import('../daemons/daemon.ts'),
        import('../daemons/master.ts'),
      ])
      await runAsDaemon('master', { ...settings, lifeline: flags.lifeline }, world =>
        startMaster(world, settings),
      )
    })
}
