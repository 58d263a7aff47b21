import { beforeEach, describe, expect, test } from 'vitest'
import {
  type AttackedClient,
  createTarget,
  credentials,
  RESOURCE,
  type Target,
  tokensIn,
  WEB,
} from './support/target.ts'

// RFC 6749 §10.6 and RFC 9700 §4.1: an address that a client no longer has is somebody else's, perhaps. RFC 8693 §4.4.

const lapsed = 'https://lapsed.example/callback'

describe('attack: a redirect URI that was taken from its client', () => {
  let target: Target
  let client: AttackedClient

  beforeEach(async () => {
    target = await createTarget()
    const { id } = await target.auth.clients.create({ redirectUris: [WEB, lapsed], confidential: false })
    client = { id, redirectUri: lapsed }
  })

  const takeAway = () => target.auth.clients.update(client.id, { redirectUris: [WEB] })

  test.each(['approve', 'deny'])('while the person looks at the page: %s leads nowhere', async (decision) => {
    const browser = target.browser()
    // Somebody who is signed in: for who is not, the provider comes in between.
    await target.code({ ...client, redirectUri: WEB }, { browser })
    const page = await browser.open(target.authorizeUrl(client, { prompt: 'consent' }))
    expect(page.status).toBe(200)
    await takeAway()
    const after = await browser.submit(page, decision)
    expect([after.status, after.left]).toEqual([400, undefined])
    expect(target.events.at(-1)).toMatchObject({ reason: 'the redirect_uri has gone', clientId: client.id })
    expect(target.events.filter(({ type }) => type === 'code.issued')).toHaveLength(1)
  })

  test('while the person signs in', async () => {
    const browser = target.browser()
    const consent = await browser.open(target.authorizeUrl(client))
    const signIn = await browser.submit(consent, 'approve')
    await takeAway()
    const after = await browser.submit(signIn, undefined, { username: 'Alice', password: 'right' })
    expect([after.status, after.left]).toEqual([400, undefined])
    expect(target.events.filter(({ type }) => type === 'code.issued')).toEqual([])
  })

  test('a code that was sent there before is worth nothing', async () => {
    const inHand = await target.code(client)
    await takeAway()
    const answer = await target.redeem(inHand)
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant'])
    expect(tokensIn(answer)).toEqual([])
    expect(target.events.at(-1)).toMatchObject({ type: 'code.refused', reason: 'redirect_uri_gone' })
    // And back again: failing changed nothing.
    await target.auth.clients.update(client.id, { redirectUris: [lapsed] })
    expect((await target.redeem(inHand)).status).toBe(200)
  })
})

test('attack: who was the one that may act for a client’s people, and is no more, with a token of before', async () => {
  const target = await createTarget()
  const { clients } = target.auth
  const created = await clients.create({ scopes: { '/mcp': ['notes:read'] }, exchange: {} })
  const agent = { id: created.id, secret: created.secret ?? '', redirectUri: WEB }
  const settings = { redirectUris: [WEB], confidential: false }
  const { id } = await clients.create({ ...settings, mayAct: agent.id })
  const { access_token: token } = await target.tokens({ id, redirectUri: WEB })
  const accessToken = 'urn:ietf:params:oauth:token-type:access_token'
  const exchange = () =>
    target.post('/token', {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      ...{ subject_token: token, subject_token_type: accessToken, resource: RESOURCE },
      ...credentials(agent),
    })
  expect((await exchange()).status).toBe(200)
  await clients.update(id, settings)
  const answer = await exchange()
  expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
  expect(tokensIn(answer)).toEqual([])
  expect(target.events.at(-1)).toMatchObject({ type: 'exchange.refused', reason: 'not_permitted', clientId: agent.id })
  // The person's own client goes on.
  expect((await target.call(token)).status).toBe(200)
})
