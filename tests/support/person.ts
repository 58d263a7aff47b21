import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { createClientKeyLookup } from '../../src/authorization-server/client-keys.ts'
import {
  createClientMetadataDocuments,
  type DocumentsContext,
} from '../../src/authorization-server/client-metadata-documents.ts'
import { type ClientOptions, resolveClients } from '../../src/authorization-server/client-options.ts'
import { defaultLifetimes, type Lifetimes, type ServerContext } from '../../src/authorization-server/context.ts'
import { createOperatorFetch } from '../../src/authorization-server/operator-fetch.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { createServerDpop } from '../../src/authorization-server/server-dpop.ts'
import type { AuditEvent } from '../../src/events/audit.ts'
import { systemRandom } from '../../src/events/random.ts'
import type { Branding } from '../../src/http/branding.ts'
import { createRoutes, type Routes } from '../../src/http/routes.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { openKeyRing } from '../../src/keys/key-ring.ts'
import { createGuardedFetch } from '../../src/net/guarded-fetch.ts'
import { type ResourceOptions, resolveResources } from '../../src/oauth/resource.ts'
import { type Client, clientRef } from '../../src/records/client.ts'
import { createRecords, put } from '../../src/records/records.ts'
import { endpointsBelow } from '../../src/server-context.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { createAccounts } from '../../src/upstream/accounts.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import {
  type NamedProvider,
  type OpenProvider,
  ProviderUnavailable,
  type RedirectProvider,
  type SignIn,
  SignInRefused,
} from '../../src/upstream/provider.ts'
import { movable } from '../store/movable-clock.ts'
import { TestBrowser, type Visit } from './browser.ts'

export const verifier = 'a-verifier-that-is-long-enough-for-the-rules-of-pkce-1234567890'
export const challenge = createHash('sha256').update(verifier).digest('base64url')
export const webRedirect = 'https://app.example.net/callback'
export const loopbackRedirect = 'http://127.0.0.1/callback'

const claims = (name: string): JsonObject => ({
  name,
  email: `${name.toLowerCase()}@example.org`,
  preferred_username: name,
})

const signInOf = (issuer: string, name: string, now: number, extra: JsonObject = {}): SignIn => ({
  issuer,
  subject: `subject-of-${name}`,
  authTime: Math.floor(now / 1000),
  said: [{ source: 'account', at: now, claims: { ...claims(name), ...extra } }],
})

/** Names and passwords without the slow hash: Alice and Bob, whose password is `right`. */
export const passwordProvider = (issuer: string, now: () => number): NamedProvider => ({
  id: 'local',
  name: 'Example account',
  open: {
    kind: 'password',
    async signIn(username, password) {
      if (username === 'busy') throw new SignInRefused('rate_limited', { retryAfter: 300 })
      if (!['Alice', 'Bob'].includes(username) || password !== 'right') throw new SignInRefused('credentials')
      return signInOf(issuer, username, now())
    },
  },
})

export interface Asked {
  readonly state: string
  readonly redirectUri: string
  readonly reauthenticate: boolean
  readonly selectAccount: boolean
  readonly loginHint?: string
  readonly maxAge?: number
}

export interface RedirectStandIn extends NamedProvider {
  readonly asked: Asked[]
  /** What the provider does with the next answers. */
  behaviour: 'sign in' | 'down' | 'refuse' | 'lie' | 'lack claims' | 'slow'
  /** Whether it says when people authenticated. */
  statesTime: boolean
}

/** A provider somewhere else: what comes back as `code` is who signed in. Its protocol is tested where the real ones are. */
export const redirectProvider = (
  now: () => number,
  id = 'idp',
  name = 'Example IdP',
  facts: Pick<RedirectProvider, 'reauthenticates'> = {},
): RedirectStandIn => {
  const asked: Asked[] = []
  const open: OpenProvider = {
    kind: 'redirect',
    ...facts,
    async begin(request) {
      if (provider.behaviour === 'down') throw new ProviderUnavailable('out of reach', { detail: 'ECONNREFUSED idp' })
      asked.push(request)
      return { url: `https://${id}.example/authorize?state=${request.state}`, pending: { nonce: request.state } }
    },
    async complete(callback, pending, redirectUri) {
      if (pending.nonce !== callback.searchParams.get('state')) throw new Error('not the pending of this state')
      if (callback.href.split('?')[0] !== redirectUri) throw new Error(`not our own address: ${callback.href}`)
      if (provider.behaviour === 'down') throw new ProviderUnavailable('out of reach')
      if (provider.behaviour === 'refuse')
        throw new SignInRefused('denied', { detail: 'access_denied: <b>foreign</b>' })
      if (provider.behaviour === 'lie') throw new SignInRefused('untrusted', { detail: 'nonce' })
      if (provider.behaviour === 'lack claims') throw new SignInRefused('claims', { detail: 'email' })
      if (provider.behaviour === 'slow') await new Promise((resolve) => setTimeout(resolve, 700))
      const signIn = signInOf(`https://${id}.example`, callback.searchParams.get('code') ?? 'Alice', now())
      if (provider.statesTime) return signIn
      const again = facts.reauthenticates === 'unstated' && asked.at(-1)?.reauthenticate
      return { ...signIn, authTimeAssumed: again ? 'asked' : true }
    },
  }
  const provider: RedirectStandIn = { id, name, open, asked, behaviour: 'sign in', statesTime: true }
  return provider
}

export interface PersonServerOptions {
  readonly issuer?: string
  readonly store?: Store
  readonly providers?: (issuer: string, now: () => number) => readonly NamedProvider[]
  readonly resources?: Readonly<Record<string, ResourceOptions>>
  readonly lifetimes?: Partial<Lifetimes>
  readonly branding?: Branding
  readonly clients?: readonly ClientOptions[]
  readonly address?: string
  /** With them, client ids may be the URLs of documents. */
  readonly documents?: DocumentsContext['rules']
  readonly emailDomains?: Readonly<Record<string, string>>
  readonly subject?: 'random' | 'upstream'
}

export interface PersonServer {
  readonly server: ServerContext
  readonly routes: Routes
  readonly issuer: string
  readonly events: AuditEvent[]
  readonly trouble: string[]
  browser(): TestBrowser
  addClient(client: Partial<Client> & { readonly id: string }): Promise<Client>
  pass(ms: number): Promise<void>
}

/** A server of real parts but for its providers, with the routes that a person's browser uses. */
export const personServer = async (options: PersonServerOptions = {}): Promise<PersonServer> => {
  const issuer = options.issuer ?? 'https://auth.example.com'
  const clock = movable()
  const store = options.store ?? memory({ clock })
  const events: AuditEvent[] = []
  const trouble: string[] = []
  const audit: ServerContext['audit'] = (facts) => void events.push({ at: clock.now(), ...facts })
  const note = (message: string, details?: object) =>
    void trouble.push(`${message} ${String((details as { error?: Error } | undefined)?.error?.stack)}`)
  const logger = { debug() {}, info() {}, warn: note, error: note }
  const random = systemRandom
  const keys = await openKeyRing({
    store,
    secrets: ['a secret for tests that is long enough'],
    algorithm: 'ES256',
    clock,
    random,
    audit,
  })
  const records = createRecords(store, keys)
  const now = () => clock.now()
  const providers = options.providers?.(issuer, now) ?? [passwordProvider(issuer, now)]
  const resources = resolveResources(
    issuer,
    options.resources ?? {
      '/mcp': {
        name: 'Notes',
        scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' },
        defaultScopes: ['notes:read'],
      },
    },
  )
  const server: ServerContext = {
    issuer,
    endpoints: endpointsBelow(issuer),
    resources,
    providers,
    locales: [...new Set(['en', ...Object.keys(options.branding?.languages ?? {})])],
    emailDomains: new Map(Object.entries(options.emailDomains ?? {})),
    accounts: createAccounts({ records, random }, { subject: options.subject ?? 'random', providers }),
    custody: createCustody({ records, random, audit, logger }, providers),
    records,
    keys,
    dpop: createServerDpop({ records, keys, clock }),
    lifetimes: { ...defaultLifetimes, ...options.lifetimes },
    knownClientKeys: createClientKeyLookup(createOperatorFetch(globalThis.fetch)),
    configuredClients: resolveClients(options.clients ?? [], { issuer, resources, privateSchemes: [] }),
    registration: { perAddress: 1000, total: 1000 },
    ...(options.documents
      ? {
          clientMetadataDocuments: createClientMetadataDocuments({
            ...{ records, random, audit, logger, privateSchemes: [] },
            newFetch: () => createGuardedFetch({ loopback: options.documents?.loopback ?? false, clock }),
            rules: options.documents,
          }),
        }
      : {}),
    privateSchemes: [],
    tokenClaims: [],
    audit,
    clock,
    random,
    logger,
  }
  const serving = { ...server, verifier: createOwnVerifier(server) }
  const routes = createRoutes({
    issuer,
    endpoints: server.endpoints,
    providerIds: providers.map(({ id }) => id),
    branding: { name: 'Example Notes', ...options.branding },
    logger,
    open: async () => serving,
  })
  const info = { remoteAddress: options.address ?? '192.0.2.7' }
  return {
    server,
    routes,
    issuer,
    events,
    trouble,
    browser: () => new TestBrowser((request) => routes.respond(request, info), issuer),
    async addClient(client) {
      const whole: Client = {
        source: 'dynamic',
        name: 'Test App',
        redirectUris: [webRedirect],
        applicationType: 'web',
        authentication: 'none',
        grantTypes: ['authorization_code', 'refresh_token'],
        createdAt: clock.now(),
        ...client,
      }
      await records.commit({ puts: [put(clientRef(whole.id), whole)] })
      return whole
    },
    pass: (ms) => clock.pass(ms),
  }
}

/** The address that a client opens. A parameter that is undefined is left out. */
export const authorizeUrl = (
  { issuer }: Pick<PersonServer, 'issuer'>,
  parameters: Readonly<Record<string, string | readonly string[] | undefined>> = {},
): string => {
  const all = {
    response_type: 'code',
    client_id: 'app',
    redirect_uri: webRedirect,
    code_challenge: challenge,
    code_challenge_method: 'S256',
    scope: 'notes:read notes:write',
    resource: `${issuer}/mcp`,
    state: 'a state',
    ...parameters,
  }
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(all)) {
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) query.append(name, one)
  }
  return `${issuer}/authorize?${query}`
}

export const signInAs = (browser: TestBrowser, page: Visit, username: string, password = 'right'): Promise<Visit> =>
  browser.submit(page, undefined, { username, password })

/** What the client would get at `/token` for the code of a redirect. */
export const redeemed = async (
  { routes, issuer }: { readonly routes: Pick<Routes, 'respond'>; readonly issuer: string },
  left: URL | undefined,
  redirectUri = webRedirect,
  clientId = 'app',
): Promise<JsonObject> => {
  const response = await routes.respond(
    new Request(`${issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code: left?.searchParams.get('code') ?? '',
        client_id: clientId,
        code_verifier: verifier,
        redirect_uri: redirectUri,
      }),
    }),
  )
  return (await response?.json()) as JsonObject
}

/** What the client gets for its refresh token. */
export const refreshed = async (
  { routes, issuer }: PersonServer,
  token: string,
  clientId = 'app',
): Promise<JsonObject> => {
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token, client_id: clientId })
  const response = await routes.respond(new Request(`${issuer}/token`, { method: 'POST', body }))
  return (await response?.json()) as JsonObject
}

export interface ListeningPersonServer extends PersonServer {
  stop(): Promise<void>
}

/** The same server on a loopback port, for real browsers. */
export const listeningPersonServer = async (options: PersonServerOptions = {}): Promise<ListeningPersonServer> => {
  const http = createServer()
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const issuer = `http://localhost:${(http.address() as AddressInfo).port}`
  const to = await personServer({ ...options, issuer })
  http.on(
    'request',
    getRequestListener(async (request) => (await to.routes.respond(request)) ?? new Response('none', { status: 404 })),
  )
  return {
    ...to,
    stop: async () => {
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

/** A server whose one provider is elsewhere, and a client of it. */
export const withProvider = async (): Promise<{ to: PersonServer; idp: RedirectStandIn }> => {
  const made: RedirectStandIn[] = []
  const to = await personServer({
    providers: (_, now) => {
      made.push(redirectProvider(now))
      return made
    },
  })
  await to.addClient({ id: 'app' })
  const [idp] = made
  if (!idp) throw new Error('no provider')
  return { to, idp }
}
