import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import type { ClientCredentialOptions } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface CognitoOptions<Claims = UpstreamClaims> extends PresetOptions<Claims>, ClientCredentialOptions {
  /** The user pool's id, such as `eu-central-1_AbCdEfGhI`; its region is in it. */
  readonly userPool: string
}

/**
 * Sign in with an Amazon Cognito user pool.
 *
 * `groups` is made of `cognito:groups`, `preferred_username` (where the pool has none) of `cognito:username`, and `email_verified` is a boolean,
 * though userinfo says it as text. Cognito's access tokens have no `aud`: an API behind you must check their `client_id`.
 *
 * Set up: an app client with the authorization code grant, the scopes `openid`, `profile` and `email`, the callback URL
 * `<url>/authorize/callback/cognito`, and a domain for the pool. Cognito knows no `offline_access`: it always gives a refresh token. Access
 * tokens live an hour, refresh tokens 30 days (both can be set, from the sign-in on); they rotate where the app client says so. When a
 * session ends here, its tokens are revoked there; other sessions go on.
 *
 * @see https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html
 * @see https://docs.aws.amazon.com/cognito/latest/developerguide/revocation-endpoint.html
 */
export const cognito = <Claims = UpstreamClaims>(options: CognitoOptions<Claims>): Provider<Claims> => {
  const { userPool, ...common } = options
  const [, region] = /^([a-z]{2}(?:-[a-z]+)+-\d+)_[0-9a-zA-Z]+$/.exec(userPool) ?? []
  if (region === undefined) throw new TypeError('cognito: userPool is an id, such as eu-central-1_AbCdEfGhI')
  return openid({
    id: 'cognito',
    name: 'Amazon Cognito',
    ...common,
    issuer: `https://cognito-idp.${region}.amazonaws.com/${userPool}`,
    derive: standardClaims,
  })
}

const standardClaims = (said: JsonObject): JsonObject => {
  const { 'cognito:groups': groups, 'cognito:username': username, email_verified: verified, preferred_username } = said
  return {
    ...(Array.isArray(groups) ? { groups } : {}),
    ...(preferred_username === undefined && username !== undefined ? { preferred_username: username } : {}),
    ...(verified === 'true' || verified === 'false' ? { email_verified: verified === 'true' } : {}),
  }
}
