/**
 * What the file system's permissions allow to whom an export takes a mount's users for. The wire says of few calls whose
 * they are, and a mount can say what it likes: so with `root` everything is allowed that is to anybody but root, and with
 * `all` what is to the one user that everybody is.
 */
import { isDirectory } from '../../core/attr.ts'
import { accessAclName, aclTag, type AclEntry, parseAcl } from '../namespace/acl.ts'
import type { ExportRules } from '../store/exports.ts'
import { type Inode, inodeFlag } from '../store/inodes.ts'
import type { Store } from '../store/store.ts'

export const want = { read: 4, write: 2, execute: 1 } as const

export class Access {
  readonly #store: Store
  readonly #rules: ExportRules

  constructor(store: Store, rules: ExportRules) {
    this.#store = store
    this.#rules = rules
  }

  /** Who a caller is. */
  uid(given: number): number {
    return this.#mayBe(given, this.#rules.anonUid) ? given : this.#rules.anonUid
  }

  gid(given: number): number {
    return this.#mayBe(given, this.#rules.anonGid) ? given : this.#rules.anonGid
  }

  owns(inode: Inode): boolean {
    return this.#mayBe(inode.uid, this.#rules.anonUid)
  }

  isOfGroup(gid: number): boolean {
    return this.#mayBe(gid, this.#rules.anonGid)
  }

  /** All of `wanted`. The owner of a file may read and write it whatever its mode: it could change that. */
  may(inode: Inode, wanted: number): boolean {
    if (this.owns(inode) && !isDirectory(inode.mode) && (wanted & want.execute) === 0) return true
    return this.#permissions(inode).some(given => (given & wanted) === wanted)
  }

  /** A name in the directory may be made or taken away. */
  mayChange(directory: Inode): boolean {
    return this.may(directory, want.write | want.execute)
  }

  #mayBe(id: number, anonymous: number): boolean {
    return this.#rules.squash === 'all' ? id === anonymous : id !== 0
  }

  /** What each of those gets whom the caller may be. */
  #permissions(inode: Inode): number[] {
    const acl = this.#aclOf(inode)
    const mask = acl.find(({ tag }) => tag === aclTag.mask)?.perm ?? 7
    const idOf = ({ tag, id }: AclEntry): number =>
      tag === aclTag.userObj ? inode.uid : tag === aclTag.groupObj ? inode.gid : id
    const is = (entry: AclEntry, tags: readonly number[], ours: (id: number) => boolean): boolean =>
      tags.includes(entry.tag) && ours(idOf(entry))
    const own = acl.filter(entry => is(entry, [aclTag.userObj], () => this.owns(inode)))
    const users = acl.filter(entry => is(entry, [aclTag.user], id => this.#mayBe(id, this.#rules.anonUid)))
    const groups = acl.filter(entry => is(entry, [aclTag.groupObj, aclTag.group], id => this.isOfGroup(id)))
    const others = acl.filter(({ tag }) => tag === aclTag.other)
    const masked = (entries: readonly AclEntry[]): number[] => entries.map(({ perm }) => perm & mask)
    const all = [own.map(({ perm }) => perm), masked(users), masked(groups), others.map(({ perm }) => perm)]
    // One user is of the first class that fits; somebody may be of any.
    if (this.#rules.squash === 'all') return all.find(class_ => class_.length > 0) ?? []
    return all.flat()
  }

  /** The ACL, or what the mode says as one. */
  #aclOf(inode: Inode): readonly AclEntry[] {
    const stored =
      (inode.flags & inodeFlag.accessAcl) === 0 ? undefined : this.#store.xattrs.get(inode.ino, accessAclName)
    const { mode } = inode
    const plain = [
      { tag: aclTag.userObj, perm: (mode >> 6) & 7, id: 0 },
      { tag: aclTag.groupObj, perm: (mode >> 3) & 7, id: 0 },
      { tag: aclTag.other, perm: mode & 7, id: 0 },
    ]
    return stored === undefined ? plain : parseAcl(stored)
  }
}
