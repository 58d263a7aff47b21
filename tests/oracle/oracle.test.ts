import { app, authorize, basic, type Case, compare, own, post, redeem, refresh, registration } from './requests.ts'
import { verifier } from './servers.ts'

// The same malformed requests go to this server and to one that others wrote and certified. Where they differ, `because` says why ours is right.

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

compare({ token: tokenCases, authorize: authorizeCases, others: otherCases })
