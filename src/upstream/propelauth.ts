import type { UpstreamClaims } from '../identity/access-token.ts'
import type { JsonObject } from '../identity/json.ts'
import { type Oauth2PresetOptions, oauth2 } from './oauth2.ts'
import type { Provider } from './provider.ts'

export interface PropelauthOptions<Claims = UpstreamClaims> extends Oauth2PresetOptions<Claims> {
  readonly clientSecret: string
  /** The authentication URL, such as `https://auth.example.com`. */
  readonly authUrl: string
  /** Sign in to this organization. */
  readonly organization?: string
}

/**
 * Sign in with PropelAuth, by its OAuth 2.0 endpoints. The subject is `user_id`.
 *
 * Set up: on the OAuth Config page a client with the redirect URI `<url>/authorize/callback/propelauth`. `organization` says where people sign in,
 * and not who is let in.
 *
 * @see https://docs.propelauth.com/reference/api/oauth2
 */
export const propelauth = <Claims = UpstreamClaims>(options: PropelauthOptions<Claims>): Provider<Claims> => {
  const { authUrl, organization, ...common } = options
  const base = authUrl.replace(/\/+$/, '')
  return oauth2({
    id: 'propelauth',
    name: 'PropelAuth',
    ...common,
    issuer: base,
    authorizationEndpoint: `${base}/propelauth/oauth/authorize`,
    tokenEndpoint: `${base}/propelauth/oauth/token`,
    user: { url: `${base}/propelauth/oauth/userinfo`, subject: 'user_id' },
    ...(organization === undefined ? {} : { authorizationParameters: { org_id: organization } }),
    derive: standardClaims,
  })
}

/** @see OpenID Connect Core §5.1 */
const standardClaims = ({ username, picture_url, email_confirmed, first_name, last_name }: JsonObject): JsonObject => {
  const name = [first_name, last_name].filter((part) => typeof part === 'string' && part !== '').join(' ')
  return {
    ...(typeof username === 'string' ? { preferred_username: username } : {}),
    ...(typeof picture_url === 'string' ? { picture: picture_url } : {}),
    ...(typeof email_confirmed === 'boolean' ? { email_verified: email_confirmed } : {}),
    ...(typeof first_name === 'string' ? { given_name: first_name } : {}),
    ...(typeof last_name === 'string' ? { family_name: last_name } : {}),
    ...(name === '' ? {} : { name }),
  }
}
