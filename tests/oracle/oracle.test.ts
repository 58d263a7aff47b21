import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { challengeOf } from '../attacks/support/target.ts'
import { type OracleClient, ours, type Server, theOther, verifier } from './servers.ts'

// The same malformed requests go to this server and to one that others wrote and certified. Where they differ, `because` says why ours is right.

/** Status and error; for what a browser asks, whether it stays on a page or is sent back. */
type Verdict = string

interface Case {
  readonly name: string
  readonly ask: (server: Server) => Promise<Response> | Response
  readonly verdict: Verdict
  /** What the other one answers, where it is not the same, and why ours is right. */
  readonly other?: { readonly verdict: Verdict; readonly because: string }
}

type Form = Readonly<Record<string, string | readonly string[] | undefined>>

const encoded = (form: Form): string => {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(form)) {
    for (const one of value === undefined ? [] : [value].flat()) body.append(name, one)
  }
  return body.toString()
}

const post = (server: Server, path: keyof Server['paths'], form: Form | string, headers: HeadersInit = {}) =>
  server.send(
    new Request(server.issuer + server.paths[path], {
      method: 'POST',
      body: typeof form === 'string' ? form : encoded(form),
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
    }),
  )

const basic = (id: string, secret: string) => ({ Authorization: `Basic ${btoa(`${id}:${secret}`)}` })
const own = ({ id, secret }: OracleClient): Form => ({
  client_id: id,
  ...(secret === undefined ? {} : { client_secret: secret }),
})

/** Redeems a fresh code of the public client, with changes. */
const redeem = async (server: Server, changes: Form, headers?: HeadersInit) => {
  const client = server.publicClient
  const form = {
    grant_type: 'authorization_code',
    code: await server.code(client),
    code_verifier: verifier,
    redirect_uri: client.redirectUri,
    ...own(client),
    ...changes,
  }
  return post(server, 'token', form, headers)
}

const refresh = async (server: Server, changes: Form) => {
  const client = server.publicClient
  const token = await server.refreshToken(client)
  return post(server, 'token', { grant_type: 'refresh_token', refresh_token: token, ...own(client), ...changes })
}

const authorize = (server: Server, changes: Form) => {
  const { id, redirectUri } = server.publicClient
  const query = encoded({
    response_type: 'code',
    client_id: id,
    redirect_uri: redirectUri,
    code_challenge: challengeOf(verifier),
    code_challenge_method: 'S256',
    scope: 'notes:read',
    resource: server.resource,
    state: 'a state',
    ...changes,
  })
  return server.send(new Request(`${server.issuer}${server.paths.authorize}?${query}`))
}

const registration = (server: Server, metadata: object | string, headers: HeadersInit = {}) =>
  server.send(
    new Request(server.issuer + server.paths.register, {
      method: 'POST',
      body: typeof metadata === 'string' ? metadata : JSON.stringify(metadata),
      headers: { 'Content-Type': 'application/json', ...headers },
    }),
  )

const app = { redirect_uris: ['https://app.example.net/callback'], token_endpoint_auth_method: 'none' }

const tokenCases: readonly Case[] = [
  { name: 'no grant_type', ask: (server) => redeem(server, { grant_type: undefined }), verdict: '400 invalid_request' },
  {
    name: 'an unknown grant_type',
    ask: (server) => redeem(server, { grant_type: 'something' }),
    verdict: '400 unsupported_grant_type',
  },
  {
    name: 'the password grant',
    ask: (server) => redeem(server, { grant_type: 'password', username: 'alice', password: 'right' }),
    verdict: '400 unsupported_grant_type',
  },
  { name: 'no code', ask: (server) => redeem(server, { code: undefined }), verdict: '400 invalid_request' },
  { name: 'an unknown code', ask: (server) => redeem(server, { code: 'unknown' }), verdict: '400 invalid_grant' },
  {
    name: 'no code_verifier',
    ask: (server) => redeem(server, { code_verifier: undefined }),
    verdict: '400 invalid_request',
    other: {
      verdict: '400 invalid_grant',
      because: 'a required parameter is missing (RFC 6749 §5.2); nothing is wrong with the grant',
    },
  },
  {
    name: 'another code_verifier',
    ask: (server) => redeem(server, { code_verifier: 'x'.repeat(43) }),
    verdict: '400 invalid_grant',
  },
  {
    name: 'a code_verifier that is too short',
    ask: (server) => redeem(server, { code_verifier: 'x' }),
    verdict: '400 invalid_grant',
    other: {
      verdict: '400 invalid_request',
      because: 'what does not hash to the challenge is invalid_grant (RFC 7636 §4.6), of whatever length',
    },
  },
  {
    name: 'no redirect_uri',
    ask: (server) => redeem(server, { redirect_uri: undefined }),
    verdict: '400 invalid_request',
    other: { verdict: '200', because: 'it was in the authorization request, so it must be here (RFC 6749 §4.1.3)' },
  },
  {
    name: 'another redirect_uri',
    ask: (server) => redeem(server, { redirect_uri: 'https://evil.example/callback' }),
    verdict: '400 invalid_grant',
  },
  {
    name: 'the code of another client',
    ask: (server) => redeem(server, own(server.otherClient)),
    verdict: '400 invalid_grant',
  },
  {
    name: 'a resource that was not granted',
    ask: (server) => redeem(server, { resource: `${server.issuer}/unknown` }),
    verdict: '400 invalid_target',
  },
  {
    name: 'no client',
    ask: (server) => redeem(server, { client_id: undefined }),
    verdict: '400 invalid_request',
  },
  {
    name: 'an unknown client',
    ask: (server) => redeem(server, { client_id: 'unknown' }),
    verdict: '401 invalid_client',
  },
  {
    name: 'a public client with a secret',
    ask: (server) => redeem(server, { client_secret: 'made up' }),
    verdict: '401 invalid_client',
  },
  {
    name: 'a wrong secret in the body',
    ask: (server) => redeem(server, { ...own(server.secretClient), client_secret: 'wrong' }),
    verdict: '401 invalid_client',
  },
  {
    name: 'a wrong secret in the header',
    ask: (server) => redeem(server, { client_id: undefined }, basic(server.secretClient.id, 'wrong')),
    verdict: '401 invalid_client',
  },
  {
    name: 'a header that is not base64',
    ask: (server) => redeem(server, { client_id: undefined }, { Authorization: 'Basic ***' }),
    verdict: '400 invalid_request',
  },
  {
    name: 'two ways of authentication at once',
    ask: (server) =>
      redeem(server, own(server.secretClient), basic(server.secretClient.id, server.secretClient.secret)),
    verdict: '400 invalid_request',
  },
  {
    name: 'a repeated parameter',
    ask: (server) => redeem(server, { code_verifier: [verifier, verifier] }),
    verdict: '400 invalid_request',
  },
  {
    name: 'JSON in place of a form',
    ask: (server) =>
      post(server, 'token', '{"grant_type":"authorization_code"}', { 'Content-Type': 'application/json' }),
    verdict: '400 invalid_request',
  },
  { name: 'an empty body', ask: (server) => post(server, 'token', ''), verdict: '400 invalid_request' },
  {
    name: 'client_credentials of a public client',
    ask: (server) => post(server, 'token', { grant_type: 'client_credentials', ...own(server.publicClient) }),
    verdict: '400 unauthorized_client',
    other: { verdict: '400 invalid_request', because: 'the client may not use this grant type (RFC 6749 §5.2)' },
  },
  {
    name: 'client_credentials of a client that is not registered for it',
    ask: (server) => post(server, 'token', { grant_type: 'client_credentials', ...own(server.secretClient) }),
    verdict: '400 unauthorized_client',
    other: { verdict: '400 invalid_request', because: 'the client may not use this grant type (RFC 6749 §5.2)' },
  },
  {
    name: 'no refresh_token',
    ask: (server) => refresh(server, { refresh_token: undefined }),
    verdict: '400 invalid_request',
  },
  {
    name: 'an unknown refresh_token',
    ask: (server) => refresh(server, { refresh_token: 'unknown' }),
    verdict: '400 invalid_grant',
  },
  {
    name: 'the refresh_token of another client',
    ask: (server) => refresh(server, own(server.otherClient)),
    verdict: '400 invalid_grant',
  },
  {
    name: 'a refresh with a wider scope',
    ask: (server) => refresh(server, { scope: 'notes:read notes:write' }),
    verdict: '400 invalid_scope',
  },
  {
    name: 'a refresh for a resource that was not granted',
    ask: (server) => refresh(server, { resource: `${server.issuer}/unknown` }),
    verdict: '400 invalid_target',
  },
]

const authorizeCases: readonly Case[] = [
  { name: 'no client_id', ask: (server) => authorize(server, { client_id: undefined }), verdict: 'page 400' },
  { name: 'an unknown client_id', ask: (server) => authorize(server, { client_id: 'unknown' }), verdict: 'page 400' },
  {
    name: 'a redirect_uri that is not registered',
    ask: (server) => authorize(server, { redirect_uri: 'https://evil.example/callback' }),
    verdict: 'page 400',
  },
  {
    name: 'a redirect_uri with more at its end',
    ask: (server) => authorize(server, { redirect_uri: `${server.publicClient.redirectUri}/../evil` }),
    verdict: 'page 400',
  },
  {
    name: 'two redirect_uris',
    ask: (server) => authorize(server, { redirect_uri: [server.publicClient.redirectUri, 'https://evil.example/'] }),
    verdict: 'page 400',
    other: {
      verdict: 'back invalid_request',
      because: 'of two that are named neither is known to be meant, so neither is sent to',
    },
  },
  {
    name: 'a mistake of a web client that nobody has approved yet',
    ask: (server) => {
      const { id, redirectUri } = server.secretClient
      return authorize(server, { client_id: id, redirect_uri: redirectUri, response_type: undefined })
    },
    verdict: 'page 400',
    other: {
      verdict: 'back invalid_request',
      because:
        'anybody can register here: who is sent on at once makes this server an open redirector (RFC 9700 §4.11.2)',
    },
  },
  {
    name: 'no response_type',
    ask: (server) => authorize(server, { response_type: undefined }),
    verdict: 'back invalid_request',
  },
  {
    name: 'the implicit flow',
    ask: (server) => authorize(server, { response_type: 'token' }),
    verdict: 'back unsupported_response_type',
  },
  {
    name: 'no code_challenge',
    ask: (server) => authorize(server, { code_challenge: undefined, code_challenge_method: undefined }),
    verdict: 'back invalid_request',
  },
  {
    name: 'PKCE by plain',
    ask: (server) => authorize(server, { code_challenge_method: 'plain' }),
    verdict: 'back invalid_request',
  },
  {
    name: 'a code_challenge that is too short',
    ask: (server) => authorize(server, { code_challenge: 'short' }),
    verdict: 'back invalid_request',
  },
  {
    name: 'an unknown resource',
    ask: (server) => authorize(server, { resource: 'https://unknown.example/mcp' }),
    verdict: 'back invalid_target',
  },
  {
    name: 'prompt=none with nobody signed in',
    ask: (server) => authorize(server, { prompt: 'none' }),
    verdict: 'back login_required',
  },
  {
    name: 'prompt=none with another prompt',
    ask: (server) => authorize(server, { prompt: 'none login' }),
    verdict: 'back invalid_request',
  },
  {
    name: 'a max_age that is no number',
    ask: (server) => authorize(server, { max_age: 'soon' }),
    verdict: 'back invalid_request',
  },
  {
    name: 'a request object',
    ask: (server) => authorize(server, { request: 'e30.e30.' }),
    verdict: 'back request_not_supported',
  },
  {
    name: 'a request_uri',
    ask: (server) => authorize(server, { request_uri: 'https://app.example.net/request' }),
    verdict: 'back request_uri_not_supported',
  },
  {
    name: 'an unknown response_mode',
    ask: (server) => authorize(server, { response_mode: 'shout' }),
    verdict: 'back invalid_request',
    other: {
      verdict: 'back unsupported_response_mode',
      because: 'an invalid parameter value; RFC 6749 §4.1.2.1 knows no other code for it',
    },
  },
]

const otherCases: readonly Case[] = [
  {
    name: 'revoking nothing',
    ask: (server) => post(server, 'revoke', own(server.publicClient)),
    verdict: '400 invalid_request',
  },
  {
    name: 'revoking what is unknown',
    ask: (server) => post(server, 'revoke', { token: 'unknown', ...own(server.publicClient) }),
    verdict: '200',
  },
  {
    name: 'revoking the token of another client',
    ask: async (server) =>
      post(server, 'revoke', { token: await server.refreshToken(server.publicClient), ...own(server.otherClient) }),
    verdict: '400 invalid_grant',
    other: { verdict: '200', because: 'the request is refused and the client is told (RFC 7009 §2.1)' },
  },
  {
    name: 'revoking without a client',
    ask: (server) => post(server, 'revoke', { token: 'unknown' }),
    verdict: '400 invalid_request',
  },
  {
    name: 'revoking with a wrong secret',
    ask: (server) => post(server, 'revoke', { token: 'unknown', ...own(server.secretClient), client_secret: 'wrong' }),
    verdict: '401 invalid_client',
  },
  {
    name: 'introspecting without a client',
    ask: (server) => post(server, 'introspect', { token: 'unknown' }),
    verdict: '400 invalid_request',
  },
  {
    name: 'introspecting as a public client',
    ask: (server) => post(server, 'introspect', { token: 'unknown', ...own(server.publicClient) }),
    verdict: '403 unauthorized_client',
    other: {
      verdict: '200',
      because: 'who only names itself is nobody: the endpoint is for authorized callers (RFC 7662 §2.1)',
    },
  },
  {
    name: 'introspecting with a wrong secret',
    ask: (server) =>
      post(server, 'introspect', { token: 'unknown', ...own(server.secretClient), client_secret: 'wrong' }),
    verdict: '401 invalid_client',
  },
  {
    name: 'registering without a redirect URI',
    ask: (server) => registration(server, { ...app, redirect_uris: [] }),
    verdict: '400 invalid_redirect_uri',
  },
  {
    name: 'registering a redirect URI with a fragment',
    ask: (server) => registration(server, { ...app, redirect_uris: ['https://app.example.net/callback#x'] }),
    verdict: '400 invalid_redirect_uri',
  },
  {
    name: 'registering a script as the redirect URI',
    ask: (server) => registration(server, { ...app, redirect_uris: ['javascript:alert(1)'] }),
    verdict: '400 invalid_redirect_uri',
  },
  {
    name: 'registering plain http elsewhere, as a native app',
    ask: (server) =>
      registration(server, { ...app, application_type: 'native', redirect_uris: ['http://app.example.net/callback'] }),
    verdict: '400 invalid_redirect_uri',
  },
  {
    name: 'registering an unknown way of authentication',
    ask: (server) => registration(server, { ...app, token_endpoint_auth_method: 'shout' }),
    verdict: '400 invalid_client_metadata',
  },
  {
    name: 'registering private_key_jwt without keys',
    ask: (server) => registration(server, { ...app, token_endpoint_auth_method: 'private_key_jwt' }),
    verdict: '400 invalid_client_metadata',
  },
  {
    name: 'registering what is no JSON',
    ask: (server) => registration(server, '{"redirect_uris":'),
    verdict: '400 invalid_client_metadata',
    other: { verdict: '400 invalid_request', because: 'the codes for this endpoint are those of RFC 7591 §3.2.2' },
  },
  {
    name: 'registering JSON that is no object',
    ask: (server) => registration(server, '[]'),
    verdict: '400 invalid_client_metadata',
    other: { verdict: '400 invalid_request', because: 'the codes for this endpoint are those of RFC 7591 §3.2.2' },
  },
]

const verdictOf = async (response: Response): Promise<Verdict> => {
  const location = response.headers.get('location')
  if (location !== null) {
    const { searchParams, hash, origin, pathname } = new URL(location, 'https://relative.invalid')
    const error = searchParams.get('error') ?? new URLSearchParams(hash.slice(1)).get('error')
    return error === null ? `on to ${origin}${pathname}` : `back ${error}`
  }
  const text = await response.text()
  if (response.headers.get('content-type')?.includes('html')) return `page ${response.status}`
  const error = /"error":\s*"(\w+)"/.exec(text)?.[1]
  return [response.status, error].filter((part) => part !== undefined).join(' ')
}

describe('the same mistakes, at this server and at another', () => {
  let mine: Server
  let other: Server
  beforeAll(async () => {
    ;[mine, other] = await Promise.all([ours(), theOther()])
  })
  afterAll(async () => {
    await Promise.all([mine?.stop(), other?.stop()])
  })

  for (const [where, cases] of Object.entries({ token: tokenCases, authorize: authorizeCases, others: otherCases })) {
    test.each(cases)(`${where}: $name`, async ({ ask, verdict, other: difference }) => {
      const answers = await Promise.all([mine, other].map(async (server) => verdictOf(await ask(server))))
      expect(answers).toEqual([verdict, difference?.verdict ?? verdict])
    })
  }
})
