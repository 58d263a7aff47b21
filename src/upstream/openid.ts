import { decodeJwt } from 'jose'
import type { TokenEndpointResponse, TokenEndpointResponseHelpers } from 'openid-client'
import { base64url } from '../crypto/bytes.ts'
import type { UpstreamClaims } from '../identity/access-token.ts'
import type { Json, JsonObject } from '../identity/json.ts'
import { statedAuthTime } from '../policy/sign-in.ts'
import type { Statement, UpstreamTokens } from '../records/upstream-session.ts'
import { authorizationParameters, checkedUrl, checkParameters } from './authorization-parameters.ts'
import { boundedFetch } from './bounded-fetch.ts'
import { type AuthenticateClient, clientCredential } from './client-credential.ts'
import type { UpstreamContext } from './context.ts'
import { checkAddressed, readLogoutToken } from './logout-token.ts'
import { exchangeAt, type OnBehalfOf } from './on-behalf-of.ts'
import { describe, refreshFailure, signInFailure, unavailable, validationFailure } from './openid-errors.ts'
import type { OpenidOptions, PresetOptions } from './openid-options.ts'
import { type OpenidClient, type OpenidServer, openidServer } from './openid-server.ts'
import {
  type BeginRequest,
  type LogoutToken,
  type Provider,
  ProviderUnavailable,
  type RedirectProvider,
  type Renewable,
  type Renewal,
  type SignIn,
  SignInRefused,
  UpstreamRefused,
} from './provider.ts'
import {
  asksForReauthentication,
  assumedTime,
  checkReauthenticates,
  isBestPushed,
  notReauthenticated,
  possibleRequest,
} from './reauthentication.ts'
import { describedProvider } from './redirect-options.ts'
import { tokensOf } from './token-answer.ts'

export type { OpenidOptions, PresetOptions }

/**
 * An OpenID Provider, found by discovery.
 *
 * @throws TypeError for options that can't be right
 * @see OpenID Connect Core 1.0 §3.1, OpenID Connect Discovery 1.0, RFC 9207
 */
export const openid = <Claims = UpstreamClaims>(options: OpenidOptions<Claims>): Provider<Claims> => {
  const issuer = checkedUrl('openid', 'issuer', options.issuer)
  if (!options.clientId) throw new TypeError('openid: clientId is missing')
  const scopes = options.scopes ?? ['openid', 'profile', 'email']
  if (!scopes.includes('openid')) throw new TypeError('openid: scopes must contain "openid"')
  checkParameters('openid', options.authorizationParameters)
  checkReauthenticates('openid', options.reauthenticates)
  const authenticate = clientCredential(options.id ?? 'openid', options)
  return {
    ...describedProvider(options.id ?? 'openid', options.name ?? issuer.host, options),
    ...(options.logoutEnds === undefined ? {} : { logoutEnds: options.logoutEnds }),
    open: (context) => openProvider({ ...options, scopes }, issuer, authenticate, context),
  }
}

// What a clock may be wrong, in seconds; also what openid-client tolerates.
const skew = 30

type OpenOptions = Omit<OpenidOptions<unknown>, 'claims' | 'admit'> & { readonly scopes: readonly string[] }

/** What we must remember from the request to the answer. */
type Pending = {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  /** Seconds since the epoch. */
  readonly begunAt: number
  readonly reauthenticate: boolean
  readonly maxAge?: number
  /** The person was to prove again who they are, which nobody can make this provider do. */
  readonly impossible?: boolean
  /** The request did not come through the browser, so nobody there has changed it. */
  readonly pushed?: boolean
}

const openProvider = (
  options: OpenOptions,
  issuer: URL,
  authenticate: AuthenticateClient,
  context: UpstreamContext,
): RedirectProvider => {
  const { clock, random, logger } = context
  const { reauthenticates = true } = options
  const client: OpenidClient = {
    issuer,
    clientId: options.clientId,
    authenticate,
    issuerTemplate: options.issuerTemplate,
    discovery: options.discovery,
    errors: options.errors,
  }
  const server = openidServer(client, context)
  const bounded = boundedFetch(context.fetch)

  const begin = async (asked: BeginRequest): Promise<{ url: string; pending: JsonObject }> => {
    const { library, configuration, metadata } = await server()
    const request = possibleRequest(asked, reauthenticates)
    const pushed =
      isBestPushed(request, reauthenticates) && metadata.pushed_authorization_request_endpoint !== undefined
    const pending: Pending = {
      state: request.state,
      nonce: base64url(random.bytes(24)),
      verifier: base64url(random.bytes(32)),
      begunAt: Math.floor(clock.now() / 1000),
      reauthenticate: request.reauthenticate,
      ...(request.maxAge === undefined ? {} : { maxAge: request.maxAge }),
      ...(reauthenticates === false && asksForReauthentication(asked) ? { impossible: true } : {}),
      ...(pushed ? { pushed } : {}),
    }
    const parameters = {
      ...authorizationParameters(options.authorizationParameters ?? {}, options.scopes, request),
      nonce: pending.nonce,
      ...(options.responseMode === undefined ? {} : { response_mode: options.responseMode }),
      code_challenge: await library.calculatePKCECodeChallenge(pending.verifier),
      code_challenge_method: 'S256',
    }
    try {
      const url = pushed
        ? await library.buildAuthorizationUrlWithPAR(configuration, parameters)
        : library.buildAuthorizationUrl(configuration, parameters)
      return { url: url.href, pending }
    } catch (error) {
      throw unavailable(error)
    }
  }

  const complete = async (callback: URL, kept: JsonObject, redirectUri: string): Promise<SignIn> => {
    const pending = kept as unknown as Pending
    if (pending.impossible) throw notReauthenticated()
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
      const stated = statedAuthTime(claims.auth_time, clock.now())
      if (stated === undefined && pending.maxAge !== undefined) {
        throw new SignInRefused('untrusted', { detail: 'auth_time is in the future' })
      }
      const authTime = stated ?? Math.floor(clock.now() / 1000)
      if (pending.reauthenticate && authTime + skew < pending.begunAt) {
        throw new SignInRefused('untrusted', { detail: 'the provider did not ask the person to sign in again' })
      }
      const wrong = options.check?.(claims as JsonObject)
      if (wrong !== undefined) throw new SignInRefused('denied', { detail: wrong })
      const subject = subjectOf(claims)
      if (subject === undefined)
        throw new SignInRefused('untrusted', { detail: `no ${options.subject} in the id_token` })
      const userinfo = await askUserinfo(at, answer.access_token, claims.sub)
      const access = await readAccessToken(at, answer.access_token, claims)
      const directory = await askDirectory(answer.access_token, claims)
      return {
        issuer: knownIssuer(claims.iss),
        subject,
        authTime,
        ...(stated === undefined ? assumedTime(pending, reauthenticates) : {}),
        said: [
          ...(options.answerClaims ? [statement('answer', options.answerClaims(callback.searchParams))] : []),
          ...(access ? [access] : []),
          statement('id_token', claims),
          ...(userinfo ? [userinfo] : []),
          ...(directory ? [directory] : []),
        ],
        tokens: tokensOf(answer, { scope: options.scopes.join(' ') }, clock.now()),
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
    if (claims && (subjectOf(claims) !== subject || knownIssuer(claims.iss) !== expected)) {
      throw new ProviderUnavailable('the provider answered a refresh with another person’s id_token')
    }
    // From here on the old refresh token may be used up: what only concerns the claims must not cost us the new one.
    const said: Statement[] = []
    if (claims && answer.id_token !== undefined && (await isSigned(at, answer.id_token))) {
      said.push(statement('id_token', claims))
    }
    // Without an id_token the provider's own `sub` is known only where it is our subject.
    const iss = options.discovery ? at.metadata.issuer : expected
    const known = claims ?? (options.subject === undefined ? { iss, sub: subject } : undefined)
    const access = known && (await readAccessToken(at, answer.access_token, known))
    if (access) said.push(access)
    const userinfo = await askUserinfo(at, answer.access_token, known?.sub).catch((error: unknown) => {
      logger.warn('userinfo failed at a refresh: what it said before stays', { reason: describe(error) })
      return undefined
    })
    if (userinfo) said.push(userinfo)
    const directory = await askDirectory(answer.access_token, claims).catch((error: unknown) => {
      logger.warn('a directory failed at a refresh: what it said before stays', { reason: describe(error) })
      return undefined
    })
    if (directory) said.push(directory)
    return { tokens: tokensOf(answer, tokens, clock.now()), said }
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

  /** The issuer by which people are known, of one that the id_token was checked to name. */
  const knownIssuer = (iss: string): string => (options.discovery ? options.issuer : iss)

  const subjectOf = (claims: { readonly sub: string; readonly [name: string]: unknown }): string | undefined => {
    const subject = claims[options.subject ?? 'sub']
    return typeof subject === 'string' && subject !== '' ? subject : undefined
  }

  /** What the access token itself says, where it can be verified and is about the same person. */
  const readAccessToken = async (
    at: OpenidServer,
    token: string,
    { iss, sub }: { readonly iss: string; readonly sub: string },
  ): Promise<Statement | undefined> => {
    if (!options.accessTokenClaims) return undefined
    try {
      await at.verifySignature(token)
      const claims = decodeJwt(token)
      if (claims.iss === iss && claims.sub === sub) return statement('access_token', claims)
      logger.warn('an access token of the provider is about somebody else: it is not read')
    } catch (error) {
      logger.warn('an access token of the provider can’t be verified: it is not read', { reason: describe(error) })
    }
    return undefined
  }

  const askUserinfo = async (at: OpenidServer, token: string, subject?: string): Promise<Statement | undefined> => {
    if (subject === undefined) return undefined
    if (!(options.userinfo ?? at.metadata.userinfo_endpoint !== undefined)) return undefined
    if (at.metadata.userinfo_endpoint === undefined) {
      throw new ProviderUnavailable('userinfo was asked for, but the provider has no userinfo endpoint')
    }
    return statement('userinfo', await at.fetchUserinfo(token, subject))
  }

  const askDirectory = async (token: string, idToken: object | undefined): Promise<Statement | undefined> => {
    if (!options.directory || !idToken) return undefined
    return statement('directory', await options.directory(idToken as JsonObject, token, bounded))
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

  const validate = async ({ subject, tokens }: Renewable): Promise<readonly Statement[]> => {
    const at = await server()
    if (at.metadata.userinfo_endpoint === undefined) throw new UpstreamRefused('nobody can be asked about this session')
    try {
      return [statement('userinfo', await at.fetchUserinfo(tokens.accessToken, subject))]
    } catch (error) {
      throw validationFailure(error)
    }
  }

  const readLogout = async (token: string): Promise<LogoutToken> => {
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
      throw new SignInRefused('untrusted', { detail: 'logout token: not a signed JWT' })
    }
    const at = await server()
    const { issuerTemplate } = options
    const expected = {
      clientId: options.clientId,
      isIssuer: (named: string, { tid }: { readonly tid?: unknown }) =>
        named ===
        (issuerTemplate === undefined ? at.metadata.issuer : issuerTemplate.replace('{tenantid}', String(tid ?? ''))),
    }
    checkAddressed(token, expected)
    try {
      await at.verifySignature(token)
    } catch (error) {
      throw signInFailure(error)
    }
    const read = readLogoutToken(token, { ...expected, now: Math.floor(clock.now() / 1000) })
    return { ...read, issuer: knownIssuer(read.issuer) }
  }

  const exchangeBy =
    (style: OnBehalfOf): NonNullable<RedirectProvider['exchange']> =>
    async ({ tokens }, target) =>
      exchangeAt(await server(), { clientId: options.clientId, authenticate, style, fetch: bounded }, tokens, target)

  const statement = (source: Statement['source'], claims: object): Statement => ({
    source,
    at: clock.now(),
    claims: claims as { readonly [name: string]: Json | undefined },
  })

  return {
    kind: 'redirect',
    ...(options.responseMode === 'form_post' ? { postsAnswer: true } : {}),
    ...(reauthenticates === true ? {} : { reauthenticates }),
    begin,
    complete,
    refresh,
    readLogout,
    ...(options.onBehalfOf === undefined ? {} : { exchange: exchangeBy(options.onBehalfOf) }),
    // Where the provider's own `sub` is not our subject, userinfo alone does not say whose it is.
    ...(options.userinfo === false || options.subject !== undefined ? {} : { validate }),
    ...(options.revokeTokens === false ? {} : { revoke }),
  }
}

type Answer = TokenEndpointResponse & TokenEndpointResponseHelpers
