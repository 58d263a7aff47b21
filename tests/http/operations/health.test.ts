import { afterEach, describe, expect, test, vi } from 'vitest'
import { countersign } from '../../../src/countersign.ts'
import type { HealthPaths } from '../../../src/http/health.ts'
import { memory } from '../../../src/store/memory.ts'
import { unreliable } from '../../support/unreliable-store.ts'

const url = 'http://localhost:8787'

const serve = (health?: HealthPaths | false) => {
  const store = unreliable(memory())
  const auth = countersign({ url, store, audit: () => {}, resources: { '/mcp': {} }, health })
  const probe = async (path: string, init?: RequestInit) => {
    const response = await auth.respond(new Request(`${url}${path}`, init))
    return response && { status: response.status, text: await response.text(), headers: response.headers }
  }
  return { auth, store, probe }
}

afterEach(() => vi.useRealTimers())

describe('probes', () => {
  test('say yes, and nothing else', async () => {
    const { auth, probe } = serve()
    for (const path of ['/healthz', '/readyz']) {
      expect(auth.handles(path)).toBe(true)
      const answer = await probe(path)
      expect(answer).toMatchObject({ status: 200, text: 'ok\n' })
      expect([...(answer?.headers.keys() ?? [])].sort()).toEqual(['cache-control', 'content-type'])
    }
    await auth.close()
  })

  test('the store decides who is ready; a process that answers lives', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: 1_000_000_000_000 })
    const { auth, store, probe } = serve()
    expect((await probe('/readyz'))?.status).toBe(200)
    store.down = true
    vi.setSystemTime(Date.now() + 1_500)
    const refused = await probe('/readyz')
    expect(refused).toMatchObject({ status: 503, text: 'unavailable\n' })
    expect(refused?.headers.get('retry-after')).toBe('1')
    expect((await probe('/healthz'))?.status).toBe(200)
    store.down = false
    vi.setSystemTime(Date.now() + 1_500)
    expect((await probe('/readyz'))?.status).toBe(200)
    await auth.close()
  })

  test('a store that does not answer is not waited for, and a thousand probes ask it once', async () => {
    // What was found is known for a second.
    vi.useFakeTimers({ toFake: ['Date'] })
    const { auth, store, probe } = serve()
    await auth.ready()
    store.delay = 5_000
    const before = store.calls.get
    const answers = await Promise.all(Array.from({ length: 1_000 }, () => probe('/readyz')))
    expect(new Set(answers.map((answer) => answer?.status))).toEqual(new Set([503]))
    expect(store.calls.get - before).toBeLessThanOrEqual(2)
    store.delay = 0
    await auth.close()
  })

  test('are asked by GET and HEAD alone', async () => {
    const { auth, probe } = serve()
    expect(await probe('/readyz', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
    expect((await probe('/readyz', { method: 'POST', body: 'x' }))?.status).toBe(405)
    await auth.close()
  })

  test('stand where it is said, or nowhere', async () => {
    const elsewhere = serve({ live: '/internal/live', ready: '/internal/ready' })
    expect((await elsewhere.probe('/internal/ready'))?.status).toBe(200)
    expect(await elsewhere.probe('/healthz')).toBeUndefined()
    expect(elsewhere.auth.handles('/readyz')).toBe(false)
    const nowhere = serve(false)
    expect(await nowhere.probe('/readyz')).toBeUndefined()
    expect(nowhere.auth.handles('/healthz')).toBe(false)
    for (const { auth } of [elsewhere, nowhere]) await auth.close()
    expect(() => serve({ live: 'healthz' })).toThrow('health')
  })
})
