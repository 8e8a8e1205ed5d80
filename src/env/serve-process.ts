import { must } from '../core/assert.ts'
import { type FromWorker, failureOf, openRun, unpacked } from './lane-messages.ts'

/** The end of runProcess in the process that does the job: called once by its module. */
export function serveProcess(work: (job: unknown) => unknown): void {
  const send = must(process.send?.bind(process), 'process to serve: this module is run by another one')
  const answer = (message: FromWorker): void => void send(message)
  // Nobody waits for it any more; what it has written was to be of use when it is whole only.
  process.on('disconnect', () => process.exit(1))
  // A terminal sends these to all of a group: the process that waits decides when it is enough.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
  process.once('message', ({ job }: { readonly job: unknown }) => {
    const done = async (): Promise<unknown> => work(unpacked(job))
    done().then(
      results => answer({ run: openRun, results }),
      (thrown: unknown) => answer({ run: openRun, failure: failureOf(thrown) }),
    )
  })
}
