import type { Ino } from '#src/core/ids.ts'
import type { Name } from '#src/core/name.ts'

/** What was done to a disk, one after the other. A file's bytes are safe with `sync`, names with `syncFolder`. */
export type DiskEvent =
  | {
      readonly op: 'name'
      readonly folder: Ino
      readonly name: Name
      readonly ino: Ino
      readonly isFolder: boolean
    }
  | { readonly op: 'noName'; readonly folder: Ino; readonly name: Name }
  | { readonly op: 'write'; readonly ino: Ino; readonly at: number; readonly data: Uint8Array }
  | { readonly op: 'size'; readonly ino: Ino; readonly size: number }
  | { readonly op: 'sync'; readonly ino: Ino }
  | { readonly op: 'syncFolder'; readonly ino: Ino }
