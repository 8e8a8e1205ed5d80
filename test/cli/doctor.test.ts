import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { causesOf, type Facts } from '#src/cli/doctor/causes.ts'
import { isSecret, redacted } from '#src/cli/doctor/redact.ts'
import { tarOf } from '#src/cli/doctor/tar.ts'
import { cairnFails } from '../support/cluster.ts'

const folder = mkdtempSync(join(tmpdir(), 'cairn-doctor-'))
test.after.always(() => rmSync(folder, { recursive: true }))

const well: Facts = {
  masterError: undefined,
  ownVersion: '1',
  masterVersion: '1',
  mountVersions: ['1'],
  findings: [],
  memory: { totalBytes: 100, availableBytes: 50 },
  load: { perMinute: 1, processors: 2 },
  disks: [{ folder: '/', totalBytes: 100, freeBytes: 50 }],
  mounts: [{ path: '/mnt', trouble: undefined }],
  logs: [{ name: 'a.log', text: 'Serving\n' }],
  silentDaemons: [],
}

test('a cluster that is well has no causes, and each trouble has one with a next step', t => {
  t.deepEqual(causesOf(well), [])
  const troubles: readonly (readonly [Partial<Facts>, RegExp])[] = [
    [{ masterError: 'no answer' }, /the master does not answer: no answer/],
    [{ masterVersion: '2', mountVersions: ['2', '1'] }, /versions differ: 2 in the cluster, 1 here/],
    [{ memory: { totalBytes: 100, availableBytes: 4 } }, /hardly any memory/],
    [{ load: { perMinute: 9, processors: 2 } }, /overloaded: 9\.0 processes want its 2 processors/],
    [{ disks: [{ folder: '/srv', totalBytes: 100, freeBytes: 1 }] }, /disk of \/srv is nearly full/],
    [{ mounts: [{ path: '/mnt', trouble: 'not connected' }] }, /mount \/mnt does not work: not connected/],
    [{ silentDaemons: ['http://x/metrics'] }, /serves http:\/\/x\/metrics does not answer/],
    [
      { logs: [{ name: 'm.log', text: 'ENOSPC once\nServing\nENOSPC twice\n' }] },
      /a disk was full \(2 lines; the last in m\.log\): ENOSPC twice/,
    ],
  ]
  for (const [trouble, what] of troubles) {
    const causes = causesOf({ ...well, ...trouble })
    t.is(causes.length, 1, String(what))
    t.regex(causes[0]?.what ?? '', what)
    t.true((causes[0]?.next.length ?? 0) > 0)
  }
})

test('secrets are left out of configuration, logs and addresses, and nothing else is', t => {
  const text =
    'data = "/srv"\nsecret = "abc"\nadmin_token: xyz\nurl = "http://me:pw@host/"\n{"password":"p","ino":"7"}\n'
  t.is(
    redacted(text),
    'data = "/srv"\nsecret = "(left out)"\nadmin_token: "(left out)"\nurl = "http://me:(left out)@host/"\n{"password":"(left out)","ino":"7"}\n',
  )
  const key = '-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----'
  t.is(
    redacted(
      `ran cairn mount --x cairn1.${'Ab_-'.repeat(21)} a\n${key}\nopened https://h:1/login.html#abc-DEF_1 b`,
    ),
    'ran cairn mount --x (left out) a\n(left out)\nopened https://h:1/login.html#(left out) b',
  )
  t.is(redacted('-----BEGIN EC PRIVATE KEY-----\ncut'), '(left out)')
  t.true(isSecret('CAIRN_TOKEN'))
  t.false(isSecret('CAIRN_MASTER'))
})

test('the file is one that tar(1) reads', t => {
  const file = join(folder, 'x.tar')
  const large = Buffer.alloc(100_000, 'x')
  writeFileSync(
    file,
    tarOf(
      [
        { name: 'dir/a.txt', data: Buffer.from('hello') },
        { name: 'dir/empty', data: Buffer.alloc(0) },
        { name: 'b', data: large },
      ],
      1e12,
    ),
  )
  t.is(execFileSync('tar', ['tf', file], { encoding: 'utf8' }), 'dir/a.txt\ndir/empty\nb\n')
  t.is(execFileSync('tar', ['xOf', file, 'dir/a.txt'], { encoding: 'utf8' }), 'hello')
  t.is(execFileSync('tar', ['xOf', file, 'b']).length, large.length)
})

test('a master that is away is a cause, not a failure; a file is never replaced', async t => {
  const file = join(folder, 'd.tar.gz')
  const args = ['doctor', '--master', '127.0.0.1:1', '--out', file, '--json']
  const { code, stdout } = await cairnFails(args)
  t.is(code, 1)
  const { causes } = JSON.parse(stdout) as { causes: { what: string }[] }
  t.regex(causes[0]?.what ?? '', /the master does not answer.*127\.0\.0\.1:1/)
  t.is(statSync(file).mode & 0o777, 0o600)
  t.regex(execFileSync('tar', ['tzf', file], { encoding: 'utf8' }), /cairn-doctor\/cluster\/status\.txt/)
  const again = await cairnFails(args)
  t.is(again.code, 2)
  t.regex(again.stderr, /cannot write .*EEXIST/)
  const nowhere = await cairnFails(['doctor', '--out', join(folder, 'no', 'such')])
  t.is(nowhere.code, 2)
  t.false(existsSync(join(folder, 'no')))
})
