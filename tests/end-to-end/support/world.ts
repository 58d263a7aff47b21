import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExchangeSettings } from '../../../src/authorization-server/exchange-options.ts'
import { type Countersign, countersign } from '../../../src/countersign.ts'
import type { Actor } from '../../../src/identity/actor.ts'
import type { JsonObject } from '../../../src/identity/json.ts'
import { sqlite } from '../../../src/store/sqlite.ts'
import { type Provider, SignInRefused } from '../../../src/upstream/provider.ts'
import { createFormBrowser, type FormBrowser, type Page } from './form-browser.ts'
import { signIn, type Walk } from './sign-in.ts'

// A whole Countersign in this process, on SQLite, with its own time: fast enough for hundreds of sequences of requests.

export const ISSUER = 'https://auth.example.com'
export const RESOURCE = `${ISSUER}/mcp`
export const CALENDAR = 'https://calendar.example.org/mcp'
export const SCOPES = ['notes:read', 'notes:write', 'notes:share'] as const
export const CALENDAR_SCOPES = ['calendar:read', 'calendar:write'] as const
export const LIFETIMES = { code: 60, accessToken: 600, refreshGrace: 60 } as const
export type Scope = (typeof SCOPES)[number]

/** What their provider says of people; its issuer too, since two may have one subject at two providers. */
export const PEOPLE = {
  ada: { subject: 'u-1', claims: { name: 'Ada', email: 'ada@example.com', groups: ['staff', 'admin'], shoe_size: 38 } },
  bob: { subject: 'u-2', claims: { name: 'Bob', email: 'bob@example.com', groups: ['staff'], roles: [] } },
} as const
/** The device that everybody uses; the others are each person's own. */
export const SHARED = 3
export type PersonName = keyof typeof PEOPLE
export const PROVIDER = { id: 'people', issuer: 'https://people.example.com' }

/** The three ways in which clients are registered; each with a redirect URI of another kind. */
const REGISTRATIONS = {
  web: { redirect_uris: ['https://web.example.org/callback'], token_endpoint_auth_method: 'client_secret_basic' },
  desktop: { redirect_uris: ['http://127.0.0.1/callback'], token_endpoint_auth_method: 'none' },
  mobile: { redirect_uris: ['org.example.mobile:/callback'], token_endpoint_auth_method: 'none' },
} as const
export type ClientName = keyof typeof REGISTRATIONS
export const CLIENTS = Object.keys(REGISTRATIONS) as ClientName[]

/** Who may exchange people's tokens, each allowed to in another way. None of them is anybody's application. */
export const EXCHANGERS = {
  'notes-server': { serves: [RESOURCE], to: { [CALENDAR]: ['calendar:read'] } },
  'calendar-server': { serves: [CALENDAR], to: { [RESOURCE]: ['notes:read', 'notes:write'] } },
  agent: { from: ['*'] },
  support: { from: ['*'], impersonates: true },
} as const satisfies Readonly<Record<string, ExchangeSettings>>
export type ExchangerName = keyof typeof EXCHANGERS

export interface RegisteredClient {
  readonly id: string
  readonly secret?: string
  readonly redirectUri: string
}

export interface Seen {
  readonly kind: string
  readonly issuer: string
  readonly subject: string
  readonly clientId: string
  readonly scopes: readonly string[]
  readonly resource: string
  readonly actor?: Actor
  readonly upstream: Readonly<Record<string, unknown>>
}

export interface Listed {
  readonly id: string
  readonly kind: string
  readonly parent?: string
}

export interface TokenAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, string>>
}

export interface Authorized {
  readonly walk: Walk
  readonly code: string
  readonly verifier: string
}

export interface World {
  readonly clients: Readonly<Record<ClientName, RegisteredClient>>
  now(): number
  advance(milliseconds: number): void
  /** Ends this server, and starts another on the same file. */
  restart(): Promise<void>
  authorize(
    person: PersonName,
    device: number,
    client: ClientName,
    scopes: readonly string[],
    without: readonly string[],
  ): Promise<Authorized>
  token(client: ClientName | ExchangerName, parameters: Readonly<Record<string, string>>): Promise<TokenAnswer>
  revoke(client: ClientName | ExchangerName, token: string): Promise<number>
  /** What a handler of the resource sees of this token, or the status that the gate answers. */
  call(accessToken: string, resource?: string): Promise<Seen | number>
  /** The live grants of an account, all pages of them. */
  list(account: string): Promise<readonly Listed[]>
  /** Ends a grant as the operator. */
  end(grant: string): Promise<boolean>
  /** The person disconnects a client on the page of connected apps. False where it is not there. */
  disconnect(person: PersonName, device: number, client: ClientName): Promise<boolean>
  signOut(person: PersonName, device: number, everywhere: boolean): Promise<void>
  dispose(): Promise<void>
}

export async function createWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-world-'))
  const secret = randomBytes(32).toString('base64url')
  const exchangersSecret = randomBytes(32).toString('base64url')
  let time = Date.UTC(2026, 0, 1)
  const clock = { now: () => time }

  const start = () => {
    const auth = countersign({
      url: ISSUER,
      secret,
      // Thousands of runs, each refusal an event: nothing here reads them.
      audit: () => {},
      clock,
      store: sqlite(join(folder, 'countersign.db'), { clock }),
      lifetimes: LIFETIMES,
      upstream: people,
      resources: {
        '/mcp': { scopes: Object.fromEntries(SCOPES.map((scope) => [scope, scope])), defaultScopes: ['notes:read'] },
        [CALENDAR]: { scopes: Object.fromEntries(CALENDAR_SCOPES.map((scope) => [scope, scope])) },
      },
      clients: Object.entries(EXCHANGERS).map(([id, exchange]) => ({ id, secret: exchangersSecret, exchange })),
    })
    const handlerOf = (resource: string) =>
      auth.gate(resource, (_request, { accessToken }) => Response.json({ ...accessToken }))
    return { auth, handlers: new Map([RESOURCE, CALENDAR].map((resource) => [resource, handlerOf(resource)])) }
  }
  let current = start()
  const send = async (request: Request) => (await respond(current.auth, request)) ?? new Response(null, { status: 404 })
  const browsers = new Map<string, FormBrowser>()
  const away = (url: URL) => url.origin !== ISSUER
  const browserOf = (person: PersonName, device: number) => {
    const key = device === SHARED ? 'shared' : `${person} ${device}`
    const known = browsers.get(key) ?? createFormBrowser({ send, away })
    browsers.set(key, known)
    return known
  }

  const clients = Object.fromEntries(
    await Promise.all(CLIENTS.map(async (name) => [name, await register(send, name)] as const)),
  ) as Record<ClientName, RegisteredClient>

  const known = (client: ClientName | ExchangerName): Pick<RegisteredClient, 'id' | 'secret'> =>
    client in EXCHANGERS ? { id: client, secret: exchangersSecret } : clients[client as ClientName]

  const post = (
    client: ClientName | ExchangerName,
    path: string,
    parameters: Readonly<Record<string, string>>,
  ): Promise<Response> => {
    const { id, secret: clientSecret } = known(client)
    const authorization = clientSecret && `Basic ${Buffer.from(`${id}:${clientSecret}`).toString('base64')}`
    const body = new URLSearchParams({ ...parameters, ...(authorization ? {} : { client_id: id }) })
    const headers = new Headers(authorization ? { authorization } : {})
    return send(new Request(`${ISSUER}${path}`, { method: 'POST', body, headers }))
  }

  return {
    clients,
    now: clock.now,
    advance(milliseconds) {
      time += milliseconds
    },
    async restart() {
      await current.auth.close()
      current = start()
    },
    async authorize(person, device, client, scopes, without) {
      const verifier = randomBytes(32).toString('base64url')
      const url = new URL(`${ISSUER}/authorize`)
      const state = randomBytes(8).toString('base64url')
      url.search = new URLSearchParams({
        response_type: 'code',
        client_id: clients[client].id,
        redirect_uri: clients[client].redirectUri,
        scope: scopes.join(' '),
        state,
        code_challenge: createHash('sha256').update(verifier).digest('base64url'),
        code_challenge_method: 'S256',
        resource: RESOURCE,
      }).toString()
      const walk = await signIn(
        browserOf(person, device),
        url,
        { username: person, password: 'right' },
        { without, notMe: showsAnother(person) },
      )
      const answer = walk.end.searchParams
      if (answer.get('state') !== state || answer.get('iss') !== ISSUER)
        throw new Error(`wrong answer: ${walk.end.href}`)
      return { walk, code: answer.get('code') ?? '', verifier }
    },
    async token(client, parameters) {
      const response = await post(client, '/token', parameters)
      return { status: response.status, body: (await response.json()) as Record<string, string> }
    },
    revoke: async (client, token) => (await post(client, '/revoke', { token })).status,
    async call(accessToken, resource = RESOURCE) {
      const headers = { authorization: `Bearer ${accessToken}` }
      const handler = current.handlers.get(resource)
      if (!handler) throw new Error(`nobody serves ${resource}`)
      const response = await handler(new Request(resource, { method: 'POST', body: '{}', headers }))
      return response.ok ? ((await response.json()) as Seen) : response.status
    },
    async list(account) {
      const all: Listed[] = []
      for (let cursor: string | undefined; ; ) {
        const page = await current.auth.grants.list(account, cursor)
        all.push(...page.grants)
        if (page.cursor === undefined) return all
        cursor = page.cursor
      }
    },
    end: (grant) => current.auth.grants.revoke(grant),
    async disconnect(person, device, client) {
      const browser = browserOf(person, device)
      const page = await accountPage(browser, person)
      const form = page.forms.find(({ fields }) =>
        fields.some(({ name, value }) => name === 'client' && value === clients[client].id),
      )
      if (!form) return false
      const after = await browser.submit(page, form, { button: ['decision', 'disconnect'] })
      if (!after.text.includes('The app is disconnected.')) throw new Error(`not disconnected: ${after.text}`)
      return true
    },
    async signOut(person, device, everywhere) {
      const browser = browserOf(person, device)
      const page = await accountPage(browser, person)
      await leave(browser, page, everywhere ? 'sign_out_everywhere' : 'sign_out')
    },
    async dispose() {
      await current.auth.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The account page of this person, who signs in where somebody else is, or nobody. */
const accountPage = async (browser: FormBrowser, person: PersonName): Promise<Page> => {
  let page = await browser.open(`${ISSUER}/authorize/account`)
  if (showsAnother(person)(page)) page = await leave(browser, page, 'sign_out')
  const password = page.forms.find(({ fields }) => fields.some(({ type }) => type === 'password'))
  if (password) page = await browser.submit(page, password, { fields: { username: person, password: 'right' } })
  if (!page.text.includes(PEOPLE[person].claims.email)) throw new Error(`not the page of ${person}: ${page.text}`)
  return page
}

const leave = (browser: FormBrowser, page: Page, decision: 'sign_out' | 'sign_out_everywhere'): Promise<Page> => {
  const form = page.forms.find(({ fields }) => fields.some(({ value }) => value === decision))
  if (!form) throw new Error(`nobody can sign out here: ${page.text}`)
  return browser.submit(page, form, { button: ['decision', decision] })
}

const showsAnother = (person: PersonName) => (page: Page) =>
  Object.entries(PEOPLE).some(([name, { claims }]) => name !== person && page.text.includes(claims.email))

/** People sign in by name; the provider is as cheap as it can be, so that time goes into what is tested. */
const people: Provider = {
  id: PROVIDER.id,
  name: 'People',
  open: ({ clock }) => ({
    kind: 'password',
    async signIn(username, password) {
      if (password !== 'right' || !(username in PEOPLE)) throw new SignInRefused('credentials')
      const { subject, claims } = PEOPLE[username as PersonName]
      const at = clock.now()
      return {
        issuer: PROVIDER.issuer,
        subject,
        authTime: Math.floor(at / 1000),
        said: [{ source: 'account', at, claims: structuredClone(claims) as unknown as JsonObject }],
      }
    },
  }),
}

const respond = (auth: Countersign, request: Request) => auth.respond(request, { remoteAddress: '192.0.2.1' })

async function register(send: (request: Request) => Promise<Response>, name: ClientName): Promise<RegisteredClient> {
  const metadata = { client_name: name, ...REGISTRATIONS[name] }
  const headers = { 'content-type': 'application/json' }
  const response = await send(
    new Request(`${ISSUER}/register`, { method: 'POST', body: JSON.stringify(metadata), headers }),
  )
  const { client_id: id, client_secret: secret } = (await response.json()) as Record<string, string>
  if (response.status !== 201 || id === undefined) throw new Error(`${name} was not registered: ${response.status}`)
  return { id, redirectUri: metadata.redirect_uris[0], ...(secret === undefined ? {} : { secret }) }
}
