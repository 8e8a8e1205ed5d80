/** What a program, and the kernel for it, says of what it makes. */
export interface NewFile {
  /** Type and permission bits. */
  readonly mode: number
  readonly umask: number
  readonly rdev: number
  readonly uid: number
  readonly gid: number
}
