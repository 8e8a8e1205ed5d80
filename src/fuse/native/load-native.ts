import { createRequire } from 'node:module'
import { messageOf, UsageError } from '../../core/errors.ts'

/** The answer to one call: 0 or a negative errno (or a count), and what the call brings. */
export type Signal = (code: number, ...results: readonly unknown[]) => void

/** What fuse-native calls: each operation with its arguments and, last, who is to hear of its end. */
export type NativeOperations = Readonly<Record<string, (...args: never[]) => void>>

/** As much of fuse-native 2.2.6 as is used here. */
export interface NativeMount {
  mount(done: (error: Error | null) => void): void
  /** These two hand over the kernel's buffer only here: what is longer must not be said to be in it. */
  _op_getxattr: (signal: Signal, path: string, name: string, value: Buffer, position: number) => void
  _op_listxattr: (signal: Signal, path: string, list: Buffer) => void
}

export interface NativeOptions {
  readonly fsname: string
  readonly subtype: string
  readonly defaultPermissions: true
  /** fuse-native answers for us after that, and uses the buffers again that we still have. */
  readonly timeout: false
  readonly entryTimeout: number
  readonly attrTimeout: number
}

type NativeConstructor = new (
  path: string,
  operations: NativeOperations,
  options: NativeOptions,
) => NativeMount

/** UsageError where the optional package or libfuse 2 is missing. */
export function loadNative(): NativeConstructor {
  try {
    return createRequire(import.meta.url)('fuse-native') as NativeConstructor
  } catch (thrown) {
    const why = messageOf(thrown).split('\n')[0] ?? ''
    const hint = why.includes('libfuse.so.2')
      ? 'it needs libfuse 2 (apt-get install libfuse2)'
      : 'install the package fuse-native'
    throw new UsageError(`the driver fuse-native cannot be loaded: ${hint}: ${why}`)
  }
}
