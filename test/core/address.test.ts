import test from 'ava'
import fc from 'fast-check'
import { formatAddress, parseAddress } from '#src/core/address.ts'

test('addresses survive being written and read', t => {
  const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6())
  fc.assert(
    fc.property(host, fc.integer({ min: 0, max: 65535 }), (name, port) => {
      t.deepEqual(parseAddress(formatAddress({ host: name, port })), { host: name, port })
    }),
  )
})

test('what is no address is not taken for one', t => {
  const bad = ['', 'host', ':80', 'host:', 'host:65536', 'host:-1', 'host:1e3', '::1:80', '[host]:80']
  bad.push('[::1]', '[::1]80', 'a b:80', 'host:80 ', 'unix:/x:80', 'a/b:80', '[]:80', '-a:80', 'ho\0st:80')
  for (const text of bad) t.is(parseAddress(text), undefined, text)
  t.deepEqual(parseAddress('[::1]:80'), { host: '::1', port: 80 })
  t.deepEqual(parseAddress('localhost:0'), { host: 'localhost', port: 0 })
})
