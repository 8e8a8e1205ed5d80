/** A file system that is measured. */
export interface Side {
  readonly key: string
  readonly name: string
  /** Where programs work. */
  readonly dir: string
  start(): Promise<void>
  /** Lasting on disk is all that was done before, so that it does not disturb what is measured next. */
  settle(): Promise<void>
  /** Nothing is in the memory of the client afterwards: mounts anew. The kernel's caches are the caller's. */
  remount(): Promise<void>
  /** Ends everything that was started, also what was started in part. */
  stop(): Promise<void>
  /** Versions and settings that matter, in words. */
  describe(): string
}
