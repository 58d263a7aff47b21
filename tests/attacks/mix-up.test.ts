import { beforeAll, expect, test } from 'vitest'
import type { TestBrowser, Visit } from '../support/browser.ts'
import { type AttackedClient, createTarget, elsewhere, ISSUER, passwords, type Target } from './support/target.ts'

// RFC 9700 §4.4 (mix-up), §4.7 (login CSRF), MCP security best practices (OAuth proxies, state).

let target: Target
let client: AttackedClient

beforeAll(async () => {
  target = await createTarget({ upstream: [elsewhere('a'), elsewhere('b'), passwords] })
  client = await target.register()
})

/** Up to the provider, with the state that it was given. */
const askedAt = async (provider: string, browser: TestBrowser): Promise<{ state: string; page: Visit }> => {
  const consent = await browser.open(target.authorizeUrl(client))
  const page = await browser.submit(consent, 'approve')
  const { left } = await browser.submit(page, provider)
  return { state: left?.searchParams.get('state') ?? '', page }
}

const answer = (browser: TestBrowser, provider: string, parameters: Record<string, string>): Promise<Visit> =>
  browser.open(`${ISSUER}/authorize/callback/${provider}?${new URLSearchParams(parameters)}`)

test('the honest way works', async () => {
  const browser = target.browser()
  const { state } = await askedAt('a', browser)
  const { left } = await answer(browser, 'a', { state, code: 'Alice' })
  expect(left?.searchParams.get('code')).toMatch(/^cs_ac_/)
  expect(left?.searchParams.get('iss')).toBe(ISSUER)
})

test('mix-up: what provider A answers counts at no other provider’s callback', async () => {
  const browser = target.browser()
  const { state } = await askedAt('a', browser)
  for (const provider of ['b', 'local', 'unknown', 'A', 'a/', 'a%2f..%2fb']) {
    const url = `${ISSUER}/authorize/callback/${provider}?${new URLSearchParams({ state, code: 'Alice' })}`
    const response = await target.send(new Request(url, { headers: { cookie: browser.cookieHeader } }))
    expect([provider, [400, 404].includes(response.status)]).toEqual([provider, true])
    expect(response.headers.get('location')).toBeNull()
  }
  // And the honest answer still counts.
  expect((await answer(browser, 'a', { state, code: 'Alice' })).left?.searchParams.has('code')).toBe(true)
})

test('a provider that was asked first can’t answer for the one that was asked then', async () => {
  const browser = target.browser()
  const first = await askedAt('a', browser)
  const { left } = await browser.submit(first.page, 'b')
  const second = left?.searchParams.get('state') ?? ''
  expect((await answer(browser, 'a', { state: second, code: 'Mallory' })).left).toBeUndefined()
  expect((await answer(browser, 'b', { state: first.state, code: 'Mallory' })).left).toBeUndefined()
})

test('login CSRF: an attacker’s answer of a provider signs nobody in in another browser', async () => {
  const attacker = target.browser()
  const { state } = await askedAt('a', attacker)
  const victim = target.browser()
  await victim.open(target.authorizeUrl(client))
  const before = victim.cookieHeader
  const visit = await answer(victim, 'a', { state, code: 'Mallory' })
  expect([visit.status, visit.left, victim.cookieHeader]).toEqual([403, undefined, before])
})

test('what an attacker approved is not finished by a victim who follows the link to the provider', async () => {
  const attacker = target.browser()
  const { state } = await askedAt('a', attacker)
  const victim = target.browser()
  const visit = await answer(victim, 'a', { state, code: 'Alice' })
  expect([visit.status, visit.left]).toEqual([403, undefined])
  expect(visit.html).not.toContain('cs_ac_')
  // Nor has the attacker anything of the victim's answer.
  const page = await attacker.open(`${ISSUER}/authorize/consent?interaction=${state.split('.')[0]}`)
  expect(page.text).not.toContain('Alice')
})

test('states that were guessed, shortened, repeated or are of another interaction', async () => {
  const browser = target.browser()
  const { state } = await askedAt('a', browser)
  const other = await askedAt('a', browser)
  const [id = '', secret = ''] = state.split('.')
  const [otherId = ''] = other.state.split('.')
  const states = [
    '',
    id,
    `${id}.`,
    `.${secret}`,
    `${otherId}.${secret}`,
    `${state}x`,
    state.slice(0, -1),
    `${state}.`,
    state.toUpperCase(),
  ]
  for (const wrong of states) {
    const visit = await answer(browser, 'a', { state: wrong, code: 'Alice' })
    expect([wrong, visit.left, visit.status < 500]).toEqual([wrong, undefined, true])
  }
  const twice = await browser.open(`${ISSUER}/authorize/callback/a?state=${state}&state=${other.state}&code=Alice`)
  expect([twice.status, twice.left]).toEqual([400, undefined])
})
