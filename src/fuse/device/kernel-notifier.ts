import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import type { Name } from '../../core/name.ts'
import {
  invalidateAllNamesMessage,
  invalidateEntryMessage,
  invalidateInodeMessage,
} from '../codec/notifications.ts'
import type { Notifier } from '../filesystem.ts'
import type { NotificationThreads } from './notification-threads.ts'

/** The kernel had nothing to forget: it does not know the inode or name, or has been unmounted. */
const nothingToForget = new Set(['ENOENT', 'ENOTDIR', 'ENODEV'])

export class KernelNotifier implements Notifier {
  readonly #threads: NotificationThreads
  readonly #canInvalidateAllNames: boolean

  constructor(threads: NotificationThreads, canInvalidateAllNames: boolean) {
    this.#threads = threads
    this.#canInvalidateAllNames = canInvalidateAllNames
  }

  invalidateInode(ino: Ino, offset: number, length: number): Promise<void> {
    return this.#write(invalidateInodeMessage(ino, offset, length))
  }

  invalidateEntry(parent: Ino, name: Name): Promise<void> {
    return this.#write(invalidateEntryMessage(parent, name))
  }

  async invalidateAllNames(): Promise<boolean> {
    if (!this.#canInvalidateAllNames) return false
    await this.#write(invalidateAllNamesMessage())
    return true
  }

  invalidateAttributesNow(ino: Ino): void {
    check(this.#threads.writeNow(invalidateInodeMessage(ino, -1, 0)))
  }

  invalidateAllNamesNow(): void {
    if (this.#canInvalidateAllNames) check(this.#threads.writeNow(invalidateAllNamesMessage()))
  }

  async #write(bytes: Uint8Array): Promise<void> {
    check(await this.#threads.write(bytes))
  }
}

function check(error: string | undefined): void {
  if (error !== undefined && !nothingToForget.has(error))
    throw new FsError('EIO', `the kernel refused a notification: ${error}`)
}
