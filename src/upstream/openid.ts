import type { TokenEndpointResponse, TokenEndpointResponseHelpers } from 'openid-client'
import { base64url } from '../crypto/bytes.ts'
import type { UpstreamClaims } from '../identity/access-token.ts'
import type { Json, JsonObject } from '../identity/json.ts'
import type { Statement, UpstreamTokens } from '../records/upstream-session.ts'
import type { UpstreamContext } from './context.ts'
import { describe, refreshFailure, signInFailure, unavailable } from './openid-errors.ts'
import { type OpenidClient, type OpenidServer, openidServer } from './openid-server.ts'
import {
  type BeginRequest,
  type ClaimsSchema,
  type Provider,
  ProviderUnavailable,
  type RedirectProvider,
  type Renewable,
  type Renewal,
  type SignIn,
  SignInRefused,
} from './provider.ts'

export interface OpenidOptions<Claims = UpstreamClaims> {
  /** Default: `openid`. */
  readonly id?: string
  /** What people read on the sign-in page. Default: the issuer's host. */
  readonly name?: string
  /** The provider's issuer identifier; the rest is read from its discovery document. `https`, or `http` on loopback. */
  readonly issuer: string
  /** This server's client id at the provider. */
  readonly clientId: string
  readonly clientSecret?: string
  /** Default: what the provider's metadata name, `client_secret_basic` first. */
  readonly clientAuthentication?: 'client_secret_basic' | 'client_secret_post' | 'none'
  /**
   * Default: `openid`, `profile` and `email`. With `offline_access`, or what the provider has in its place, `upstream.accessToken()` goes on
   * working when the first token has expired.
   */
  readonly scopes?: readonly string[]
  /** Types and checks what the provider says. Who does not satisfy it can't sign in. */
  readonly claims?: ClaimsSchema<Claims>
  /** Ask the userinfo endpoint too, at sign-in and at each refresh. Default: where the provider has one. */
  readonly userinfo?: boolean
  /** Added to each authorization request, such as `prompt`, `audience` or `access_type`. */
  readonly authorizationParameters?: Readonly<Record<string, string>>
  /**
   * Whether a session's tokens are revoked at the provider when it ends here. Must be false where that would end other sessions of the
   * person. Default: true.
   */
  readonly revokeTokens?: boolean
}

/**
 * An OpenID Provider, found by discovery.
 *
 * @throws TypeError for options that can't be right
 * @see OpenID Connect Core 1.0 §3.1, OpenID Connect Discovery 1.0, RFC 9207
 */
export const openid = <Claims = UpstreamClaims>(options: OpenidOptions<Claims>): Provider<Claims> => {
  const issuer = checkedIssuer(options.issuer)
  if (!options.clientId) throw new TypeError('openid: clientId is missing')
  const scopes = options.scopes ?? ['openid', 'profile', 'email']
  if (!scopes.includes('openid')) throw new TypeError('openid: scopes must contain "openid"')
  for (const name of Object.keys(options.authorizationParameters ?? {})) {
    if (ownParameters.has(name)) throw new TypeError(`openid: authorizationParameters can't set ${name}`)
  }
  return {
    id: options.id ?? 'openid',
    name: options.name ?? issuer.host,
    ...(options.claims === undefined ? {} : { claims: options.claims }),
    open: (context) => openProvider({ ...options, scopes }, issuer, context),
  }
}

const ownParameters = new Set([
  ...['client_id', 'response_type', 'response_mode', 'redirect_uri', 'scope', 'state', 'nonce'],
  ...['code_challenge', 'code_challenge_method', 'request', 'request_uri'],
])

const loopbackHosts = new Set(['localhost', '127.0.0.1', '[::1]'])

const checkedIssuer = (issuer: string): URL => {
  if (!URL.canParse(issuer)) throw new TypeError('openid: issuer must be a URL')
  const url = new URL(issuer)
  if (url.protocol === 'https:' || (url.protocol === 'http:' && loopbackHosts.has(url.hostname))) return url
  throw new TypeError('openid: issuer must be an https URL; http is allowed on loopback only')
}

// What a clock may be wrong, in seconds; also what openid-client tolerates.
const skew = 30

type OpenOptions = Omit<OpenidOptions<unknown>, 'claims'> & { readonly scopes: readonly string[] }

/** What we must remember from the request to the answer. */
type Pending = {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  /** Seconds since the epoch. */
  readonly begunAt: number
  readonly reauthenticate: boolean
  readonly maxAge?: number
}

const openProvider = (options: OpenOptions, issuer: URL, context: UpstreamContext): RedirectProvider => {
  const { clock, random, logger } = context
  const client: OpenidClient = {
    issuer,
    clientId: options.clientId,
    clientSecret: options.clientSecret,
    authentication: options.clientAuthentication,
  }
  const server = openidServer(client, context)

  const begin = async (request: BeginRequest): Promise<{ url: string; pending: JsonObject }> => {
    const { library, configuration } = await server()
    const pending: Pending = {
      state: request.state,
      nonce: base64url(random.bytes(24)),
      verifier: base64url(random.bytes(32)),
      begunAt: Math.floor(clock.now() / 1000),
      reauthenticate: request.reauthenticate,
      ...(request.maxAge === undefined ? {} : { maxAge: request.maxAge }),
    }
    const url = library.buildAuthorizationUrl(configuration, {
      ...authorizationParameters(options, request),
      nonce: pending.nonce,
      code_challenge: await library.calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: 'S256',
    })
    return { url: url.href, pending }
  }

  const complete = async (callback: URL, kept: JsonObject, redirectUri: string): Promise<SignIn> => {
    const pending = kept as unknown as Pending
    const at = await server()
    // Byte for byte the redirect URI of the request, whatever proxies made of the address that we were called by.
    const answered = new URL(redirectUri)
    answered.search = callback.search
    try {
      const answer = await at.library.authorizationCodeGrant(at.configuration, answered, {
        expectedState: pending.state,
        expectedNonce: pending.nonce,
        pkceCodeVerifier: pending.verifier,
        idTokenExpected: true,
        ...(pending.maxAge === undefined ? {} : { maxAge: pending.maxAge }),
      })
      const claims = answer.claims()
      if (!claims || answer.id_token === undefined) throw new SignInRefused('untrusted', { detail: 'no id_token' })
      await at.verifySignature(answer.id_token)
      const { auth_time: authTime = Math.floor(clock.now() / 1000) } = claims
      if (pending.reauthenticate && authTime + skew < pending.begunAt) {
        throw new SignInRefused('untrusted', { detail: 'the provider did not ask the person to sign in again' })
      }
      const userinfo = await askUserinfo(at, answer.access_token, claims.sub)
      return {
        issuer: claims.iss,
        subject: claims.sub,
        authTime,
        said: [statement('id_token', claims), ...(userinfo ? [userinfo] : [])],
        tokens: tokensOf(answer, { scope: options.scopes.join(' ') }),
      }
    } catch (error) {
      throw signInFailure(error)
    }
  }

  const refresh = async ({ issuer: expected, subject, tokens }: Renewable): Promise<Renewal> => {
    const at = await server()
    if (tokens.refreshToken === undefined) throw new ProviderUnavailable('no refresh token', { nothingDone: true })
    let answer: Answer
    try {
      answer = await at.library.refreshTokenGrant(at.configuration, tokens.refreshToken)
    } catch (error) {
      throw refreshFailure(error)
    }
    const claims = answer.claims()
    if (claims && (claims.sub !== subject || claims.iss !== expected)) {
      throw new ProviderUnavailable('the provider answered a refresh with another person’s id_token')
    }
    // From here on the old refresh token may be used up: what only concerns the claims must not cost us the new one.
    const said: Statement[] = []
    if (claims && answer.id_token !== undefined && (await isSigned(at, answer.id_token))) {
      said.push(statement('id_token', claims))
    }
    const userinfo = await askUserinfo(at, answer.access_token, subject).catch((error: unknown) => {
      logger.warn('userinfo failed at a refresh: what it said before stays', { reason: describe(error) })
      return undefined
    })
    if (userinfo) said.push(userinfo)
    return { tokens: tokensOf(answer, tokens), said }
  }

  /** @throws ProviderUnavailable for a signature that is wrong; false where the keys can't be had */
  const isSigned = async (at: OpenidServer, idToken: string): Promise<boolean> => {
    try {
      await at.verifySignature(idToken)
      return true
    } catch (error) {
      const failure = signInFailure(error)
      const missing = error instanceof Error && 'code' in error && error.code === 'ERR_JWKS_NO_MATCHING_KEY'
      if (failure instanceof SignInRefused && !missing) {
        throw new ProviderUnavailable('the provider answered a refresh with an id_token that is not its own')
      }
      logger.warn('an id_token of a refresh can’t be verified now: what was said before stays', {
        reason: describe(error),
      })
      return false
    }
  }

  const askUserinfo = async (at: OpenidServer, token: string, subject: string): Promise<Statement | undefined> => {
    if (!(options.userinfo ?? at.metadata.userinfo_endpoint !== undefined)) return undefined
    if (at.metadata.userinfo_endpoint === undefined) {
      throw new ProviderUnavailable('userinfo was asked for, but the provider has no userinfo endpoint')
    }
    return statement('userinfo', await at.library.fetchUserInfo(at.configuration, token, subject))
  }

  const revoke = async ({ accessToken, refreshToken }: UpstreamTokens): Promise<'revoked' | 'unsupported'> => {
    const { library, configuration, metadata } = await server()
    if (metadata.revocation_endpoint === undefined) return 'unsupported'
    try {
      // With the refresh token its access tokens end too, where the provider can do that. @see RFC 7009 §2.1
      const parameters = { token_type_hint: refreshToken === undefined ? 'access_token' : 'refresh_token' }
      await library.tokenRevocation(configuration, refreshToken ?? accessToken, parameters)
      return 'revoked'
    } catch (error) {
      throw unavailable(error)
    }
  }

  const statement = (source: Statement['source'], claims: object): Statement => ({
    source,
    at: clock.now(),
    claims: claims as { readonly [name: string]: Json | undefined },
  })

  const tokensOf = (answer: Answer, before: Partial<UpstreamTokens>): UpstreamTokens => {
    const refreshToken = answer.refresh_token ?? before.refreshToken
    const idToken = answer.id_token ?? before.idToken
    const scope = answer.scope ?? before.scope
    return {
      accessToken: answer.access_token,
      ...(refreshToken === undefined ? {} : { refreshToken }),
      ...(idToken === undefined ? {} : { idToken }),
      ...(scope === undefined ? {} : { scope }),
      ...(answer.expires_in === undefined ? {} : { expiresAt: clock.now() + Math.floor(answer.expires_in * 1000) }),
    }
  }

  return { kind: 'redirect', begin, complete, refresh, ...(options.revokeTokens === false ? {} : { revoke }) }
}

type Answer = TokenEndpointResponse & TokenEndpointResponseHelpers

const authorizationParameters = (options: OpenOptions, request: BeginRequest): Record<string, string> => {
  const configured = options.authorizationParameters ?? {}
  const prompts = new Set((configured.prompt ?? '').split(' ').filter(Boolean))
  if (request.reauthenticate) prompts.add('login')
  if (request.selectAccount) prompts.add('select_account')
  return {
    ...configured,
    scope: options.scopes.join(' '),
    redirect_uri: request.redirectUri,
    state: request.state,
    ...(prompts.size === 0 ? {} : { prompt: [...prompts].join(' ') }),
    ...(request.maxAge === undefined ? {} : { max_age: String(request.maxAge) }),
    ...(request.loginHint === undefined ? {} : { login_hint: request.loginHint }),
  }
}
