/** What figures of a mounted folder mean. */

export type Grade = 'good' | 'fair' | 'poor'

export interface Judged {
  readonly name: Figure
  readonly value: number
  readonly unit: string
  readonly grade: Grade
  /** What to look at when it is not good. */
  readonly hint: string
}

export type Figure = 'write' | 'read' | 'randomRead' | 'fsync' | 'create' | 'stat' | 'remove'

interface Scale {
  readonly title: string
  readonly unit: string
  readonly good: number
  readonly fair: number
  readonly less?: 'better'
  readonly hint: string
}

/**
 * Where a gigabit network, three copies and ordinary SSDs are enough for "good": such a network carries some 110 MiB/s, a
 * disk syncs in a few milliseconds, and an operation on a name is a round trip and a sync that it shares with others.
 */
export const scales: Readonly<Record<Figure, Scale>> = {
  write: {
    title: 'Write a large file',
    unit: 'MiB/s',
    good: 80,
    fair: 25,
    hint: 'the network to the chunkservers and their disks: every byte goes to all copies (cairn top)',
  },
  read: {
    title: 'Read it back',
    unit: 'MiB/s',
    good: 100,
    fair: 40,
    hint: 'the network to the chunkservers; give the mount its zone, so that it reads near copies',
  },
  randomRead: {
    title: 'Read 4 KiB anywhere in it',
    unit: 'ms',
    good: 3,
    fair: 12,
    less: 'better',
    hint: 'the disks of the chunkservers: spinning ones take about 10 ms to seek',
  },
  fsync: {
    title: 'Write 4 KiB and fsync',
    unit: 'ms',
    good: 15,
    fair: 60,
    less: 'better',
    hint: 'the slowest disk of a chunkserver, or that of the master (cairn_master_step_seconds)',
  },
  create: {
    title: 'Create small files',
    unit: 'files/s',
    good: 300,
    fair: 60,
    hint: 'the way to the master and its disk; more at a time go faster than one after the other',
  },
  stat: {
    title: 'Look at them',
    unit: 'files/s',
    good: 2000,
    fair: 500,
    hint: 'the processor of this machine, or other mounts that change the same folder (cairn lease ls)',
  },
  remove: {
    title: 'Remove them',
    unit: 'files/s',
    good: 300,
    fair: 60,
    hint: 'the way to the master and its disk',
  },
}

export function judge(name: Figure, value: number): Judged {
  const { unit, good, fair, less, hint } = scales[name]
  const reaches = (bound: number): boolean => (less === 'better' ? value <= bound : value >= bound)
  return { name, value, unit, grade: reaches(good) ? 'good' : reaches(fair) ? 'fair' : 'poor', hint }
}

const startingLow = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

/** One sentence, the worst first. */
export function verdictOf(judged: readonly Judged[]): string {
  const of = (grade: Grade): Judged[] => judged.filter(each => each.grade === grade)
  const titles = (list: readonly Judged[]): string =>
    list.map(({ name }) => startingLow(scales[name].title)).join(', ')
  const [poor, fair] = [of('poor'), of('fair')]
  if (poor.length > 0) return `Slow: ${titles(poor)}.`
  if (fair.length > 0) return `Usable; slower than a gigabit network and SSDs would allow: ${titles(fair)}.`
  return 'Good: as fast as a gigabit network and SSDs would allow, or faster.'
}
