import test from 'ava'
import { listenWeb, type Site } from '#src/web/web-server.ts'

test('a site that fails says so to who asked, and goes on', async t => {
  const text = (code: number, body: string) => ({ code, body, type: 'text/plain' })
  const site: Site = {
    what: 'pages',
    policy: "default-src 'none'",
    posts: [],
    refusal: text,
    answer: ({ name }) =>
      name === '/bad' ? Promise.reject(new Error('planted')) : Promise.resolve(text(200, 'well')),
  }
  const server = await listenWeb('127.0.0.1:0', site)
  t.teardown(() => server.close())
  const ask = async (name: string) => {
    const response = await fetch(`http://${server.address}${name}`)
    return [response.status, await response.text()]
  }
  t.deepEqual(await ask('/bad'), [500, 'planted'])
  t.deepEqual(await ask('/'), [200, 'well'])
})
