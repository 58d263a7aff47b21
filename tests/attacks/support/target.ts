import { createHash, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { type Countersign, countersign } from '../../../src/countersign.ts'
import type { AuditEvent } from '../../../src/events/audit.ts'
import type { AuditLog } from '../../../src/events/audit-log.ts'
import type { JsonObject } from '../../../src/identity/json.ts'
import type { Options } from '../../../src/options.ts'
import type { HandlerContext } from '../../../src/resource-server/handler.ts'
import { memory } from '../../../src/store/memory.ts'
import type { Store } from '../../../src/store/store.ts'
import { type Provider, SignInRefused } from '../../../src/upstream/provider.ts'
import { movable } from '../../store/movable-clock.ts'
import { TestBrowser, type Visit } from '../../support/browser.ts'
import { type UnreliableStore, unreliable } from '../../support/unreliable-store.ts'

// What is attacked: a whole server in this process, as a host composes it, with providers that are cheap and honest.

export const ISSUER = 'https://auth.example.com'
export const RESOURCE = `${ISSUER}/mcp`
export const OTHER_RESOURCE = `${ISSUER}/other`
export const WEB = 'https://app.example.net/callback'
export const LOOPBACK = 'http://127.0.0.1/callback'

/** Secrets that the providers hand out: none may show up anywhere. */
export const upstreamSecrets = {
  accessToken: 'upstream-access-token-0123456789',
  refreshToken: 'upstream-refresh-token-012345',
}

const said = (name: string, at: number) => [
  { source: 'account' as const, at, claims: { name, email: `${name}@example.org`.toLowerCase() } },
]

/** Alice and Bob, whose password is `right`. */
export const passwords: Provider = {
  id: 'local',
  name: 'Example account',
  open: ({ clock, issuer }) => ({
    kind: 'password',
    async signIn(username, password) {
      if (!['Alice', 'Bob', 'Mallory'].includes(username) || password !== 'right')
        throw new SignInRefused('credentials')
      const at = clock.now()
      return { issuer, subject: `local-${username}`, authTime: Math.floor(at / 1000), said: said(username, at) }
    },
  }),
}

/** A provider elsewhere: the `code` that comes back says who signed in. */
export const elsewhere = (id: string): Provider => ({
  id,
  name: `Provider ${id}`,
  open: ({ clock }) => ({
    kind: 'redirect',
    async begin({ state }) {
      return { url: `https://${id}.example/authorize?state=${state}`, pending: { state } }
    },
    async complete(callback, pending) {
      if (callback.searchParams.get('state') !== pending.state) throw new SignInRefused('untrusted')
      const at = clock.now()
      const name = callback.searchParams.get('code') ?? ''
      return {
        issuer: `https://${id}.example`,
        subject: `sub-${name}`,
        authTime: Math.floor(at / 1000),
        said: said(name, at),
        tokens: upstreamSecrets,
      }
    },
  }),
})

export interface AttackedClient {
  readonly id: string
  readonly secret?: string
  readonly redirectUri: string
}

export interface CodeInHand {
  readonly code: string
  readonly verifier: string
  readonly client: AttackedClient
}

export interface TokensInHand {
  readonly access_token: string
  readonly refresh_token: string
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>> & Partial<TokensInHand>
}

export type Form = Readonly<Record<string, string | readonly string[] | undefined>>

export interface Target {
  readonly auth: Countersign
  readonly store: UnreliableStore
  readonly clock: ReturnType<typeof movable>
  readonly events: AuditEvent[]
  /** All that was logged, as a logger that shows everything would write it. */
  readonly log: string[]
  /** Calls that reached the handler behind the gate. */
  readonly reached: { readonly method: string; readonly parsedBody: unknown; readonly context: HandlerContext }[]
  send(request: Request, from?: string): Promise<Response>
  browser(from?: string): TestBrowser
  register(metadata?: JsonObject): Promise<AttackedClient>
  authorizeUrl(client: AttackedClient, parameters?: Form): string
  /** From the request to the code, by consent and sign-in with a password. */
  code(
    client: AttackedClient,
    options?: { who?: string; browser?: TestBrowser; parameters?: Form },
  ): Promise<CodeInHand>
  post(path: string, form: Form | string, headers?: Record<string, string>): Promise<Answer>
  redeem(inHand: CodeInHand, changes?: Form, headers?: Record<string, string>): Promise<Answer>
  tokens(client: AttackedClient, options?: { who?: string; parameters?: Form }): Promise<TokensInHand>
  refresh(client: AttackedClient, token: string, changes?: Form): Promise<Answer>
  /** The status that the gate, or the handler behind it (200), answers. */
  call(token: string | undefined, init?: RequestInit, path?: '/mcp' | '/other'): Promise<Response>
  signIn(browser: TestBrowser, url: string, who?: string): Promise<Visit>
}

/** Of the requests of `authorizeUrl`. */
export const verifier = 'a-verifier-that-is-long-enough-for-the-rules-of-pkce-0987654321'
export const challengeOf = (text: string): string => createHash('sha256').update(text).digest('base64url')

export const credentials = ({ id, secret }: AttackedClient): Form =>
  secret === undefined ? { client_id: id } : { client_id: id, client_secret: secret }

export const encode = (form: Form): URLSearchParams => {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(form)) {
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) body.append(name, one)
  }
  return body
}

export const createTarget = async (
  options: Partial<Options<unknown>> & {
    readonly engine?: (clock: ReturnType<typeof movable>) => Store
    /** Keeps the events, too. */
    readonly auditLog?: AuditLog
  } = {},
): Promise<Target> => {
  const { engine, auditLog, ...over } = options
  const clock = movable()
  // The composition refuses a store that ends with the process for an https address; here that is what is wanted.
  const store = unreliable({ ...(engine?.(clock) ?? memory({ clock })), location: { kind: 'server' } })
  const events: AuditEvent[] = []
  const log: string[] = []
  const note = (message: string, details?: object) =>
    void log.push(
      `${message} ${inspect(details, { depth: 10, showHidden: false, maxArrayLength: null, maxStringLength: null })}`,
    )
  const auth = countersign<unknown>({
    url: ISSUER,
    secret: randomBytes(32).toString('base64url'),
    clock,
    store,
    audit: [(event) => void events.push(event), ...(auditLog ? [auditLog] : [])],
    logger: { debug: note, info: note, warn: note, error: note },
    upstream: passwords,
    // Nothing here may ask other servers; where it is what is attacked, the test says so.
    clientMetadataDocuments: false,
    resources: {
      '/mcp': {
        name: 'Notes',
        scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' },
        defaultScopes: ['notes:read'],
        tools: { notes_add: ['notes:write'] },
      },
      '/other': { scopes: { 'other:read': 'Read the others' } },
    },
    ...over,
  }) as Countersign

  const reached: Target['reached'] = []
  const handler = async (request: Request, context: HandlerContext) => {
    reached.push({ method: request.method, parsedBody: context.parsedBody, context })
    return Response.json({ ...context.accessToken })
  }
  const gates = {
    '/mcp': auth.gate('/mcp', handler),
    '/other': over.resources ? undefined : auth.gate('/other', handler),
  }

  const send: Target['send'] = async (request, from = '192.0.2.1') =>
    (await auth.respond(request, { remoteAddress: from })) ?? new Response(null, { status: 404 })
  const signIn: Target['signIn'] = async (browser, url, who = 'Alice') => {
    let page = await browser.open(url)
    for (let step = 0; !page.left && page.status === 200 && step < 4; step++) {
      const password = page.forms.some(({ fields }) => fields.some(({ name }) => name === 'password'))
      page = password
        ? await browser.submit(page, undefined, { username: who, password: 'right' })
        : await browser.submit(page, 'approve')
    }
    return page
  }

  const target: Target = {
    auth,
    store,
    clock,
    events,
    log,
    reached,
    send,
    browser: (from) => new TestBrowser((request) => send(request, from), ISSUER),
    async register(metadata = {}) {
      const body = { redirect_uris: [WEB], token_endpoint_auth_method: 'none', client_name: 'App', ...metadata }
      const response = await send(
        new Request(`${ISSUER}/register`, {
          method: 'POST',
          body: JSON.stringify(body),
          headers: { 'Content-Type': 'application/json' },
        }),
      )
      const answer = (await response.json()) as Record<string, string>
      if (response.status !== 201) throw new Error(`not registered: ${JSON.stringify(answer)}`)
      const { client_id: id = '', client_secret: secret } = answer
      const redirectUri = String(body.redirect_uris[0])
      return { id, redirectUri, ...(secret === undefined ? {} : { secret }) }
    },
    authorizeUrl: (client, parameters = {}) =>
      `${ISSUER}/authorize?${encode({
        response_type: 'code',
        client_id: client.id,
        redirect_uri: client.redirectUri,
        code_challenge: challengeOf(verifier),
        code_challenge_method: 'S256',
        scope: 'notes:read',
        resource: RESOURCE,
        state: 'a state',
        ...parameters,
      })}`,
    signIn,
    async code(client, { who, browser = target.browser(), parameters } = {}) {
      const { left, text } = await signIn(browser, target.authorizeUrl(client, parameters), who)
      const code = left?.searchParams.get('code')
      if (!code) throw new Error(`no code: ${left?.href} ${text}`)
      return { code, verifier, client }
    },
    async post(path, form, headers = {}) {
      const body = typeof form === 'string' ? form : encode(form).toString()
      const response = await send(
        new Request(ISSUER + path, {
          method: 'POST',
          body,
          headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
        }),
      )
      const text = await response.text()
      return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
    },
    redeem: ({ code, client, verifier: text }, changes = {}, headers = {}) =>
      target.post(
        '/token',
        {
          grant_type: 'authorization_code',
          code,
          code_verifier: text,
          redirect_uri: client.redirectUri,
          ...credentials(client),
          ...changes,
        },
        headers,
      ),
    async tokens(client, how) {
      const { status, body } = await target.redeem(await target.code(client, how))
      if (status !== 200) throw new Error(`not redeemed: ${JSON.stringify(body)}`)
      return body as unknown as TokensInHand
    },
    refresh: (client, token, changes = {}) =>
      target.post('/token', { grant_type: 'refresh_token', refresh_token: token, ...credentials(client), ...changes }),
    async call(token, init = {}, path = '/mcp') {
      const headers = new Headers(init.headers)
      if (token !== undefined && !headers.has('authorization')) headers.set('authorization', `Bearer ${token}`)
      const gate = gates[path]
      if (!gate) throw new Error(`no gate at ${path}`)
      return gate(
        new Request(ISSUER + path, {
          method: 'POST',
          body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
          ...init,
          headers,
        }),
      )
    },
  }
  return target
}

/** Nothing was given away. */
export const tokensIn = (answer: { readonly body: object }): readonly string[] =>
  ['access_token', 'refresh_token', 'id_token', 'code'].filter((name) => name in answer.body)
