import { expect, test } from 'vitest'
import { memory } from '../../../src/store/memory.ts'
import { type Store, StoreUnavailable } from '../../../src/store/store.ts'
import { authorizeUrl, personServer, redeemed, signInAs } from '../../support/person.ts'

/** A store that can be taken away, and whose commits may be applied without their answer. */
const fragile = () => {
  const store = memory()
  const state: { away: boolean; loseAnswers: number } = { away: false, loseAnswers: 0 }
  const guard =
    <Arguments extends unknown[], Result>(act: (...args: Arguments) => Promise<Result>) =>
    (...args: Arguments): Promise<Result> =>
      state.away ? Promise.reject(new StoreUnavailable('away')) : act(...args)
  const wrapped: Store = {
    ...store,
    get: guard((keys) => store.get(keys)),
    list: guard((prefix, options) => store.list(prefix, options)),
    increment: guard((key, by, ttl) => store.increment(key, by, ttl)),
    commit: guard(async (batch) => {
      const result = await store.commit(batch)
      if (state.loseAnswers > 0 && state.loseAnswers-- > 0) throw new StoreUnavailable('the answer was lost')
      return result
    }),
  }
  return { store: wrapped, state }
}

test('our own trouble is a 503 page with Retry-After at every step, and nothing is lost by it', async () => {
  const { store, state } = fragile()
  const to = await personServer({ store })
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  const whileAway = async (act: () => ReturnType<typeof browser.open>) => {
    state.away = true
    const page = await act()
    state.away = false
    expect([page.status, page.headers.get('retry-after'), page.left]).toEqual([503, '5', undefined])
    expect(page.text).toContain('Something went wrong on our side')
    expect(page.html).not.toMatch(/StoreUnavailable|away|\.ts/)
    expect(page.headers.get('content-security-policy')).toContain("form-action 'none'")
  }
  await whileAway(() => browser.open(authorizeUrl(to)))
  const consent = await browser.open(authorizeUrl(to))
  await whileAway(() => browser.submit(consent, 'approve'))
  const signIn = await browser.submit(consent, 'approve')
  await whileAway(() => signInAs(browser, signIn, 'Alice'))
  expect(await redeemed(to, (await signInAs(browser, signIn, 'Alice')).left)).toHaveProperty('access_token')
})

test('when an answer of the store is lost at any step, the person tries again and gets through', async () => {
  for (let lost = 1; lost <= 8; lost++) {
    const { store, state } = fragile()
    const to = await personServer({ store })
    await to.addClient({ id: 'app' })
    const browser = to.browser()
    const signIn = await browser.submit(await browser.open(authorizeUrl(to)), 'approve')
    let page = signIn
    state.loseAnswers = lost
    for (let attempt = 0; attempt < 12 && !page.left; attempt++) page = await signInAs(browser, signIn, 'Alice')
    expect(await redeemed(to, page.left)).toHaveProperty('access_token')
  }
})

test('what the composition can’t open is 503 for pages and for machines', async () => {
  const to = await personServer()
  const { createRoutes } = await import('../../../src/http/routes.ts')
  const routes = createRoutes({
    issuer: to.issuer,
    endpoints: to.server.endpoints,
    providerIds: ['local'],
    branding: {},
    logger: to.server.logger,
    open: () => Promise.reject(new Error('secret detail')),
  })
  const page = await routes.respond(new Request(authorizeUrl(to)))
  expect([page?.status, page?.headers.get('content-type')]).toEqual([503, 'text/html; charset=utf-8'])
  expect(await page?.text()).not.toContain('secret detail')
  const json = await routes.respond(new Request(`${to.issuer}/token`, { method: 'POST' }))
  expect([json?.status, json?.headers.get('retry-after')]).toEqual([503, '5'])
  expect(await json?.json()).toMatchObject({ error: 'temporarily_unavailable' })
})

test('other paths are none of ours, and methods that make no sense are 405 with Allow', async () => {
  const to = await personServer()
  await to.addClient({ id: 'app' })
  const respond = (path: string, method: string) => to.routes.respond(new Request(to.issuer + path, { method }))
  for (const path of ['/', '/mcp', '/authorize/', '/authorize/nothing', '/Authorize', '/authorize/callback/local/x']) {
    expect(await respond(path, 'GET'), path).toBeUndefined()
    expect(to.routes.handles(path)).toBe(false)
  }
  for (const [path, allow] of [
    ['/authorize', 'GET, HEAD, OPTIONS'],
    ['/authorize/consent', 'GET, HEAD, POST, OPTIONS'],
    ['/authorize/sign-in', 'GET, HEAD, POST, OPTIONS'],
  ] as const) {
    expect(to.routes.handles(path)).toBe(true)
    for (const method of ['DELETE', 'PUT', 'PATCH']) {
      const response = await respond(path, method)
      expect([response?.status, response?.headers.get('allow')]).toEqual([405, allow])
    }
    const options = await respond(path, 'OPTIONS')
    expect([options?.status, options?.headers.get('allow')]).toEqual([204, allow])
    expect(options?.headers.has('access-control-allow-origin')).toBe(false)
  }
  expect((await respond('/authorize', 'POST'))?.status).toBe(405)
})

test('who only looks (HEAD) begins nothing', async () => {
  const to = await personServer()
  await to.addClient({ id: 'app' })
  const response = await to.routes.respond(new Request(authorizeUrl(to), { method: 'HEAD' }))
  expect([response?.status, await response?.text(), response?.headers.getSetCookie()]).toEqual([200, '', []])
  expect(to.events.filter(({ type }) => type === 'authorization.requested')).toEqual([])
})

test('any query at any page: never a 5xx', async () => {
  const to = await personServer()
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  await browser.open(authorizeUrl(to))
  for (const path of ['/authorize', '/authorize/consent', '/authorize/sign-in', '/authorize/callback/local']) {
    for (const query of [
      '?%',
      '?%00',
      '?interaction=%ff',
      '?=&&=',
      '?state=%ff.%ff',
      `?${'a=1&'.repeat(3000)}`,
      '?client_id=%f0%28&x=\u{1f600}',
    ]) {
      const page = await browser.open(to.issuer + path + query)
      expect(page.status, path + query).toBeLessThan(500)
    }
  }
  expect(to.trouble).toEqual([])
})
