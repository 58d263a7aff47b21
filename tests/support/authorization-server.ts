import { createHash, randomBytes } from 'node:crypto'
import { createAssertionKeyLookup } from '../../src/authorization-server/assertion-keys.ts'
import {
  type AssertionIssuerOptions,
  resolveAssertionIssuers,
} from '../../src/authorization-server/assertion-options.ts'
import { createClientKeyLookup } from '../../src/authorization-server/client-keys.ts'
import {
  createClientMetadataDocuments,
  type DocumentsContext,
} from '../../src/authorization-server/client-metadata-documents.ts'
import { type ClientOptions, resolveClients } from '../../src/authorization-server/client-options.ts'
import {
  defaultLifetimes,
  type Lifetimes,
  type ServerContext,
  type ServingContext,
} from '../../src/authorization-server/context.ts'
import { issueCode } from '../../src/authorization-server/grants.ts'
import { createOperatorFetch } from '../../src/authorization-server/operator-fetch.ts'
import { createOwnVerifier } from '../../src/authorization-server/own-verifier.ts'
import { registerEndpoint } from '../../src/authorization-server/register.ts'
import { revokeEndpoint } from '../../src/authorization-server/revoke.ts'
import { createServerDpop } from '../../src/authorization-server/server-dpop.ts'
import { tokenEndpoint } from '../../src/authorization-server/token.ts'
import type { AuditEvent } from '../../src/events/audit.ts'
import type { Logger } from '../../src/events/logger.ts'
import { systemRandom } from '../../src/events/random.ts'
import type { JsonObject } from '../../src/identity/json.ts'
import { openKeyRing } from '../../src/keys/key-ring.ts'
import { createGuardedFetch } from '../../src/net/guarded-fetch.ts'
import { type ResourceOptions, resolveResources } from '../../src/oauth/resource.ts'
import { createRecords } from '../../src/records/records.ts'
import { endpointsBelow } from '../../src/server-context.ts'
import { memory } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { createAccounts } from '../../src/upstream/accounts.ts'
import { createCustody } from '../../src/upstream/custody.ts'
import type { NamedProvider } from '../../src/upstream/provider.ts'
import { type movable, stopped } from '../store/movable-clock.ts'

export const issuer = 'https://auth.example.com'
export const mcp = 'https://auth.example.com/mcp'
export const otherMcp = 'https://other.example.com/mcp'
export const callback = 'http://127.0.0.1:41234/callback'
export const secret = 'a secret for tests that is long enough'

export interface TestServerOptions {
  readonly store?: Store
  /** Must be the store's clock too; by default the store is one in memory with a clock of its own. */
  readonly clock?: ReturnType<typeof movable>
  readonly lifetimes?: Partial<Lifetimes>
  readonly registration?: ServerContext['registration']
  readonly tokenClaims?: readonly string[]
  readonly claims?: NamedProvider['claims']
  readonly revalidation?: NamedProvider['revalidation']
  readonly admit?: NonNullable<NamedProvider['admit']>
  readonly secrets?: readonly [string, ...string[]]
  readonly issuer?: string
  readonly clients?: readonly ClientOptions[]
  /** With them, client ids may be the URLs of documents. */
  readonly documents?: DocumentsContext['rules']
  readonly dpopNonces?: boolean
  readonly assertions?: readonly AssertionIssuerOptions[]
  /** Members of the resources' options, over those that all tests have. */
  readonly mcp?: Partial<ResourceOptions>
}

export interface TestServer {
  readonly server: ServingContext
  readonly clock: ReturnType<typeof movable>
  readonly store: Store
  readonly events: AuditEvent[]
  /** What was logged as an error or a warning. */
  readonly trouble: string[]
  pass(ms: number): Promise<void>
}

/** A server context of real parts; people are vouched for by a host, so that no page is needed. */
export async function testServer(options: TestServerOptions = {}): Promise<TestServer> {
  const clock = options.clock ?? stopped()
  const store = options.store ?? memory({ clock })
  const events: AuditEvent[] = []
  const trouble: string[] = []
  const base = options.issuer ?? issuer
  const audit: ServerContext['audit'] = (facts) => void events.push({ at: clock.now(), ...facts })
  const note = (message: string, details?: object) => void trouble.push(`${message} ${JSON.stringify(details)}`)
  const logger: Logger = { debug() {}, info() {}, warn: note, error: note }
  const random = systemRandom
  const keys = await openKeyRing({
    store,
    secrets: options.secrets ?? [secret],
    algorithm: 'ES256',
    clock,
    random,
    audit,
  })
  const records = createRecords(store, keys)
  const host: NamedProvider = {
    id: 'host',
    name: 'Host',
    open: { kind: 'host', identify: async () => new Response() },
    ...(options.claims ? { claims: options.claims } : {}),
    ...(options.revalidation ? { revalidation: options.revalidation } : {}),
    ...(options.admit ? { admit: options.admit } : {}),
  }
  const providers = [host]
  const resources = resolveResources(base, {
    '/mcp': { scopes: { 'notes:read': 'Read your notes', 'notes:write': 'Add and change your notes' }, ...options.mcp },
    [otherMcp]: { scopes: { 'other:read': 'Read the others' } },
  })
  const trusted = resolveAssertionIssuers(options.assertions ?? [], { issuer: base, resources, providerIds: ['host'] })
  const issuers = [...(trusted?.issuers.values() ?? [])]
  const vouchers = issuers.flatMap(({ provider: id }) => (id === 'host' ? [] : [{ id }]))
  const knownByEmail = new Set(
    issuers.flatMap((each) => (each.kind === 'enterprise' && each.linkByEmail ? [each.linkByEmail.provider] : [])),
  )
  const surroundings = { issuer: base, resources, privateSchemes: [], ...(trusted && { assertions: trusted }) }
  const context: ServerContext = {
    issuer: base,
    endpoints: endpointsBelow(base),
    resources,
    providers,
    locales: ['en'],
    emailDomains: new Map(),
    accounts: createAccounts({ records, random }, { subject: 'random', providers, vouchers, knownByEmail }),
    custody: createCustody({ records, random, audit, logger }, [...providers, ...vouchers]),
    records,
    keys,
    dpop: createServerDpop({ records, keys, clock }, options.dpopNonces),
    lifetimes: { ...defaultLifetimes, ...options.lifetimes },
    configuredClients: resolveClients(options.clients ?? [], surroundings),
    knownClientKeys: createClientKeyLookup(createOperatorFetch(globalThis.fetch)),
    ...(trusted && { assertions: { ...trusted, keysOf: createAssertionKeyLookup(globalThis.fetch, clock) } }),
    registration: options.registration ?? { perAddress: 1000, total: 1000 },
    ...(options.documents
      ? {
          clientMetadataDocuments: createClientMetadataDocuments({
            ...{ records, random, audit, logger, privateSchemes: [], assertions: trusted?.enterprise ?? false },
            newFetch: () => createGuardedFetch({ loopback: options.documents?.loopback ?? false, clock }),
            rules: options.documents,
          }),
        }
      : {}),
    privateSchemes: [],
    tokenClaims: options.tokenClaims ?? [],
    audit,
    clock,
    random,
    logger,
  }
  const server = { ...context, verifier: createOwnVerifier(context) }
  return { server, clock, store, events, trouble, pass: (ms) => clock.pass(ms) }
}

export interface TestClient {
  readonly client_id: string
  readonly client_secret?: string
}

/** Registers a client over the endpoint. */
export async function registered({ server }: TestServer, metadata: JsonObject = {}): Promise<TestClient> {
  const response = await registerEndpoint(
    server,
    jsonPost('/register', {
      redirect_uris: [callback],
      client_name: 'Test',
      token_endpoint_auth_method: 'none',
      ...metadata,
    }),
  )
  if (response.status !== 201) throw new Error(`not registered: ${await response.text()}`)
  const { client_id, client_secret } = (await response.json()) as TestClient
  return { client_id, ...(client_secret === undefined ? {} : { client_secret }) }
}

export interface Approved {
  readonly code: string
  readonly verifier: string
  readonly grant: string
  readonly subject: string
}

export interface ApprovedOptions {
  readonly dpopJkt?: string
  readonly person?: string
  readonly said?: JsonObject
  readonly scopes?: readonly string[]
  readonly resource?: string
  /** In place of one resource with its scopes. */
  readonly resources?: Readonly<Record<string, readonly string[]>>
  readonly redirectUri?: string
}

/** What the pages do when a person signs in and approves. */
export async function approved(
  { server }: TestServer,
  client: TestClient,
  options: ApprovedOptions = {},
): Promise<Approved> {
  const { person = 'alice', scopes = ['notes:read'], resource = mcp, redirectUri = callback } = options
  const resources = options.resources ?? { [resource]: scopes }
  const authTime = Math.floor(server.clock.now() / 1000)
  const claims = { sub: person, email: `${person}@example.org`, ...options.said }
  const said = [{ source: 'host', at: server.clock.now(), claims }] as const
  const signIn = { issuer: 'https://host.example', subject: person, authTime, said }
  const { account } = await server.accounts.resolve('host', signIn)
  const session = await server.custody.begin(account, 'host', signIn)
  const verifier = randomBytes(32).toString('base64url')
  const { code, grant } = await issueCode(server, {
    request: {
      clientId: client.client_id,
      redirectUri,
      redirectKind: 'loopback',
      redirectHost: '127.0.0.1',
      codeChallenge: createHash('sha256').update(verifier).digest('base64url'),
      ...(options.dpopJkt === undefined ? {} : { dpopJkt: options.dpopJkt }),
      resources,
      prompt: [],
    },
    account,
    upstreamSession: session.id,
    authTime,
    resources,
  })
  return { code, verifier, grant, subject: account.subject }
}

export interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
  readonly scope: string
  readonly expires_in: number
  readonly token_type: string
}

export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly body: Tokens & { readonly error?: string; readonly error_description?: string }
}

type Form = Readonly<Record<string, string | readonly string[] | undefined>>

export const redeem = (to: TestServer, client: TestClient, { code, verifier }: Approved, more: Form = {}) =>
  postToken(to, {
    grant_type: 'authorization_code',
    code,
    code_verifier: verifier,
    redirect_uri: callback,
    ...client,
    ...more,
  })

export const refresh = (
  to: TestServer,
  client: TestClient,
  token: string,
  more: Form = {},
  headers: Record<string, string> = {},
) => postToken(to, { grant_type: 'refresh_token', refresh_token: token, ...client, ...more }, headers)

/** From approval to tokens. */
export async function signedIn(to: TestServer, client: TestClient, options: ApprovedOptions = {}): Promise<Tokens> {
  const answer = await redeem(to, client, await approved(to, client, options))
  if (answer.status !== 200) throw new Error(`not redeemed: ${JSON.stringify(answer.body)}`)
  return answer.body
}

export async function postToken(to: TestServer, form: Form, headers: Record<string, string> = {}): Promise<Answered> {
  return answered(await tokenEndpoint(to.server, formPost('/token', form, headers)))
}

export async function revoke(to: TestServer, client: TestClient, token: string, more: Form = {}): Promise<Answered> {
  return answered(await revokeEndpoint(to.server, formPost('/revoke', { token, ...client, ...more })))
}

export async function answered(response: Response): Promise<Answered> {
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? {} : JSON.parse(text) }
}

export function formPost(path: string, form: Form, headers: Record<string, string> = {}): Request {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(form)) {
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) body.append(name, one)
  }
  return new Request(issuer + path, { method: 'POST', body, headers })
}

export function jsonPost(path: string, body: unknown): Request {
  return new Request(issuer + path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json' },
  })
}

export const basic = (id: string, secret: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
})

/** The types of the events, in order; without those of setting up. */
export const eventTypes = ({ events }: TestServer): string[] =>
  events.map(({ type }) => type).filter((type) => !['keys.created', 'client.registered', 'code.issued'].includes(type))
