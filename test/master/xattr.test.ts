import test from 'ava'
import fc from 'fast-check'
import { S_IFDIR, S_IFREG } from '#src/core/attr.ts'
import { FsError } from '#src/core/errors.ts'
import { fsck } from '#src/master/fsck/fsck.ts'
import { applyAcl, chmodAcl, encodeAcl, inheritAcl, parseAcl } from '#src/master/namespace/acl.ts'
import { XattrMode } from '#src/wire/gen/cairn/v1/session.ts'
import { bytes, Fixture } from './store-fixture.ts'

const tags: Readonly<Record<string, number>> = { u: 1, user: 2, g: 4, group: 8, m: 16, o: 32 }

/** From `u:7 user5:6 g:4 m:6 o:0`. */
function acl(text: string): Buffer {
  const entries = text.split(' ').map(entry => {
    const [, name, id, perm] = /^([a-z]+)(\d*):(\d)$/.exec(entry) as unknown as string[]
    return { tag: tags[name as string] as number, perm: Number(perm), id: Number(id) }
  })
  return encodeAcl(entries)
}

const access = 'system.posix_acl_access'
const inherited = 'system.posix_acl_default'

test('setting, replacing, listing and removing attributes', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  f.time = 2_000_000n
  f.run(f.setXattrOp(ino, 'user.b', bytes('1')))
  t.is(f.attr(ino).ctime, 2_000_000n)
  t.is(f.fails(f.setXattrOp(ino, 'user.b', bytes('2'), { mode: XattrMode.XATTR_MODE_CREATE })), 'EEXIST')
  t.is(f.fails(f.setXattrOp(ino, 'user.c', bytes('2'), { mode: XattrMode.XATTR_MODE_REPLACE })), 'ENODATA')
  f.run(f.setXattrOp(ino, 'user.b', bytes(''), { mode: XattrMode.XATTR_MODE_REPLACE }))
  f.run(f.setXattrOp(ino, 'trusted.a', bytes('x')))
  t.is(f.getXattr(ino, 'user.b')?.length, 0)
  const names = f.ask({ $case: 'listXattr', value: { ino } })
  t.deepEqual(names, { $case: 'listXattr', value: { names: [bytes('trusted.a'), bytes('user.b')] } })
  const remove = { $case: 'removeXattr', value: { ino, name: bytes('user.b'), time: 0n } } as const
  f.run(remove)
  t.is(f.fails(remove), 'ENODATA')
  t.is(
    t.throws(() => f.ask({ $case: 'getXattr', value: { ino, name: bytes('user.b') } }), {
      instanceOf: FsError,
    }).code,
    'ENODATA',
  )
  for (const [name, code] of [
    ['system.x', 'EOPNOTSUPP'],
    ['other', 'EOPNOTSUPP'],
    ['user.', 'EINVAL'],
  ] as const) {
    const get = { $case: 'getXattr', value: { ino, name: bytes(name) } } as const
    t.is(t.throws(() => f.ask(get), { instanceOf: FsError }).code, code)
  }
  t.deepEqual(fsck(f.store).problems, [])
  f.unlink(f.root, 'a')
  t.is(f.store.db.prepare('SELECT count(*) FROM xattrs').pluck().get(), 0)
})

test('the limits of attributes', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG).attr
  t.is(f.fails(f.setXattrOp(ino, 'user.x', Buffer.alloc(65537))), 'E2BIG')
  f.run(f.setXattrOp(ino, 'user.x', Buffer.alloc(65536)))
  t.is(f.fails(f.setXattrOp(ino, `user.${'x'.repeat(251)}`, bytes(''))), 'ERANGE')
  f.run(f.setXattrOp(ino, `user.${'x'.repeat(250)}`, bytes('')))
  t.is(f.fails(f.setXattrOp(ino, '', bytes(''))), 'ERANGE')
  t.is(f.fails(f.setXattrOp(ino, 'user.', bytes(''))), 'EINVAL')
  t.is(f.fails(f.setXattrOp(ino, 'other.x', bytes(''))), 'EOPNOTSUPP')
  t.is(f.fails(f.setXattrOp(ino, 'system.x', bytes(''))), 'EOPNOTSUPP')
  t.is(f.fails(f.setXattrOp(99n, 'user.x', bytes(''))), 'ESTALE')
  let refused = 'none'
  for (let i = 0; refused === 'none' && i < 100; i += 1) {
    refused = f.fails(f.setXattrOp(ino, `user.big${i}`, Buffer.alloc(65536)))
  }
  t.is(refused, 'ENOSPC')
})

test('an access ACL sets the mode, chmod sets the ACL, a minimal one is only the mode', t => {
  using f = new Fixture()
  const { ino } = f.create(f.root, 'a', S_IFREG | 0o2600).attr
  f.run(f.setXattrOp(ino, access, acl('u:7 user5:6 g:1 m:5 o:4')))
  t.is(f.attr(ino).mode, S_IFREG | 0o2754)
  f.setAttr(ino, { mode: 0o641 })
  t.deepEqual(f.getXattr(ino, access), acl('u:6 user5:6 g:1 m:4 o:1'))
  t.deepEqual(fsck(f.store).problems, [])
  f.setAttr(ino, { mode: 0o2641 })
  f.run(f.setXattrOp(ino, access, acl('u:4 g:2 o:1'), { killSgid: true }))
  t.is(f.attr(ino).mode, S_IFREG | 0o421)
  t.is(f.getXattr(ino, access), undefined)
  const remove = { $case: 'removeXattr', value: { ino, name: bytes(access), time: 0n } } as const
  t.is(f.fails(remove), 'none')
  t.is(f.fails(f.setXattrOp(ino, inherited, acl('u:7 g:0 o:0'))), 'EACCES')
  t.deepEqual(fsck(f.store).problems, [])
})

test('a default ACL is inherited, and then the umask does not count', t => {
  using f = new Fixture()
  const dir = f.create(f.root, 'd', S_IFDIR | 0o755).attr.ino
  f.run(f.setXattrOp(dir, inherited, acl('u:7 user5:7 g:5 m:7 o:5')))
  const file = f.create(dir, 'f', S_IFREG | 0o664, { umask: 0o077 }).attr
  t.is(file.mode, S_IFREG | 0o664)
  t.deepEqual(f.getXattr(file.ino, access), acl('u:6 user5:7 g:5 m:6 o:4'))
  t.is(f.getXattr(file.ino, inherited), undefined)
  const sub = f.create(dir, 'e', S_IFDIR | 0o700, { umask: 0o077 }).attr
  t.is(sub.mode, S_IFDIR | 0o700)
  t.deepEqual(f.getXattr(sub.ino, access), acl('u:7 user5:7 g:5 m:0 o:0'))
  t.deepEqual(f.getXattr(sub.ino, inherited), acl('u:7 user5:7 g:5 m:7 o:5'))
  f.run(f.setXattrOp(dir, inherited, acl('u:7 g:5 o:0')))
  const plain = f.create(dir, 'g', S_IFREG | 0o666, { umask: 0o077 }).attr
  t.is(plain.mode, S_IFREG | 0o640)
  t.is(f.getXattr(plain.ino, access), undefined)
  t.deepEqual(fsck(f.store).problems, [])
})

test('ACLs that the kernel refuses are refused', t => {
  const bad = [
    'g:7 u:7 o:7',
    'u:7 g:7',
    'u:7 user5:7 g:7 o:7',
    'u:7 g:7 m:7 m:7 o:7',
    'u:8 g:7 o:7',
    'u:7 g:7 o:7 o:7',
    'user5:7 g:7 m:1 o:7',
  ]
  for (const text of bad)
    t.is(t.throws(() => parseAcl(acl(text)), { instanceOf: FsError }, text).code, 'EINVAL')
  const good = acl('u:7 g:7 o:7')
  t.throws(() => parseAcl(good.subarray(0, 9)), { instanceOf: FsError })
  const newer = Buffer.from(good)
  newer.writeUInt32LE(3, 0)
  t.is(t.throws(() => parseAcl(newer), { instanceOf: FsError }).code, 'EOPNOTSUPP')
  t.deepEqual(parseAcl(Buffer.alloc(0)), [])
})

test('any bytes are an ACL or an FsError, and a mode survives the way through an ACL', t => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), data => {
      try {
        const parsed = parseAcl(data)
        t.is(parseAcl(encodeAcl(parsed)).length, parsed.length)
      } catch (thrown) {
        t.true(thrown instanceof FsError)
      }
    }),
  )
  fc.assert(
    fc.property(fc.nat(0o777), fc.boolean(), (mode, named) => {
      const full = parseAcl(acl(named ? 'u:7 user5:6 g:7 m:7 o:7' : 'u:7 g:7 o:7'))
      t.is(inheritAcl(full, mode).mode, mode)
      t.is(applyAcl(chmodAcl(full, mode), 0).mode, mode)
    }),
  )
})
