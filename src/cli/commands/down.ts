import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { NotStoredError, UsageError } from '../../core/errors.ts'
import { minute, second } from '../../core/units.ts'
import { LocalLayout, processStart } from '../local/layout.ts'
import { print, printJson } from '../output.ts'

/** More than the supervisor's own patience with each of its groups. */
const patienceMs = 4 * minute

export function registerDown(program: Command): void {
  program
    .command('down')
    .description('write back, unmount and stop the cluster that cairn up runs')
    .requiredOption('--dir <dir>', 'its folder')
    .option('--json', 'print the result as JSON')
    .action(async (options: { dir: string; json?: boolean }) => {
      const layout = new LocalLayout(options.dir)
      const running = layout.running()
      if (running === undefined) {
        if (layout.read() === undefined) throw new UsageError(`there is no cluster in ${layout.dir}`)
        report(options.json, layout.dir, 'was not running')
        return
      }
      process.kill(running.pid, 'SIGTERM')
      for (let waited = 0; processStart(running.pid) === running.started; waited += 50) {
        if (waited > patienceMs)
          throw new UsageError(
            `process ${String(running.pid)} did not stop in ${String(patienceMs / second)} s: see ${layout.log('up')}`,
          )
        await sleep(50)
      }
      const loss = layout.takeLoss()
      if (loss !== undefined) throw new NotStoredError(`stopped, but ${loss}`)
      report(options.json, layout.dir, 'stopped')
    })
}

function report(json: boolean | undefined, dir: string, state: string): void {
  if (json === true) printJson({ dir, state })
  else print(`${dir}: ${state}`)
}
