import type { UpstreamClaims } from '../identity/access-token.ts'
import type { Json } from '../identity/json.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface GoogleOptions<Claims = UpstreamClaims> extends PresetOptions<Claims> {
  readonly clientSecret: string
  /** Only people of this Google Workspace domain; `*`: of any. Google shows its accounts only, and another's id_token is refused. */
  readonly domain?: string
  /** Ask for a refresh token, so that `upstream.accessToken()` works when the person is away. Default: true. */
  readonly offline?: boolean
  /** Google can't be made to sign a person in again. */
  readonly reauthenticates?: false
}

/**
 * Sign in with Google.
 *
 * Google gives a refresh token only with `access_type=offline`, and again only after it has asked for consent again; it knows no
 * `offline_access` scope and gives no groups. It has no `prompt=login`, and no `auth_time` for everybody. Revoking one token ends all that the person gave this client, so nothing is revoked there.
 *
 * @see https://developers.google.com/identity/protocols/oauth2/web-server
 */
export const google = <Claims = UpstreamClaims>(options: GoogleOptions<Claims>): Provider<Claims> => {
  const { domain, offline = true, reauthenticates = false, ...common } = options
  if (reauthenticates)
    throw new TypeError('google: Google can’t be made to sign a person in again: leave out reauthenticates')
  return openid({
    id: 'google',
    name: 'Google',
    ...common,
    issuer: 'https://accounts.google.com',
    clientAuthentication: 'client_secret_post',
    authorizationParameters: {
      ...(offline ? { access_type: 'offline', prompt: 'consent' } : {}),
      ...(domain === undefined ? {} : { hd: domain }),
    },
    revokeTokens: false,
    reauthenticates,
    // Google's page is a help for the person: whoever changes the address of it may choose any account.
    ...(domain === undefined
      ? {}
      : { check: ({ hd }) => (isOf(domain, hd) ? undefined : 'not of the configured domain') }),
  })
}

const isOf = (domain: string, hd: Json | undefined): boolean =>
  typeof hd === 'string' && (domain === '*' || hd.toLowerCase() === domain.toLowerCase())
