import { beforeAll, describe, expect, test } from 'vitest'
import { type AttackedClient, createTarget, ISSUER, LOOPBACK, type Target, WEB } from './support/target.ts'

// MCP security best practices (confused deputy, consent), RFC 8252 §8.6 (client impersonation).

let target: Target
let client: AttackedClient

beforeAll(async () => {
  target = await createTarget()
  client = await target.register({
    redirect_uris: [WEB, 'https://other.example.net/callback', LOOPBACK, 'com.example.app:/cb'],
  })
})

test('remembered consent lets this client pass, and gives exactly what was allowed', async () => {
  const browser = target.browser()
  await target.code(client, { browser })
  expect((await browser.open(target.authorizeUrl(client))).left?.searchParams.has('code')).toBe(true)
})

describe('with remembered consent and a session, the person is still asked', () => {
  test.each<[string, Record<string, string | undefined>]>([
    ['for a loopback address: any program can wait there', { redirect_uri: 'http://127.0.0.1:4444/callback' }],
    ['for a private-use scheme: any app can claim it', { redirect_uri: 'com.example.app:/cb' }],
    ['for another host of the same client', { redirect_uri: 'https://other.example.net/callback' }],
    ['for a scope more', { scope: 'notes:read notes:write' }],
    ['for another scope', { scope: 'notes:write' }],
    ['for another resource', { resource: `${ISSUER}/other`, scope: 'other:read' }],
    ['with prompt=consent', { prompt: 'consent' }],
    ['with prompt=login', { prompt: 'login' }],
    ['with prompt=select_account', { prompt: 'select_account' }],
    ['with max_age=0', { max_age: '0' }],
  ])('%s', async (_name, parameters) => {
    const browser = target.browser()
    await target.code(client, { browser })
    for (const redirect_uri of [LOOPBACK, 'com.example.app:/cb'])
      await target.code(client, { browser, parameters: { redirect_uri } })
    const visit = await browser.open(target.authorizeUrl(client, parameters))
    expect(visit.left).toBeUndefined()
    expect(visit.text).toContain('Allow')
    if (parameters.prompt) return
    // Nor can it be had in silence.
    const silent = await browser.open(target.authorizeUrl(client, { ...parameters, prompt: 'none', state: 's' }))
    expect(silent.left?.searchParams.has('code') ?? false).toBe(false)
  })

  test('for a client of the same name and address, and for another person in the same browser', async () => {
    const browser = target.browser()
    await target.code(client, { browser })
    const lookAlike = await target.register()
    expect((await browser.open(target.authorizeUrl(lookAlike))).text).toContain('Allow')
    const bob = target.browser()
    const page = await target.signIn(bob, target.authorizeUrl(await target.register()), 'Bob')
    expect(page.left?.searchParams.has('code')).toBe(true)
    expect((await bob.open(target.authorizeUrl(client))).text).toContain('Allow')
  })
})

test('allowed and declined at once, in two tabs: what is answered is what is remembered, whichever comes first', async () => {
  const denied = await createTarget()
  const app = await denied.register()
  const { store } = denied
  const { commit } = store
  /** Before the grant is written. */
  const meanwhile = (run: () => Promise<unknown>) => {
    store.commit = async (batch) => {
      if (!batch.sets?.some(({ key }) => key.startsWith('grant/'))) return commit(batch)
      store.commit = commit
      await run()
      return commit(batch)
    }
  }
  const browser = denied.browser()
  await denied.code(await denied.register(), { browser })
  const page = await browser.open(denied.authorizeUrl(app))
  let declined: Awaited<ReturnType<typeof browser.submit>> | undefined
  meanwhile(async () => {
    declined = await browser.submit(page, 'deny')
  })
  const answers = [await browser.submit(page, 'approve'), declined]
  for (const answer of answers) expect(answer?.left?.searchParams.get('error')).toBe('access_denied')
  expect(denied.events.filter(({ type }) => type === 'code.issued')).toHaveLength(1)
  expect((await browser.open(denied.authorizeUrl(app))).text).toContain('Allow')

  // The same button twice gives one code.
  const again = await browser.open(denied.authorizeUrl(app))
  let other: typeof declined
  meanwhile(async () => {
    other = await browser.submit(again, 'approve')
  })
  const codes = [await browser.submit(again, 'approve'), other].map((answer) => answer?.left?.searchParams.get('code'))
  expect(codes[0]).toMatch(/^cs_ac_/)
  expect(codes[1]).toBe(codes[0])
  expect(denied.events.filter(({ type }) => type === 'code.issued')).toHaveLength(2)
  expect((await browser.open(denied.authorizeUrl(app))).left?.searchParams.has('code')).toBe(true)
})

test('prompt=none without a session, or without consent, is an error and never a page that can be clicked', async () => {
  const fresh = await target.register({ redirect_uris: [LOOPBACK] })
  const { left } = await target.browser().open(target.authorizeUrl(fresh, { prompt: 'none' }))
  expect(left?.searchParams.get('error')).toBe('login_required')
  const browser = target.browser()
  await target.code(client, { browser })
  const consent = await browser.open(target.authorizeUrl(fresh, { prompt: 'none' }))
  expect(consent.left?.searchParams.get('error')).toBe('consent_required')
  for (const prompt of ['none login', 'none consent', 'login none']) {
    const visit = await browser.open(target.authorizeUrl(fresh, { prompt }))
    expect(visit.left?.searchParams.get('error')).toBe('invalid_request')
  }
})

describe('scope smuggling', () => {
  const smuggled = [
    'notes:write',
    'other:read',
    'notes:read notes:write',
    'admin',
    '*',
    '',
    'offline_access',
    '__proto__',
  ]

  test('a form grants nothing that the request did not ask for', async () => {
    const browser = target.browser()
    const page = await browser.open(target.authorizeUrl(client, { scope: 'notes:read' }))
    const [action, body] = browser.filled(page, 'approve')
    for (const scope of smuggled) body.append('scope', scope)
    body.append('resource', `${ISSUER}/other`)
    body.append('client_id', 'other')
    body.append('redirect_uri', 'https://evil.example/')
    const next = await browser.post(page.url, action, body)
    const { left } = await browser.submit(next, undefined, { username: 'Alice', password: 'right' })
    expect(left?.origin).toBe('https://app.example.net')
    const code = left?.searchParams.get('code') ?? ''
    const { body: tokens } = await target.redeem({
      code,
      client,
      verifier: 'a-verifier-that-is-long-enough-for-the-rules-of-pkce-0987654321',
    })
    expect(tokens.scope).toBe('notes:read')
    expect((await (await target.call(tokens.access_token)).json()).scopes).toEqual(['notes:read'])
  })

  test('neither a token request nor a refresh widens it', async () => {
    const tokens = await target.tokens(client)
    for (const scope of ['notes:read notes:write', 'notes:write', 'other:read', '*']) {
      const answer = await target.refresh(client, tokens.refresh_token, { scope })
      expect([scope, answer.status, answer.body.error]).toEqual([scope, 400, 'invalid_scope'])
    }
    const inHand = await target.code(client)
    const { body } = await target.redeem(inHand, { scope: 'notes:read notes:write' })
    expect(body.scope).toBe('notes:read')
  })

  test('scopes of Object.prototype are scopes of nobody', async () => {
    const page = await target
      .browser()
      .open(target.authorizeUrl(client, { scope: 'constructor toString __proto__ hasOwnProperty' }))
    const offered = page.forms.flatMap(({ fields }) =>
      fields.filter(({ name }) => name === 'scope').map(({ value }) => value),
    )
    // None of them is known, so the default set is asked for.
    expect(offered).toEqual(['notes:read'])
  })
})

describe('another account between the pages', () => {
  test('two tabs: approved as Alice, signed in as Bob in between: nothing is granted for Bob unseen', async () => {
    const browser = target.browser()
    await target.code(client, { browser, who: 'Alice' })
    const page = await browser.open(target.authorizeUrl(client, { prompt: 'consent' }))
    expect(page.text).toContain('Alice')
    const asked = await browser.submit(await browser.open(target.authorizeUrl(client, { prompt: 'login' })), 'approve')
    const doubted = await browser.submit(asked, undefined, { username: 'Bob', password: 'right' })
    expect(doubted.text).toContain('Continue as Bob?')
    expect((await browser.submit(doubted, 'continue')).left?.searchParams.has('code')).toBe(true)
    const after = await browser.submit(page, 'approve')
    expect(after.left).toBeUndefined()
    expect(after.html).not.toContain('cs_ac_')
  })

  test('a browser session that was swapped after the page was made', async () => {
    const alice = target.browser()
    const bob = target.browser()
    await target.code(client, { browser: alice, who: 'Alice' })
    await target.code(client, { browser: bob, who: 'Bob' })
    const page = await alice.open(target.authorizeUrl(client, { prompt: 'consent' }))
    for (const [name, cookie] of bob.cookies) if (name.endsWith('-session')) alice.cookies.set(name, cookie)
    const after = await alice.submit(page, 'approve')
    expect(after.left).toBeUndefined()
    expect(after.html).not.toContain('cs_ac_')
  })

  test('an older page of the same request, after a newer one showed somebody else', async () => {
    const browser = target.browser()
    const bob = target.browser()
    await target.code(client, { browser, who: 'Alice' })
    await target.code(client, { browser: bob, who: 'Bob' })
    const page = await browser.open(target.authorizeUrl(client, { prompt: 'consent' }))
    for (const [name, cookie] of bob.cookies) if (name.endsWith('-session')) browser.cookies.set(name, cookie)
    expect((await browser.open(page.url)).text).toContain('As Bob')
    const after = await browser.submit(page, 'approve')
    expect([after.left, after.text.includes('As Bob')]).toEqual([undefined, true])
  })

  test('“Not you?” takes an approval back: who signs in then is asked again', async () => {
    const browser = target.browser()
    await target.code(client, { browser, who: 'Alice' })
    const page = await browser.open(target.authorizeUrl(client, { prompt: 'login' }))
    const signIn = await browser.submit(page, 'approve')
    expect(signIn.text).toContain('Password')
    await browser.submit(page, 'switch')
    const after = await browser.submit(signIn, undefined, { username: 'Bob', password: 'right' })
    expect(after.left).toBeUndefined()
    expect(after.html).not.toContain('cs_ac_')
  })

  test('races: two tabs with two accounts at once; each code is for who its page showed', async () => {
    for (let round = 0; round < 5; round++) {
      const browser = target.browser()
      await target.code(client, { browser, who: 'Alice' })
      const page = await browser.open(target.authorizeUrl(client, { prompt: 'consent' }))
      const signingIn = await browser.submit(
        await browser.open(target.authorizeUrl(client, { prompt: 'login' })),
        'approve',
      )
      const [first, second] = await Promise.all([
        browser.submit(page, 'approve'),
        browser.submit(signingIn, undefined, { username: 'Bob', password: 'right' }),
      ])
      // Bob's tab was approved for Alice: he must be asked. Alice's gave a code for Alice, or none.
      expect(second.left?.searchParams.has('code') ?? false).toBe(false)
      const code = first.left?.searchParams.get('code')
      if (!code) continue
      const { body } = await target.redeem({
        code,
        client,
        verifier: 'a-verifier-that-is-long-enough-for-the-rules-of-pkce-0987654321',
      })
      const seen = await (await target.call(body.access_token)).json()
      expect(seen.upstream.claims.name).toBe('Alice')
    }
  })
})
