import { base64url } from '../crypto/bytes.ts'
import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import type { Statement, UpstreamTokens } from '../records/upstream-session.ts'
import type { AdmissionOptions } from './admission.ts'
import { authorizationParameters, checkedUrl, checkParameters } from './authorization-parameters.ts'
import { boundedFetch } from './bounded-fetch.ts'
import { type AuthenticateClient, clientCredential } from './client-credential.ts'
import type { UpstreamContext } from './context.ts'
import { type Oauth2Client, oauth2Client } from './oauth2-client.ts'
import { describe, refreshFailure, signInFailure, unavailable, validationFailure } from './openid-errors.ts'
import {
  type BeginRequest,
  type Provider,
  ProviderUnavailable,
  type RedirectProvider,
  type Renewable,
  type Renewal,
  type SignIn,
  SignInRefused,
  UpstreamRefused,
} from './provider.ts'
import { asksForReauthentication, notReauthenticated, withoutReauthentication } from './reauthentication.ts'
import { describedProvider, type RedirectOptions } from './redirect-options.ts'
import type { RevalidationOptions } from './revalidation.ts'
import type { ErrorCodes } from './standard-answer.ts'
import { tokensOf } from './token-answer.ts'
import { askUser, type UserApi } from './user-api.ts'

/** What a preset takes as it is. */
export type Oauth2PresetOptions<Claims> = RevalidationOptions &
  AdmissionOptions<Claims> &
  Partial<Pick<Oauth2Options<Claims>, 'id' | 'name' | 'scopes'>> &
  Pick<Oauth2Options<Claims>, 'clientId' | 'claims'>

export interface Oauth2Options<Claims = UpstreamClaims> extends RedirectOptions<Claims> {
  readonly id: string
  readonly name: string
  /**
   * Who vouches for the subjects: a URL of the provider that never changes. Where the provider sends `iss` back with its answer, it must be
   * this one (RFC 9207).
   */
  readonly issuer: string
  readonly authorizationEndpoint: string
  readonly tokenEndpoint: string
  /** What stands between granted scopes in the provider's answer. Default: a space, as RFC 6749 says. */
  readonly scopeSeparator?: string
  /** Whether the provider takes a code challenge (RFC 7636). Default: true. */
  readonly pkce?: boolean
  /** Where the provider says who the token is for. */
  readonly user: UserApi
  /** Error codes of the provider's own at its token endpoint, and which of OAuth's they are; `invalid_grant` ends a session. */
  readonly errors?: ErrorCodes
  /** The request that ends one token at the provider, and no other session of the person. Without it nothing is revoked there. */
  readonly revocation?: (accessToken: string) => { readonly url: string; readonly init: RequestInit }
}

/**
 * A provider of plain OAuth 2.0: no id_token, so its user API says who the person is, asked with the very token that was just issued.
 *
 * Such a provider doesn't say when the person authenticated, and can't be asked to do it again: a request for that (`prompt=login`,
 * `max_age`) is refused rather than believed.
 *
 * @throws TypeError for options that can't be right
 * @see RFC 6749, RFC 7636, RFC 9207
 */
export const oauth2 = <Claims = UpstreamClaims>(options: Oauth2Options<Claims>): Provider<Claims> => {
  const { id, name, user } = options
  checkedUrl(id, 'issuer', options.issuer)
  checkedUrl(id, 'authorizationEndpoint', options.authorizationEndpoint)
  checkedUrl(id, 'tokenEndpoint', options.tokenEndpoint)
  checkedUrl(id, 'user.url', user.url)
  for (const [member, url] of Object.entries(user.more ?? {})) checkedUrl(id, `user.more.${member}`, url)
  if (!options.clientId) throw new TypeError(`${id}: clientId is missing`)
  checkParameters(id, options.authorizationParameters)
  const authenticate = clientCredential(id, options)
  return {
    ...describedProvider(id, name, options),
    open: (context) => openOauth2(options, authenticate, context),
  }
}

/** What we must remember from the request to the answer. */
type Pending = {
  readonly state: string
  readonly verifier?: string
  /** The person was to prove again who they are. */
  readonly fresh: boolean
}

const openOauth2 = (
  options: Omit<Oauth2Options<unknown>, 'claims' | 'admit'>,
  authenticate: AuthenticateClient,
  context: UpstreamContext,
): RedirectProvider => {
  const { clock, random, logger } = context
  const fetch = boundedFetch(context.fetch)
  const { issuer, scopes = [], pkce = true } = options
  const opened: { client?: Promise<Oauth2Client> } = {}
  const client = () => {
    opened.client ??= oauth2Client(options, authenticate, fetch)
    return opened.client
  }

  const begin = async (request: BeginRequest): Promise<{ url: string; pending: JsonObject }> => {
    const { library, configuration } = await client()
    const verifier = pkce ? base64url(random.bytes(32)) : undefined
    const pending: Pending = {
      state: request.state,
      ...(verifier === undefined ? {} : { verifier }),
      fresh: asksForReauthentication(request),
    }
    const asked = withoutReauthentication(request)
    const url = library.buildAuthorizationUrl(configuration, {
      ...authorizationParameters(options.authorizationParameters ?? {}, scopes, asked),
      ...(verifier === undefined
        ? {}
        : { code_challenge: await library.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }),
    })
    return { url: url.href, pending }
  }

  const complete = async (callback: URL, kept: JsonObject, redirectUri: string): Promise<SignIn> => {
    const { state, verifier, fresh } = kept as unknown as Pending
    if (fresh) throw notReauthenticated()
    const { library, configuration } = await client()
    // Byte for byte the redirect URI of the request, whatever proxies made of the address that we were called by.
    const answered = new URL(redirectUri)
    answered.search = callback.search
    try {
      const answer = await library.authorizationCodeGrant(configuration, answered, {
        expectedState: state,
        ...(verifier === undefined ? {} : { pkceCodeVerifier: verifier }),
      })
      const { subject, claims } = await askUser(options.user, answer.access_token, fetch)
      const now = clock.now()
      return {
        issuer,
        subject,
        authTime: Math.floor(now / 1000),
        authTimeAssumed: true,
        said: [{ source: 'userinfo', at: now, claims }],
        tokens: tokensOf(answer, { scope: scopes.join(' ') }, now),
      }
    } catch (error) {
      throw signInFailure(error)
    }
  }

  const refresh = async ({ subject, tokens }: Renewable): Promise<Renewal> => {
    if (tokens.refreshToken === undefined) throw new ProviderUnavailable('no refresh token', { nothingDone: true })
    const { library, configuration } = await client()
    let renewed: UpstreamTokens
    try {
      const answer = await library.refreshTokenGrant(configuration, tokens.refreshToken)
      renewed = tokensOf(answer, tokens, clock.now())
    } catch (error) {
      throw refreshFailure(error)
    }
    // The old refresh token may be used up: what only concerns the claims must not cost us the new one.
    const person = await askUser(options.user, renewed.accessToken, fetch).catch((error: unknown) => {
      if (error instanceof SignInRefused) throw new UpstreamRefused('the person is blocked at the provider')
      logger.warn('the user API failed at a refresh: what it said before stays', { reason: describe(error) })
      return undefined
    })
    if (person === undefined) return { tokens: renewed, said: [] }
    if (person.subject !== subject) {
      throw new ProviderUnavailable('the provider answered a refresh with another person’s token')
    }
    const said: Statement = { source: 'userinfo', at: clock.now(), claims: person.claims }
    return { tokens: renewed, said: [said] }
  }

  const validate = async ({ subject, tokens }: Renewable): Promise<readonly Statement[]> => {
    try {
      const person = await askUser(options.user, tokens.accessToken, fetch)
      if (person.subject !== subject) throw new ProviderUnavailable('the user API answered another person')
      return [{ source: 'userinfo', at: clock.now(), claims: person.claims }]
    } catch (error) {
      if (error instanceof SignInRefused) throw new UpstreamRefused('the person is blocked at the provider')
      throw validationFailure(error)
    }
  }

  const { revocation } = options
  const provider = { kind: 'redirect', reauthenticates: false, begin, complete, refresh, validate } as const
  if (!revocation) return provider
  const revoke = async ({ accessToken }: UpstreamTokens): Promise<'revoked'> => {
    const { url, init } = revocation(accessToken)
    let answer: Response
    try {
      answer = await fetch(url, init)
    } catch (error) {
      throw unavailable(error)
    }
    // What is not there any more is revoked, too.
    if (answer.ok || answer.status === 404 || answer.status === 422) return 'revoked'
    throw new ProviderUnavailable('the provider did not revoke a token', { detail: `status ${answer.status}` })
  }
  return { ...provider, revoke }
}
