import test from 'ava'
import { StatusServer } from '#src/web/status-server.ts'
import { UsageError } from '#src/core/errors.ts'

test('metrics, health and readiness are told, and what goes wrong is 503 with the reason', async t => {
  const state: { sick?: string; unready?: string } = {}
  const server = await StatusServer.listen('127.0.0.1:0', {
    metrics: async () => 'cairn_x 1\n',
    alive: async () => {
      if (state.sick !== undefined) throw new Error(state.sick)
    },
    unready: () => state.unready,
  })
  t.teardown(() => server.close())
  const get = async (path: string, method = 'GET'): Promise<[number, string]> => {
    const response = await fetch(`http://${server.address}${path}`, { method })
    return [response.status, await response.text()]
  }
  t.deepEqual(await get('/metrics'), [200, 'cairn_x 1\n'])
  t.deepEqual(await get('/metrics?x=1', 'HEAD'), [200, ''])
  t.deepEqual(await get('/healthz'), [200, 'ok\n'])
  t.deepEqual(await get('/readyz'), [200, 'ok\n'])
  t.is((await get('/'))[0], 404)
  t.is((await get('/metrics', 'POST'))[0], 405)
  state.sick = 'the engine is gone'
  state.unready = 'not attached'
  t.deepEqual(await get('/healthz'), [503, 'the engine is gone\n'])
  t.deepEqual(await get('/readyz'), [503, 'not attached\n'])
  await t.throwsAsync(
    StatusServer.listen(server.address, {
      metrics: async () => '',
      alive: async () => {},
      unready: () => undefined,
    }),
    { instanceOf: UsageError, message: `cannot serve metrics on ${server.address}: it is in use` },
  )
})
