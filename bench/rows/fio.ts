import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { type Done, type Group, rowsOf, type Sizes } from './row.ts'

interface FioJob {
  readonly read: { readonly total_ios: number; readonly io_bytes: number }
  readonly write: { readonly total_ios: number; readonly io_bytes: number }
  readonly job_runtime: number
}

const folder = (dir: string) => path.join(dir, 'fio')

function fio(dir: string, ...options: string[]): FioJob {
  const { status, stdout, stderr, error } = spawnSync(
    'fio',
    [
      '--name=bench',
      `--directory=${folder(dir)}`,
      '--ioengine=psync',
      '--thread',
      '--group_reporting',
      '--output-format=json',
      '--invalidate=0',
      '--fallocate=none',
      // Else all jobs write the same, again and again.
      '--refill_buffers',
      ...options,
    ],
    { encoding: 'utf8', maxBuffer: 1 << 26 },
  )
  if (status !== 0) throw error ?? new Error(`fio ${options.join(' ')}: ${stderr}${stdout}`)
  // Warnings may come first.
  const { jobs } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: FioJob[] }
  const [job] = jobs
  if (job === undefined) throw new Error(`fio ${options.join(' ')}: no job in its report`)
  return job
}

/** What fio's users ask of it: several jobs at once. */
export function fioGroup({ bigMiB, randoms }: Sizes): Group {
  const jobs = 4
  const sizeOf = `--size=${String(Math.ceil(bigMiB / 16))}m`
  const row = rowsOf('fio')
  /** Job threads add up their times. */
  const doneOf = ({ read, write, job_runtime }: FioJob): Done => ({
    units: read.total_ios + write.total_ios,
    ms: job_runtime / jobs,
  })
  const perJob = String(Math.ceil(randoms / 20))
  return {
    key: 'fio',
    rows: [
      row(
        'write',
        '4 jobs write 64 KiB, fsync at the end',
        'writes',
        dir =>
          doneOf(fio(dir, '--rw=write', '--bs=64k', sizeOf, `--numjobs=${String(jobs)}`, '--end_fsync=1')),
        {
          prepare: dir => {
            rmSync(folder(dir), { recursive: true, force: true })
            mkdirSync(folder(dir))
          },
        },
      ),
      row(
        'randread',
        '4 jobs read 4 KiB at random cold',
        'reads',
        dir =>
          doneOf(
            fio(
              dir,
              '--rw=randread',
              '--bs=4k',
              sizeOf,
              `--number_ios=${String(Number(perJob) * 4)}`,
              `--numjobs=${String(jobs)}`,
            ),
          ),
        { cold: true },
      ),
      row('randrw', '4 jobs, 70 % reads, 4 KiB at random, fdatasync every 4 writes', 'operations', dir =>
        doneOf(
          fio(
            dir,
            '--rw=randrw',
            '--rwmixread=70',
            '--bs=4k',
            sizeOf,
            '--fdatasync=4',
            `--number_ios=${perJob}`,
            `--numjobs=${String(jobs)}`,
          ),
        ),
      ),
    ],
  }
}
