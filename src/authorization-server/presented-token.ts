import { TokenInvalid } from '../identity/verifier.ts'
import { OAuthError } from '../oauth/errors.ts'
import { readParameters } from '../oauth/parameters.ts'
import { type AuthorizationGrant, type Grant, grantRef, isAuthorization } from '../records/grant.ts'
import type { Stored } from '../records/records.ts'
import type { ServerContext } from './context.ts'
import { readSignedAccessToken, type SignedAccessToken } from './signed-access-token.ts'
import { isGenuine, parseRefreshToken, type RefreshToken } from './tokens.ts'

/**
 * The token that a request is about. Longer than other parameters may be: access tokens carry the claims that the server names. Of what kind it
 * is, its form says; a hint is not needed.
 * @throws OAuthError `invalid_request`
 * @see RFC 7009 §2.1, RFC 7662 §2.1
 */
export const readToken = (form: URLSearchParams): string => {
  readParameters(form, ['token_type_hint'])
  const [token, ...others] = form.getAll('token')
  if (token === undefined || token === '') throw new OAuthError('invalid_request', 'token is missing')
  if (others.length > 0) throw new OAuthError('invalid_request', 'token was sent more than once')
  return token
}

/** A token that we made. */
export type PresentedToken =
  | {
      readonly kind: 'refresh'
      readonly token: RefreshToken
      readonly grant: Stored<AuthorizationGrant>
      /** The store's clock when the grant was read. */
      readonly now: number
    }
  /** `grant` is absent where it has ended, and from a client's own token. */
  | { readonly kind: 'access'; readonly signed: SignedAccessToken; readonly grant: Stored<Grant> | undefined }

/**
 * What a token is, if it is one of ours: of any generation, and an expired one too. Whether it is still good is another question.
 * @throws StoreUnavailable
 */
export const findPresented = (server: ServerContext, token: string): Promise<PresentedToken | undefined> =>
  looksLikeRefreshToken(token) ? findRefreshToken(server, token) : accessToken(server, token)

/** An access token is a JWT. */
export const looksLikeRefreshToken = (token: string): boolean => token.startsWith('cs_')

/** As `findPresented`. */
export const findRefreshToken = async (
  server: ServerContext,
  text: string,
): Promise<Extract<PresentedToken, { kind: 'refresh' }> | undefined> => {
  const token = parseRefreshToken(text)
  if (!token) return undefined
  const { values, now } = await server.records.get(grantRef(token.grant))
  const [grant] = values
  const salt = isAuthorization(grant) ? grant.value.refresh?.salt : undefined
  const key = salt === undefined ? undefined : await server.keys.macKeyById(token.keyId)
  if (!isAuthorization(grant) || salt === undefined || !key || !isGenuine(token, salt, key)) return undefined
  return { kind: 'refresh', token, grant, now }
}

const accessToken = async (server: ServerContext, text: string): Promise<PresentedToken | undefined> => {
  try {
    const signed = await readSignedAccessToken(server, text, { expired: true })
    const grant = signed.grant === undefined ? undefined : (await server.records.get(grantRef(signed.grant))).values[0]
    return { kind: 'access', signed, grant }
  } catch (error) {
    if (error instanceof TokenInvalid) return undefined
    throw error
  }
}
