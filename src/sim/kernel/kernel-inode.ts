import type { Attr } from '../../core/attr.ts'
import type { Ino } from '../../core/ids.ts'
import { RwLock } from './rw-lock.ts'

export const pageBytes = 4096

/** One page of the page cache. */
export class Page {
  readonly bytes = Buffer.alloc(pageBytes)
  readonly lock: RwLock
  uptodate = false
  /** Stored to through a mapping, and not written back. */
  dirty = false
  /**
   * Bytes from here on were cut off while a READ had the page locked. Linux waits for the lock before it
   * cuts; here it is cut when the READ fills it.
   */
  cutAt = pageBytes

  constructor(name: string) {
    this.lock = new RwLock(name)
  }
}

/** An inode that the kernel remembers. */
export class KernelInode {
  readonly ino: Ino
  /** i_rwsem: names of a directory, contents and size of a file. */
  readonly lock: RwLock
  readonly pages = new Map<number, Page>()
  /** Shared: a page is being written back. Exclusive: a truncation is being asked for, and none is. */
  readonly writeBacks: RwLock
  attr: Attr
  /** i_size: follows the attributes, and our own writes before those come back. */
  size: number
  attrUntil: number
  /** Attributes asked for before this are older than what is known. */
  version: number
  /** A write or truncation is under way: sizes that arrive are not to be believed. */
  sizeUnstable = 0
  /**
   * Sizes that arrived and were not taken, since the inode was invalidated after they were asked for: then a read
   * ends where the file ended before.
   */
  sizesIgnored = 0
  /** From here on pages had zeros that the file system did not give: the file ended before what was held for its size. */
  madeUpFrom = Number.POSITIVE_INFINITY
  /** How often the file system has told of it: what FORGET gives back. */
  lookups = 0
  opens = 0
  /** Names in the dentry cache that lead to it. */
  names = 0

  constructor(attr: Attr, attrUntil: number, version: number) {
    this.ino = attr.ino
    this.attr = attr
    this.size = attr.size
    this.attrUntil = attrUntil
    this.version = version
    this.lock = new RwLock(`inode ${attr.ino}`)
    this.writeBacks = new RwLock(`write-backs of inode ${attr.ino}`)
  }

  page(index: number): Page {
    let page = this.pages.get(index)
    if (page === undefined) {
      page = new Page(`page ${index} of inode ${this.ino}`)
      this.pages.set(index, page)
    }
    return page
  }
}

/** What a name was said to lead to. */
export interface Dentry {
  /** Undefined: nothing has this name. */
  readonly inode: KernelInode | undefined
  until: number
  epoch: number
}
