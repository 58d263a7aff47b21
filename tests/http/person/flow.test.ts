import { decodeJwt } from 'jose'
import { expect, test } from 'vitest'
import { authorizeUrl, personServer, redeemed, signInAs, webRedirect } from '../../support/person.ts'

test('from the request through consent and sign-in to a code that can be redeemed', async () => {
  const to = await personServer()
  await to.addClient({ id: 'app' })
  const browser = to.browser()
  const consent = await browser.open(authorizeUrl(to))
  expect(consent.status).toBe(200)
  expect(consent.text).toContain('Allow Test App to use Notes?')
  const signIn = await browser.submit(consent, 'approve')
  expect(signIn.text).toContain('Sign in')
  const { left } = await signInAs(browser, signIn, 'Alice')
  expect(left?.href.split('?')[0]).toBe(webRedirect)
  expect(Object.fromEntries(left?.searchParams ?? [])).toEqual({
    code: expect.stringMatching(/^cs_ac_/),
    state: 'a state',
    iss: to.issuer,
  })
  const tokens = await redeemed(to, left)
  const payload = decodeJwt(String(tokens.access_token))
  expect(payload).toMatchObject({ iss: to.issuer, client_id: 'app', scope: 'notes:read notes:write' })
  expect(payload.upstream_claims).toMatchObject({ sub: 'subject-of-Alice' })
  expect(to.trouble).toEqual([])
})
