/** Takes messages from the device until it ends. */
export interface Reader {
  /** Takes no more messages until `resume`. False where a read is always under way, which cannot be taken back. */
  pause(): boolean
  resume(): void
  /** Reads nothing more. Resolves when the descriptor is closed. */
  close(): Promise<void>
}

export interface ReaderEvents {
  /** The kernel ended the connection (ENODEV: unmounted; ECONNABORTED: aborted), or the device failed. */
  readonly ended: (error: Error | undefined) => void
  /** The descriptor is about to be closed: nobody may use its number after this resolves. */
  readonly closing: () => Promise<void>
}
