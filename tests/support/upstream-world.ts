import { createHash, randomBytes } from 'node:crypto'
import type { AuditEvent } from '../../src/events/audit.ts'
import { type ClientOptions, countersign, requireUser } from '../../src/index.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import type { Provider } from '../../src/upstream/provider.ts'
import { movable } from '../store/movable-clock.ts'
import { TestBrowser, type Visit } from './browser.ts'

export const worldUrl = 'http://localhost:8787'

export interface WorldOptions {
  /** Nodes of one cluster share both. */
  readonly clock?: ReturnType<typeof movable>
  readonly store?: Store
  readonly fetch?: typeof fetch
  readonly tokenClaims?: readonly string[]
  readonly clients?: readonly ClientOptions[]
  /** Providers where nobody signs in. */
  readonly others?: readonly Provider<unknown>[]
}

export interface Connected {
  readonly client: Readonly<Record<string, string>>
  readonly accessToken: string
  readonly refreshToken: string
  /** Seconds. */
  readonly expiresIn: number
}

export interface Refreshed {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, string>> & { readonly expires_in?: number }
}

/** How a person gets through the provider's pages: from the authorization request there to the callback. */
export type AtProvider = (url: string) => Promise<string>

export type World = ReturnType<typeof upstreamWorld>

/** A server of one resource whose people sign in at a provider, as its clients and its handler see it: by HTTP messages alone. */
export const upstreamWorld = (provider: Provider<unknown>, options: WorldOptions = {}) => {
  const clock = options.clock ?? movable()
  const store = options.store ?? memory({ clock })
  const events: AuditEvent[] = []
  const auth = countersign({
    url: worldUrl,
    secret: 'a secret of these tests that is long enough',
    store,
    clock,
    upstream: (options.others ? [provider, ...options.others] : provider) as Provider,
    ...(options.fetch ? { fetch: options.fetch } : {}),
    tokenClaims: options.tokenClaims ?? ['email'],
    audit: (event) => void events.push(event),
    registration: { perAddress: 10_000, total: 10_000 },
    ...(options.clients ? { clients: options.clients } : {}),
    resources: { '/mcp': { scopes: { read: 'Read', write: 'Write' } }, '/other': { scopes: { look: 'Look' } } },
  })
  const handler = auth.gate('/mcp', () => Response.json(requireUser(auth)))

  const respond = async (path: string, body: URLSearchParams | string): Promise<Response> => {
    const headers = typeof body === 'string' ? { 'content-type': 'application/json' } : {}
    const response = await auth.respond(new Request(`${worldUrl}${path}`, { method: 'POST', headers, body }))
    if (!response) throw new Error(`nothing at ${path}`)
    return response
  }
  const post = async (path: string, body: URLSearchParams | string) =>
    (await (await respond(path, body)).json()) as Record<string, string>

  const call = (token: string): Promise<Response> =>
    handler(
      new Request(`${worldUrl}/mcp`, {
        headers: { authorization: `Bearer ${token}`, accept: 'application/json, text/event-stream' },
      }),
    )
  const whoami = async (token: string) => (await (await call(token)).json()) as Record<string, unknown>

  const redirectUri = 'http://127.0.0.1:9/callback'
  const newBrowser = () => new TestBrowser((request) => auth.respond(request), worldUrl)

  /** From a new client's authorization request to what our server says after the provider's. */
  const arrive = async (atProvider: AtProvider, { browser = newBrowser(), scope = 'read' } = {}) => {
    const client = await post('/register', JSON.stringify({ redirect_uris: [redirectUri], client_name: 'Test' }))
    const verifier = randomBytes(32).toString('base64url')
    const query = new URLSearchParams({
      response_type: 'code',
      client_id: client.client_id ?? '',
      redirect_uri: redirectUri,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      scope,
      resource: `${worldUrl}/mcp`,
      state: 'a state',
    })
    let visit: Visit = await browser.open(`${worldUrl}/authorize?${query}`)
    if (visit.forms.some(({ buttons }) => buttons.some(({ value }) => value === 'approve'))) {
      visit = await browser.submit(visit, 'approve')
    }
    if (visit.forms.some(({ buttons }) => buttons.some(({ value }) => value === provider.id))) {
      visit = await browser.submit(visit, provider.id)
    }
    if (visit.left && visit.left.origin !== new URL(redirectUri).origin) {
      visit = await browser.open(await atProvider(visit.left.href))
    }
    return { client, verifier, visit, browser }
  }

  const connect = async (atProvider: AtProvider, more: Parameters<typeof arrive>[1] = {}): Promise<Connected> => {
    const { client, verifier, visit } = await arrive(atProvider, more)
    const code = visit.left?.searchParams.get('code')
    if (!code) throw new Error(`no code: ${visit.url} ${visit.text}`)
    const form = { grant_type: 'authorization_code', code, redirect_uri: redirectUri, code_verifier: verifier }
    const credentials = {
      client_id: client.client_id ?? '',
      ...(client.client_secret ? { client_secret: client.client_secret } : {}),
    }
    const tokens = await post('/token', new URLSearchParams({ ...credentials, ...form }))
    if (!tokens.access_token) throw new Error(JSON.stringify(tokens))
    return {
      client: credentials,
      accessToken: tokens.access_token,
      refreshToken: tokens.refresh_token ?? '',
      expiresIn: Number(tokens.expires_in),
    }
  }

  const refresh = async ({ client, refreshToken }: Connected): Promise<Refreshed> => {
    const form = new URLSearchParams({ ...client, grant_type: 'refresh_token', refresh_token: refreshToken })
    const response = await respond('/token', form)
    return { status: response.status, headers: response.headers, body: await response.json() }
  }

  const types = () => events.map(({ type }) => type)
  return { auth, clock, store, events, types, respond, post, call, whoami, newBrowser, arrive, connect, refresh }
}
