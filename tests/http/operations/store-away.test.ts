import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { StoreUnavailable } from '../../../src/index.ts'
import { endpointsBelow } from '../../../src/server-context.ts'
import type { Provider } from '../../../src/upstream/provider.ts'
import {
  createTarget,
  credentials,
  elsewhere,
  ISSUER,
  passwords,
  RESOURCE,
  verifier,
  WEB,
} from '../../attacks/support/target.ts'

// The store is out of reach for good requests of everybody: each is told 503 and to come again, and loses nothing by it.

/** A provider that tells of logouts. */
const telling: Provider = {
  ...elsewhere('one'),
  open: (context) => {
    const open = elsewhere('one').open(context)
    if (open.kind !== 'redirect') throw new TypeError('it redirects')
    return {
      ...open,
      readLogout: async () => ({
        ...{ issuer: 'https://one.example', sub: 'sub-Alice', jti: 'j', issuedAt: 1, expiresAt: 2 ** 40 },
      }),
    }
  },
}

const secret = randomBytes(32).toString('base64url')

const begun = async () => {
  const target = await createTarget({
    upstream: [passwords, telling],
    clients: [
      { id: 'machine', secret, scopes: { '/mcp': ['notes:read'] } },
      { id: 'api', secret, introspects: ['/mcp'], exchange: { serves: ['/mcp'], to: { '/other': ['other:read'] } } },
    ],
  })
  const signedIn = target.browser()
  const client = await target.register({ token_endpoint_auth_method: 'client_secret_post' })
  const registered = (await (
    await target.send(
      new Request(`${ISSUER}/register`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ redirect_uris: [WEB], token_endpoint_auth_method: 'none' }),
      }),
    )
  ).json()) as { client_id: string; registration_access_token: string }
  const local = async (browser = target.browser()) => {
    const choice = await browser.submit(await browser.open(target.authorizeUrl(client)), 'approve')
    return { browser, choice }
  }
  const { choice } = await local(signedIn)
  const end = await signedIn.submit(choice, undefined, { username: 'Alice', password: 'right' })
  const inHand = { code: end.left?.searchParams.get('code') ?? '', verifier, client }
  const tokens = (await target.redeem(inHand)).body
  const again = await local()
  const codeToRedeem = await again.browser.submit(again.choice, undefined, { username: 'Alice', password: 'right' })
  const waiting = { ...inHand, code: codeToRedeem.left?.searchParams.get('code') ?? '' }
  return { target, client, registered, signedIn, local, tokens, waiting }
}

describe('the store is away: 503 with Retry-After, no challenge, nothing of it on the wire', () => {
  test('at every endpoint, for requests that would be good; the probes say who is ready; then all goes on', async () => {
    const { target, client, registered, signedIn, local, tokens, waiting } = await begun()
    const { access_token: access = '', refresh_token: refresh = '' } = tokens
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' }
    const post = (path: string, body: Record<string, string>, headers: Record<string, string> = {}) =>
      target.send(
        new Request(ISSUER + path, {
          method: 'POST',
          body: new URLSearchParams(body),
          headers: { ...form, ...headers },
        }),
      )
    const own = credentials(client) as Record<string, string>
    const machine = { client_id: 'machine', client_secret: secret }
    const api = { client_id: 'api', client_secret: secret }
    const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
    const manage = (method: string, body?: object) =>
      target.send(
        new Request(`${ISSUER}/register?client_id=${registered.client_id}`, {
          method,
          headers: {
            Authorization: `Bearer ${registered.registration_access_token}`,
            ...(body ? { 'Content-Type': 'application/json' } : {}),
          },
          ...(body ? { body: JSON.stringify(body) } : {}),
        }),
      )
    const asked = new URLSearchParams(new URL(target.authorizeUrl(client)).search)

    const consent = target.browser()
    const consentPage = await consent.open(target.authorizeUrl(client))
    const choosing = await local()
    const upstream = await local()
    const sent = await upstream.browser.submit(upstream.choice, 'one')
    const state = sent.left?.searchParams.get('state') ?? ''
    expect(state).not.toBe('')
    const account = await signedIn.open(`${ISSUER}/authorize/account`)
    expect(account.text).toContain('Connected apps')
    const asPage = ({ status, headers, html }: { status: number; headers: Headers; html: string }) =>
      new Response(html, { status, headers })
    const page = async (visit: Promise<{ status: number; headers: Headers; html: string }>) => asPage(await visit)

    const requests: Readonly<Record<string, () => Promise<Response>>> = {
      register: () =>
        target.send(
          new Request(`${ISSUER}/register`, {
            method: 'POST',
            headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({ redirect_uris: [WEB] }),
          }),
        ),
      'register GET': () => manage('GET'),
      'register PUT': () => manage('PUT', { client_id: registered.client_id, redirect_uris: [WEB] }),
      'register DELETE': () => manage('DELETE'),
      'token code': () =>
        post('/token', {
          ...{
            grant_type: 'authorization_code',
            code: waiting.code,
            code_verifier: verifier,
            redirect_uri: WEB,
            ...own,
          },
        }),
      'token refresh': () => post('/token', { grant_type: 'refresh_token', refresh_token: refresh, ...own }),
      'token client': () => post('/token', { grant_type: 'client_credentials', resource: RESOURCE, ...machine }),
      'token exchange': () =>
        post('/token', {
          ...{ grant_type: exchange, subject_token: access, resource: `${ISSUER}/other`, scope: 'other:read' },
          ...{ subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', ...api },
        }),
      pushed: () => post('/par', { ...Object.fromEntries(asked), ...own }),
      'revoke refresh': () => post('/revoke', { token: refresh, ...own }),
      'revoke access': () => post('/revoke', { token: access, ...own }),
      'introspect access': () => post('/introspect', { token: access, ...api }),
      'introspect refresh': () => post('/introspect', { token: refresh, ...api }),
      authorize: () => page(target.browser().open(target.authorizeUrl(client))),
      'authorize signed in': () => page(signedIn.open(target.authorizeUrl(client))),
      'consent GET': () => page(consent.open(consentPage.url)),
      'consent POST': () => page(consent.submit(consentPage, 'approve')),
      'signIn GET': () => page(choosing.browser.open(choosing.choice.url)),
      'signIn POST password': () =>
        page(choosing.browser.submit(choosing.choice, undefined, { username: 'Alice', password: 'right' })),
      'signIn POST provider': () => page(choosing.browser.submit(choosing.choice, 'one')),
      'callback GET': () =>
        page(upstream.browser.open(`${ISSUER}/authorize/callback/one?code=Alice&state=${encodeURIComponent(state)}`)),
      'account GET': () => page(signedIn.open(`${ISSUER}/authorize/account`)),
      'account POST': () => page(signedIn.submit(account, 'sign_out')),
      'account GET of a stranger': () => page(target.browser().open(`${ISSUER}/authorize/account`)),
      logout: () => post('/authorize/logout/one', { logout_token: 'x' }),
      gate: () => target.call(access),
    }
    // Whoever adds an endpoint says here what becomes of it.
    const named = new Set(Object.keys(requests).map((name) => name.split(' ', 1)[0]))
    const { jwks, ...endpoints } = endpointsBelow(ISSUER)
    expect(Object.keys(endpoints).filter((name) => !named.has(name))).toEqual([])

    target.store.down = true
    // What is remembered may be said for as long as the bound of revocation lasts.
    await target.clock.pass(6_000)
    for (const [name, send] of Object.entries(requests)) {
      const response = await send()
      const text = await response.text()
      const { headers } = response
      expect([name, response.status, /^[1-9]\d*$/.test(headers.get('retry-after') ?? '')]).toEqual([name, 503, true])
      expect([name, headers.get('www-authenticate'), headers.get('cache-control')]).toEqual([name, null, 'no-store'])
      expect(text, name).not.toMatch(/StoreUnavailable|\bdown\b|\.ts:/)
      if (!headers.get('content-type')?.startsWith('text/html')) {
        expect([name, JSON.parse(text)]).toMatchObject([name, { error: 'temporarily_unavailable' }])
      }
    }
    const status = async (path: string) => (await target.send(new Request(ISSUER + path))).status
    expect([await status('/healthz'), await status('/readyz')]).toEqual([200, 503])
    expect([await status('/jwks'), await status('/.well-known/oauth-authorization-server')]).toEqual([200, 200])
    expect(jwks).toBe(`${ISSUER}/jwks`)

    const { auth } = target
    for (const [name, administer] of Object.entries({
      grants: () => auth.grants.list({ clientId: client.id }),
      revoke: () => auth.grants.revoke('x'.repeat(22)),
      clients: () => auth.clients.list(),
      deleteClient: () => auth.clients.delete(client.id),
      accounts: () => auth.accounts.list(),
      rotate: () => auth.keys.rotate(),
    })) {
      const outcome = await administer().then(
        () => 'answered',
        (error: unknown) => error,
      )
      expect([name, outcome]).toEqual([name, expect.any(StoreUnavailable)])
    }

    target.store.down = false
    for (const [name, send] of Object.entries(requests)) {
      if (['register DELETE', 'revoke refresh', 'revoke access', 'account POST', 'logout'].includes(name)) continue
      expect([name, (await send()).status < 400]).toEqual([name, true])
    }
    expect((await target.call(access)).status).toBe(200)
  })
})
