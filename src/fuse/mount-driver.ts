/** A mount that is being served, whatever serves it. */
export interface MountDriver {
  /**
   * Resolves when the mount is gone, and the file system has written back what was left; rejects then if the driver
   * could not go on and ended it.
   */
  readonly done: Promise<void>
  /** The canonical mount point. */
  readonly path: string
  /** Resolves when the kernel has let go of the mount: it is in no mount namespace and nobody has it open. */
  readonly released: Promise<unknown>
  /** Takes the mount off. UsageError if files on it are open and it is not `lazy`. */
  unmount(options: { readonly lazy: boolean }): Promise<void>
  /** Ends the connection under the kernel's feet: open files fail from now on. The mount is removed. */
  abort(): Promise<void>
}
