import test from 'ava'
import { ipAddressBytes } from '#src/web/ip-address.ts'

test('addresses as certificates have them, and names are none', t => {
  const hex = (text: string): string | undefined => {
    const bytes = ipAddressBytes(text)
    return bytes === undefined ? undefined : Buffer.from(bytes).toString('hex')
  }
  t.is(hex('10.0.0.255'), '0a0000ff')
  t.is(hex('::1'), `${'00'.repeat(15)}01`)
  t.is(hex('::'), '00'.repeat(16))
  t.is(hex('fe80::1:2%eth0'), 'fe800000000000000000000000010002')
  t.is(hex('2001:DB8:1:2:3:4:5:6'), '20010db8000100020003000400050006')
  t.is(hex('::ffff:10.0.0.1'), '00000000000000000000ffff0a000001')
  t.is(hex('1:2:3:4:5:6:7::'), '00010002000300040005000600070000')
  for (const name of ['example.org', '10.0.0', 'localhost', '']) t.is(hex(name), undefined)
})
