import { fileURLToPath } from 'node:url'
import { type CryptoKey, exportJWK, generateKeyPair } from 'jose'
import { createTarget, ISSUER, RESOURCE, type Target, verifier } from '../attacks/support/target.ts'
import { startProcess } from '../support/process.ts'

export interface OracleClient {
  readonly id: string
  readonly secret?: string
  readonly redirectUri: string
}

/** A server that is asked: ours, or the other one. The same request means the same to both. */
export interface Server {
  readonly issuer: string
  readonly resource: string
  readonly paths: Readonly<Record<'authorize' | 'token' | 'pushed' | 'revoke' | 'introspect' | 'register', string>>
  readonly publicClient: OracleClient
  readonly otherClient: OracleClient
  readonly secretClient: Required<OracleClient>
  /** It signs who it is, by ES256. */
  readonly keyClient: OracleClient & { readonly key: CryptoKey }
  send(request: Request): Promise<Response>
  /** What a person's approval gave. */
  code(client: OracleClient): Promise<string>
  refreshToken(client: OracleClient): Promise<string>
  stop(): Promise<void>
}

const web = {
  redirect_uris: ['https://app.example.net/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
}
const native = {
  ...web,
  redirect_uris: ['http://127.0.0.1:41234/callback'],
  application_type: 'native',
  token_endpoint_auth_method: 'none',
}
const confidential = { ...web, token_endpoint_auth_method: 'client_secret_post' }
const scope = 'notes:read'

const register = async (
  send: Server['send'],
  url: string,
  metadata: { readonly redirect_uris: readonly string[] },
): Promise<OracleClient> => {
  const headers = { 'Content-Type': 'application/json' }
  const response = await send(new Request(url, { method: 'POST', headers, body: JSON.stringify(metadata) }))
  const { client_id: id = '', client_secret: secret } = (await response.json()) as Record<string, string>
  if (response.status !== 201) throw new Error(`not registered: ${response.status}`)
  return { id, redirectUri: metadata.redirect_uris[0] ?? '', ...(secret === undefined ? {} : { secret }) }
}

const clients = async (send: Server['send'], url: string) => {
  const publicClient = await register(send, url, native)
  const otherClient = await register(send, url, native)
  const { secret, ...secretClient } = await register(send, url, confidential)
  if (secret === undefined) throw new Error('no secret')
  const { privateKey: key, publicKey } = await generateKeyPair('ES256')
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig', kid: 'one' }] }
  const signing = {
    ...web,
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks,
  }
  const keyClient = { ...(await register(send, url, signing)), key }
  return { publicClient, otherClient, secretClient: { ...secretClient, secret }, keyClient }
}

/** Countersign, in this process. */
export const ours = async (): Promise<Server> => {
  const target: Target = await createTarget()
  const paths = {
    authorize: '/authorize',
    token: '/token',
    pushed: '/par',
    revoke: '/revoke',
    introspect: '/introspect',
    register: '/register',
  }
  const send: Server['send'] = (request) => target.send(request)
  return {
    issuer: ISSUER,
    resource: RESOURCE,
    paths,
    send,
    ...(await clients(send, `${ISSUER}/register`)),
    code: async (client) => (await target.code(client)).code,
    refreshToken: async (client) => (await target.tokens(client)).refresh_token,
    stop: () => target.auth.close(),
  }
}

/** The one that others certified, in a process of its own. */
export const theOther = async (): Promise<Server> => {
  const script = fileURLToPath(new URL('oracle-process.mjs', import.meta.url))
  const child = startProcess(process.execPath, [script])
  const issuer = (await child.line(/^issuer (\S+)$/))[1] ?? ''
  const paths = {
    authorize: '/auth',
    token: '/token',
    pushed: '/request',
    revoke: '/token/revocation',
    introspect: '/token/introspection',
    register: '/reg',
  }
  const send: Server['send'] = (request) => fetch(request, { redirect: 'manual' })
  let minted = 0
  const mint = async ({ id: clientId, redirectUri }: OracleClient, refreshToken: boolean): Promise<string> => {
    minted += 1
    const asked = { number: minted, clientId, redirectUri, verifier, scope, refreshToken }
    child.write(`${JSON.stringify(asked)}\n`)
    return (await child.line(new RegExp(`^minted ${asked.number} (\\S+)$`)))[1] ?? ''
  }
  return {
    issuer,
    resource: `${issuer}/mcp`,
    paths,
    send,
    ...(await clients(send, issuer + paths.register)),
    code: (client) => mint(client, false),
    refreshToken: (client) => mint(client, true),
    stop: async () => void (await child.stop()),
  }
}

export { verifier }
