import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

// A client as each revision of the MCP specification describes it (its page "Authorization"), on `fetch` and nothing else.

export const revisions = ['2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'] as const
export type Revision = (typeof revisions)[number]

export const authentications = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const
export type Authentication = (typeof authentications)[number]

/** What a client knows of itself once it is known to the server. */
export interface Identity {
  readonly id: string
  readonly authentication: Authentication
  readonly secret?: string
  readonly key?: CryptoKey
}

export interface ServerMetadata {
  readonly issuer: string
  readonly authorization_endpoint: string
  readonly token_endpoint: string
  readonly registration_endpoint?: string
  readonly revocation_endpoint?: string
  readonly code_challenge_methods_supported?: readonly string[]
  readonly token_endpoint_auth_methods_supported?: readonly string[]
  readonly client_id_metadata_document_supported?: boolean
  readonly authorization_response_iss_parameter_supported?: boolean
}

export interface Discovered {
  readonly server: ServerMetadata
  /** Sent as `resource`, from 2025-06-18 on. */
  readonly resource?: string
  /** What to ask for, from 2025-11-25 on. */
  readonly scope?: string
}

export const redirectUri = 'http://127.0.0.1:41234/callback'

/** A request as the revision sends it. */
export const call = (mcp: string, revision: Revision, token?: string): Promise<Response> =>
  fetch(mcp, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      // The first revision has no such header; the newest repeats the method in one.
      ...(revision === '2025-03-26' ? {} : { 'MCP-Protocol-Version': revision }),
      ...(revision === '2026-07-28' ? { 'Mcp-Method': 'tools/list' } : {}),
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} }),
  })

const json = async (url: string | URL): Promise<Record<string, unknown> | undefined> => {
  const response = await fetch(url, { headers: { Accept: 'application/json' } })
  return response.ok ? ((await response.json()) as Record<string, unknown>) : undefined
}

/** From the MCP endpoint's address, and its first 401, to the authorization server. */
export const discover = async (mcp: string, revision: Revision): Promise<Discovered> => {
  const refusal = await call(mcp, revision)
  if (refusal.status !== 401) throw new Error(`the first answer is ${refusal.status}`)
  if (revision === '2025-03-26') {
    // The MCP server's origin is the authorization server; there is no metadata of a resource.
    const metadata = await json(new URL('/.well-known/oauth-authorization-server', mcp))
    if (!metadata) throw new Error('no metadata at the origin')
    return { server: metadata as unknown as ServerMetadata }
  }
  const challenge = refusal.headers.get('www-authenticate') ?? ''
  const parameter = (name: string) => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1]
  const fromChallenge = parameter('resource_metadata')
  const wellKnown = new URL(`/.well-known/oauth-protected-resource${new URL(mcp).pathname}`, mcp)
  if (fromChallenge === undefined) throw new Error(`the challenge names no metadata: ${challenge}`)
  const protectedResource = await json(fromChallenge)
  if (revision !== '2025-06-18' && (await json(wellKnown))?.resource !== protectedResource?.resource) {
    throw new Error('the well-known metadata is another than that of the challenge')
  }
  const { resource, authorization_servers: servers, scopes_supported: scopes } = protectedResource ?? {}
  if (resource !== mcp || !Array.isArray(servers)) throw new Error('metadata of another resource')
  const issuer = new URL(String(servers[0]))
  const path = issuer.pathname === '/' ? '' : issuer.pathname
  const server = (await json(new URL(`/.well-known/oauth-authorization-server${path}`, issuer))) as
    | ServerMetadata
    | undefined
  if (!server) throw new Error('no metadata of the authorization server')
  if (server.issuer !== servers[0]) throw new Error('metadata of another issuer')
  if (!server.code_challenge_methods_supported?.includes('S256')) throw new Error('no PKCE: a client must refuse')
  const scope = parameter('scope') ?? (Array.isArray(scopes) ? scopes.join(' ') : undefined)
  return { server, resource, ...(revision === '2025-06-18' || scope === undefined ? {} : { scope }) }
}

export interface Keys {
  readonly privateKey: CryptoKey
  readonly jwks: { readonly keys: readonly JWK[] }
}

export const newKeys = async (): Promise<Keys> => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  return {
    privateKey,
    jwks: { keys: [{ ...(await exportJWK(publicKey)), kid: randomUUID(), alg: 'ES256', use: 'sig' }] },
  }
}

/** RFC 7591; `application_type` is asked of clients since 2026-07-28. */
export const register = async (
  { server }: Discovered,
  revision: Revision,
  authentication: Authentication,
): Promise<Identity> => {
  const keys = authentication === 'private_key_jwt' ? await newKeys() : undefined
  const response = await fetch(String(server.registration_endpoint), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      client_name: `A client of ${revision}`,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: authentication,
      ...(revision === '2026-07-28' ? { application_type: 'native' } : {}),
      ...(keys ? { jwks: keys.jwks } : {}),
    }),
  })
  const body = (await response.json()) as Record<string, string>
  if (response.status !== 201) throw new Error(`not registered: ${response.status} ${JSON.stringify(body)}`)
  return {
    id: body.client_id ?? '',
    authentication,
    ...(body.client_secret === undefined ? {} : { secret: body.client_secret }),
    ...(keys ? { key: keys.privateKey } : {}),
  }
}

export interface Request {
  readonly url: URL
  /** @throws Error for an answer that is not to be trusted */
  readonly codeIn: (answer: URL) => string
  readonly verifier: string
}

export const authorizationRequest = (
  { server, resource, scope }: Discovered,
  revision: Revision,
  identity: Identity,
): Request => {
  const verifier = randomBytes(32).toString('base64url')
  const state = randomUUID()
  const url = new URL(server.authorization_endpoint)
  url.search = new URLSearchParams({
    response_type: 'code',
    client_id: identity.id,
    redirect_uri: redirectUri,
    state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...(resource === undefined ? {} : { resource }),
    ...(scope === undefined ? {} : { scope }),
  }).toString()
  return {
    url,
    verifier,
    codeIn({ searchParams }) {
      if (searchParams.get('state') !== state) throw new Error('another state')
      // RFC 9207: a must since 2026-07-28.
      if (revision === '2026-07-28' && searchParams.get('iss') !== server.issuer) throw new Error('another issuer')
      const code = searchParams.get('code')
      if (code === null) throw new Error(`no code: ${searchParams}`)
      return code
    },
  }
}

export interface TokenAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, string>>
}

/** A request by the client at one of the endpoints where it authenticates. */
export const asClient = async (
  url: string,
  { server }: Discovered,
  identity: Identity,
  form: Readonly<Record<string, string>>,
): Promise<TokenAnswer> => {
  const body = new URLSearchParams(form)
  const headers: Record<string, string> = { Accept: 'application/json' }
  const { id, authentication, secret = '' } = identity
  if (authentication === 'client_secret_basic') {
    // RFC 6749 §2.3.1: each is form-encoded first.
    const encode = (text: string) => new URLSearchParams({ '': text }).toString().slice(1)
    headers.Authorization = `Basic ${btoa(`${encode(id)}:${encode(secret)}`)}`
  } else {
    body.set('client_id', id)
    if (authentication === 'client_secret_post') body.set('client_secret', secret)
    if (authentication === 'private_key_jwt') {
      body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      body.set('client_assertion', await assertion(identity, server.issuer))
    }
  }
  const response = await fetch(url, { method: 'POST', headers, body })
  const text = await response.text()
  return { status: response.status, body: text === '' ? {} : JSON.parse(text) }
}

const assertion = ({ id, key }: Identity, audience: string): Promise<string> => {
  if (!key) throw new Error('the client has no key')
  return new SignJWT({})
    .setProtectedHeader({ alg: 'ES256' })
    .setIssuer(id)
    .setSubject(id)
    .setAudience(audience)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime('60s')
    .sign(key)
}
