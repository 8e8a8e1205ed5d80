import { FsError } from '../../core/errors.ts'
import type { Ino } from '../../core/ids.ts'
import { xattrBytesMax, xattrNameBytesMax } from '../../core/limits.ts'
import { type Name, nameToBytes } from '../../core/name.ts'
import { attrFromWire } from '../../wire/attr.ts'
import { XattrMode } from '../../wire/gen/cairn/v1/session.ts'
import { bytesUpTo, toXattrName } from '../../wire/validate.ts'
import type { Inode } from '../cache/inode.ts'
import { type FilesContext, mustBeWritable } from './context.ts'
import { whileChanging } from './while-changing.ts'

const modes = {
  set: XattrMode.XATTR_MODE_SET,
  create: XattrMode.XATTR_MODE_CREATE,
  replace: XattrMode.XATTR_MODE_REPLACE,
} as const

const namespaces = /^(?:user|trusted|security)\.[^]|^system\.posix_acl_(?:access|default)$/

const emptyNames = new Set(['user.', 'trusted.', 'security.'])

/** Extended attributes. That there is none is remembered, too: the kernel asks for ACLs and capabilities often. */
export class Xattrs {
  readonly #context: FilesContext

  constructor(context: FilesContext) {
    this.#context = context
  }

  /** Undefined: there is none, as mostly: the kernel asks for capabilities of every file that is written. */
  get(ino: Ino, name: Name): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    checkXattrName(name)
    const own = this.#ownOf(ino)
    if (own !== undefined) return own.get(name)
    const node = this.#known(ino)
    const value = node?.xattrs?.get(name)
    if (value === null || (value === undefined && node?.xattrNames?.includes(name) === false))
      return undefined
    return value ?? this.#ask(ino, name)
  }

  list(ino: Ino): readonly Name[] | Promise<readonly Name[]> {
    const own = this.#ownOf(ino)
    return own !== undefined ? [...own.keys()] : (this.#known(ino)?.xattrNames ?? this.#askNames(ino))
  }

  async set(
    ino: Ino,
    name: Name,
    value: Uint8Array,
    mode: 'set' | 'create' | 'replace',
    killSgid: boolean,
  ): Promise<void> {
    const { session, cache, options } = this.#context
    mustBeWritable(options)
    checkXattrName(name)
    if (value.length > xattrBytesMax) throw new FsError('E2BIG', `a value of ${value.length} bytes`)
    const bytes = Uint8Array.from(value)
    const own = this.#ownOf(ino)
    if (own !== undefined) {
      if (mode === 'create' && own.has(name)) throw new FsError('EEXIST')
      if (mode === 'replace') mustBeThere(own.get(name), name)
      own.set(name, bytes)
      return
    }
    const time = session.time()
    const op = { ino, name: nameToBytes(name), value: bytes, mode: modes[mode], killSgid, time }
    await whileChanging(this.#context, [ino], async () => {
      const reply = await session.call({ $case: 'setXattr', value: op }, 'attr')
      cache.dropXattrs(cache.make(ino))
      cache.noteCommand(attrFromWire(reply.attr))
    })
  }

  async remove(ino: Ino, name: Name): Promise<void> {
    const { session, cache, options } = this.#context
    mustBeWritable(options)
    checkXattrName(name)
    const own = this.#ownOf(ino)
    if (own !== undefined) {
      mustBeThere(own.get(name), name)
      own.delete(name)
      return
    }
    const value = { ino, name: nameToBytes(name), time: session.time() }
    await whileChanging(this.#context, [ino], async () => {
      const reply = await session.call({ $case: 'removeXattr', value }, 'attr')
      cache.dropXattrs(cache.make(ino))
      cache.noteCommand(attrFromWire(reply.attr))
    })
  }

  /** Of a removed directory, or of what is open without being readable: only this mount knows it. */
  #ownOf(ino: Ino): Map<Name, Uint8Array> | undefined {
    const node = this.#context.cache.get(ino)
    if (node?.removed !== true || node.orphaned) return undefined
    node.ownXattrs ??= new Map()
    return node.ownXattrs
  }

  #known(ino: Ino): Inode | undefined {
    const { cache } = this.#context
    const node = cache.get(ino)
    return node !== undefined && cache.trusted(node) ? node : undefined
  }

  async #ask(ino: Ino, name: Name): Promise<Uint8Array | undefined> {
    const { session, cache } = this.#context
    const { mark } = cache
    try {
      const reply = await session.call(
        { $case: 'getXattr', value: { ino, name: nameToBytes(name) } },
        'xattr',
      )
      const value = Uint8Array.from(bytesUpTo(reply.value, xattrBytesMax, 'xattr.value'))
      this.#note(ino, name, value, mark)
      return value
    } catch (thrown) {
      if (!(thrown instanceof FsError) || thrown.code !== 'ENODATA') throw thrown
      this.#note(ino, name, null, mark)
      return undefined
    }
  }

  #note(ino: Ino, name: Name, value: Uint8Array | null, mark: number): void {
    const { cache } = this.#context
    const node = cache.get(ino)
    if (node !== undefined) cache.noteXattr(node, name, value, mark)
  }

  async #askNames(ino: Ino): Promise<readonly Name[]> {
    const { session, cache } = this.#context
    const { mark } = cache
    const reply = await session.call({ $case: 'listXattr', value: { ino } }, 'listXattr')
    const names = reply.names.map(bytes => toXattrName(bytes, 'list_xattr.names'))
    const node = cache.get(ino)
    if (node !== undefined) cache.noteXattrNames(node, names, mark)
    return names
  }
}

function mustBeThere(value: Uint8Array | undefined, name: Name): void {
  if (value === undefined) throw new FsError('ENODATA', `no xattr ${name}`)
}

function checkXattrName(name: Name): void {
  if (name.length > xattrNameBytesMax) throw new FsError('ERANGE', `an xattr name of ${name.length} bytes`)
  if (emptyNames.has(name)) throw new FsError('EINVAL', `${name} is only the beginning of a name`)
  if (!namespaces.test(name)) throw new FsError('EOPNOTSUPP', `xattrs ${name} are not supported`)
}
