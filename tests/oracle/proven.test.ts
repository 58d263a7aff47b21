import { generateKeyPair, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { challengeOf } from '../attacks/support/target.ts'
import { dpopKey } from '../support/dpop-key.ts'
import { type Case, compare, type Form, own, post, redeem } from './requests.ts'
import { type Server, verifier } from './servers.ts'

// As in oracle.test.ts, for clients that prove more than a secret.

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

const claimsOf = ({ issuer, keyClient: { id } }: Server, claims: JWTPayload = {}): JWTPayload => {
  const now = Math.floor(Date.now() / 1000)
  return { iss: id, sub: id, aud: issuer, jti: crypto.randomUUID(), iat: now, exp: now + 60, ...claims }
}

const signed = (server: Server, claims?: JWTPayload, key = server.keyClient.key) =>
  new SignJWT(claimsOf(server, claims)).setProtectedHeader({ alg: 'ES256', kid: 'one' }).sign(key)

const withAssertion = (server: Server, client_assertion: string, changes: Form = {}) =>
  post(server, 'revoke', { token: 'unknown', client_assertion_type: assertionType, client_assertion, ...changes })

const push = (server: Server, changes: Form) =>
  post(server, 'pushed', {
    response_type: 'code',
    redirect_uri: server.secretClient.redirectUri,
    code_challenge: challengeOf(verifier),
    code_challenge_method: 'S256',
    scope: 'notes:read',
    resource: server.resource,
    ...own(server.secretClient),
    ...changes,
  })

const withProof = async (server: Server, method: string, path: string, claims: JWTPayload = {}) => {
  const key = await dpopKey()
  return redeem(server, {}, { DPoP: await key.proof(method, `${server.issuer}${path}`, undefined, claims) })
}

/** Proofs that are more than a secret: of clients by their key, and of the key that a token is bound to. Requests that are sent ahead. */
const provenCases: readonly Case[] = [
  {
    name: 'an assertion that is right',
    ask: async (server) => withAssertion(server, await signed(server)),
    verdict: '200',
  },
  {
    name: 'an assertion without its type',
    ask: async (server) => withAssertion(server, await signed(server), { client_assertion_type: undefined }),
    verdict: '400 invalid_request',
  },
  {
    name: 'an assertion of an unknown type',
    ask: async (server) => withAssertion(server, await signed(server), { client_assertion_type: 'something' }),
    verdict: '400 invalid_request',
  },
  {
    name: 'an assertion that nobody signed',
    ask: (server) => withAssertion(server, new UnsecuredJWT(claimsOf(server)).encode()),
    verdict: '401 invalid_client',
  },
  {
    name: 'an assertion that another signed',
    ask: async (server) => withAssertion(server, await signed(server, {}, (await generateKeyPair('ES256')).privateKey)),
    verdict: '401 invalid_client',
  },
  {
    name: 'an assertion for another server',
    ask: async (server) => withAssertion(server, await signed(server, { aud: 'https://other.example' })),
    verdict: '401 invalid_client',
  },
  {
    name: 'an assertion that has expired',
    ask: async (server) => withAssertion(server, await signed(server, { exp: Math.floor(Date.now() / 1000) - 300 })),
    verdict: '401 invalid_client',
  },
  {
    name: 'an assertion about another client',
    ask: async (server) => withAssertion(server, await signed(server, { sub: server.publicClient.id })),
    verdict: '401 invalid_client',
  },
  {
    name: 'an assertion for the second time',
    ask: async (server) => {
      const assertion = await signed(server)
      await withAssertion(server, assertion)
      return withAssertion(server, assertion)
    },
    verdict: '401 invalid_client',
  },
  {
    name: 'an assertion, and another client_id beside it',
    ask: async (server) => withAssertion(server, await signed(server), { client_id: server.publicClient.id }),
    verdict: '401 invalid_client',
    other: {
      verdict: '400 invalid_request',
      because: 'an assertion that is not this client’s does not prove it: invalid_client (RFC 7521 §4.2.1)',
    },
  },
  {
    name: 'what is no assertion',
    ask: (server) => withAssertion(server, 'something'),
    verdict: '400 invalid_request',
  },
  {
    name: 'a client with a key that shows none',
    ask: (server) => post(server, 'revoke', { token: 'unknown', client_id: server.keyClient.id }),
    verdict: '401 invalid_client',
  },
  { name: 'pushing what is right', ask: (server) => push(server, {}), verdict: '201' },
  {
    name: 'pushing without a client',
    ask: (server) => push(server, { client_id: undefined, client_secret: undefined }),
    verdict: '400 invalid_request',
  },
  {
    name: 'pushing with a wrong secret',
    ask: (server) => push(server, { client_secret: 'wrong' }),
    verdict: '401 invalid_client',
  },
  {
    name: 'pushing without PKCE',
    ask: (server) => push(server, { code_challenge: undefined, code_challenge_method: undefined }),
    verdict: '400 invalid_request',
  },
  {
    name: 'pushing a redirect_uri that is not registered',
    ask: (server) => push(server, { redirect_uri: 'https://evil.example/' }),
    verdict: '400 invalid_request',
  },
  {
    name: 'pushing a request_uri',
    ask: (server) => push(server, { request_uri: 'urn:ietf:params:oauth:request_uri:x' }),
    verdict: '400 invalid_request',
    other: {
      verdict: '400 request_uri_not_supported',
      because: 'elsewhere they are supported, by this very endpoint; here none may be sent (RFC 9126 §2.1)',
    },
  },
  {
    name: 'pushing a request object',
    ask: (server) => push(server, { request: 'e30.e30.' }),
    verdict: '400 request_not_supported',
  },
  {
    name: 'pushing for an unknown resource',
    ask: (server) => push(server, { resource: 'https://other.example/' }),
    verdict: '400 invalid_target',
  },
  {
    name: 'pushing for the implicit flow',
    ask: (server) => push(server, { response_type: 'token' }),
    verdict: '400 unsupported_response_type',
  },
  {
    name: 'a DPoP proof that is right',
    ask: (server) => withProof(server, 'POST', server.paths.token),
    verdict: '200',
  },
  {
    name: 'a DPoP proof for another method',
    ask: (server) => withProof(server, 'GET', server.paths.token),
    verdict: '400 invalid_dpop_proof',
  },
  {
    name: 'a DPoP proof for another address',
    ask: (server) => withProof(server, 'POST', '/elsewhere'),
    verdict: '400 invalid_dpop_proof',
  },
  {
    name: 'an old DPoP proof',
    ask: (server) => withProof(server, 'POST', server.paths.token, { iat: Math.floor(Date.now() / 1000) - 3_600 }),
    verdict: '400 invalid_dpop_proof',
  },
  {
    name: 'what is no DPoP proof',
    ask: (server) => redeem(server, {}, { DPoP: 'something' }),
    verdict: '400 invalid_dpop_proof',
  },
  {
    name: 'introspecting nothing',
    ask: (server) => post(server, 'introspect', own(server.secretClient)),
    verdict: '403 unauthorized_client',
    other: {
      verdict: '400 invalid_request',
      because: 'who may not ask hears that, whatever the question is (RFC 7662 §2.1)',
    },
  },
]

compare({ proven: provenCases })
