import { UsageError } from '../../core/errors.ts'
import { requestDataMax } from '../codec/init.ts'

/** Options of mount(8) that the kernel itself carries out for any file system. */
const generic = new Set(
  `ro rw suid nosuid dev nodev exec noexec atime noatime diratime nodiratime relatime norelatime strictatime
  nostrictatime lazytime nolazytime sync async dirsync symfollow nosymfollow`.split(/\s+/),
)

export interface MountOptions {
  /** As text after -o, for the kernel. */
  readonly kernel: readonly string[]
  /** Mount over a directory that is not empty. */
  readonly nonempty: boolean
}

/**
 * Checks the options of `-o`. allow_other is taken for granted: a mount by root that other users cannot
 * enter helps nobody. UsageError for one that is not known.
 */
export function readMountOptions(options: readonly string[]): MountOptions {
  const kernel: string[] = []
  let nonempty = false
  for (const option of options) {
    if (generic.has(option)) kernel.push(option)
    else if (option === 'nonempty') nonempty = true
    else if (option !== 'allow_other' && option !== 'default_permissions' && option !== 'defaults') {
      throw new UsageError(`unknown mount option '${option}'; known are ${[...generic].join(', ')}, nonempty`)
    }
  }
  return { kernel, nonempty }
}

/** What `-o` says to attach the descriptor that the tool has as number 3. */
export function attachOptions(options: MountOptions): string {
  return [
    'fd=3',
    'rootmode=40000',
    'user_id=0',
    'group_id=0',
    'allow_other',
    'default_permissions',
    `max_read=${requestDataMax}`,
    ...options.kernel,
  ].join(',')
}
