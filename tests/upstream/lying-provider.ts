import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'

export interface Lie {
  /** Over the id_token's true claims; undefined takes one away. */
  readonly claims?: Readonly<Record<string, unknown>>
  /** `none`: unsigned. `HS256`: with the client's secret. `foreign`: with a key that is not the provider's, under the true key's id. */
  readonly signature?: 'none' | 'HS256' | 'foreign' | 'unknown key'
  /** An access token that is a JWT with these claims, signed like the id_token; else it is opaque. */
  readonly accessToken?: Readonly<Record<string, unknown>>
  /** In place of the userinfo. */
  readonly userinfo?: Readonly<Record<string, unknown>>
  /** Userinfo is a JWT: by the provider's key, by another under its id, or by none. */
  readonly signedUserinfo?: 'true' | 'foreign' | 'none'
  readonly tokenAnswer?: { readonly status?: number; readonly body: string; readonly type?: string }
  /** In place of the parts of the metadata. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** The answer at the key set. */
  readonly keysStatus?: number
  /** It takes pushed authorization requests, and of an authorization request by their name nothing else; or it refuses them. */
  readonly pushed?: 'taken' | 'refused'
}

/** An OpenID Provider that says what a test wants: sign-in is one redirect, everybody is `sub-1`. */
export const startLyingProvider = async () => {
  const state = {
    lie: {} as Lie,
    nonce: '',
    keyRequests: 0,
    tokenRequest: new URLSearchParams(),
    authorization: '',
    pushed: [] as URLSearchParams[],
  }
  const pairs = { true: await generateKeyPair('RS256'), foreign: await generateKeyPair('RS256') }
  const published = async (kid: string): Promise<JWK> => {
    return { ...(await exportJWK(pairs.true.publicKey)), kid, alg: 'RS256', use: 'sig' }
  }
  let publicJwk = await published('key-1')

  const idToken = (issuer: string): Promise<string> => jwt(issuer, { nonce: state.nonce, ...state.lie.claims })

  const jwt = async (issuer: string, said: Readonly<Record<string, unknown>>, typ?: string): Promise<string> => {
    const now = Math.floor(Date.now() / 1000)
    const claims = {
      ...{
        iss: issuer,
        sub: 'sub-1',
        aud: 'me',
        iat: now,
        exp: now + 60,
        email: 'one@example.com',
      },
      ...said,
    }
    const { signature } = state.lie
    if (signature === 'none') {
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
      return `${part({ alg: 'none' })}.${part(claims)}.`
    }
    const header = {
      ...(typ === undefined ? {} : { typ }),
      alg: signature === 'HS256' ? 'HS256' : 'RS256',
      kid: signature === 'unknown key' ? 'nobody-knows' : (publicJwk.kid ?? ''),
    }
    const key =
      signature === 'HS256'
        ? new TextEncoder().encode('the client secret of these tests, long enough')
        : pairs[signature === undefined ? 'true' : 'foreign'].privateKey
    return new SignJWT(claims).setProtectedHeader(header).sign(key)
  }

  const server = createServer(async (request, response) => {
    const { port } = server.address() as AddressInfo
    const issuer = `http://127.0.0.1:${port}`
    const json = (body: unknown, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(body))
    }
    const { pathname, searchParams } = new URL(request.url ?? '/', issuer)
    if (pathname === '/.well-known/openid-configuration') {
      return json({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        userinfo_endpoint: `${issuer}/userinfo`,
        jwks_uri: `${issuer}/keys`,
        response_types_supported: ['code'],
        id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'],
        userinfo_signing_alg_values_supported: ['RS256', 'none'],
        ...(state.lie.pushed ? { pushed_authorization_request_endpoint: `${issuer}/par` } : {}),
        ...state.lie.metadata,
      })
    }
    if (pathname === '/par') {
      let body = ''
      for await (const chunk of request) body += chunk
      if (state.lie.pushed !== 'taken') return json({ error: 'invalid_request' }, 400)
      state.pushed.push(new URLSearchParams(body))
      return json({ request_uri: `urn:example:${state.pushed.length - 1}`, expires_in: 60 }, 201)
    }
    if (pathname === '/authorize') {
      const named = /^urn:example:(\d+)$/.exec(searchParams.get('request_uri') ?? '')?.[1]
      const asked = (named === undefined ? undefined : state.pushed[Number(named)]) ?? searchParams
      state.nonce = asked.get('nonce') ?? ''
      const back = new URL(asked.get('redirect_uri') ?? '')
      back.searchParams.set('code', 'code')
      back.searchParams.set('state', asked.get('state') ?? '')
      response.writeHead(302, { location: back.href })
      return response.end()
    }
    if (pathname === '/token') {
      let body = ''
      for await (const chunk of request) body += chunk
      state.tokenRequest = new URLSearchParams(body)
      state.authorization = request.headers.authorization ?? ''
      const { tokenAnswer } = state.lie
      if (tokenAnswer) {
        response.writeHead(tokenAnswer.status ?? 200, { 'content-type': tokenAnswer.type ?? 'application/json' })
        return response.end(tokenAnswer.body)
      }
      return json({
        access_token: state.lie.accessToken ? await jwt(issuer, state.lie.accessToken) : 'access-1',
        token_type: 'Bearer',
        expires_in: 60,
        refresh_token: 'refresh-2',
        id_token: await idToken(issuer),
      })
    }
    if (pathname === '/userinfo') {
      const said = { sub: 'sub-1', name: 'One', ...state.lie.userinfo }
      const { signedUserinfo: by } = state.lie
      if (by === undefined) return json(said)
      const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
      const signed =
        by === 'none'
          ? `${part({ alg: 'none' })}.${part(said)}.`
          : await new SignJWT(said)
              .setProtectedHeader({ alg: 'RS256', kid: publicJwk.kid ?? '' })
              .sign(pairs[by].privateKey)
      response.writeHead(200, { 'content-type': 'application/jwt' })
      return response.end(signed)
    }
    if (pathname === '/keys') {
      state.keyRequests++
      return json({ keys: [publicJwk] }, state.lie.keysStatus)
    }
    return json({}, 404)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    issuer: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** The last request to the token endpoint. */
    get tokenRequest() {
      return { form: state.tokenRequest, authorization: state.authorization }
    },
    /** The authorization requests that were pushed. */
    get pushed(): readonly URLSearchParams[] {
      return state.pushed
    },
    get keyRequests() {
      return state.keyRequests
    },
    /** A JWT with these claims over those of an id_token, as true as the lie told last makes it. */
    jwt: (said: Readonly<Record<string, unknown>>, typ?: string) =>
      jwt(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, said, typ),
    /** From now on it signs with a new key, and publishes that one alone. Answers what signs with the old one still. */
    async rotateKeys() {
      const [{ privateKey }, { kid = '' }] = [pairs.true, publicJwk]
      pairs.true = await generateKeyPair('RS256')
      publicJwk = await published(`${kid}-next`)
      return (claims: JWTPayload) => new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey)
    },
    tell(lie: Lie) {
      state.lie = lie
    },
    async stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}
