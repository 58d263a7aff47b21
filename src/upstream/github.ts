import type { UpstreamClaims } from '../identity/access-token.ts'
import type { Json, JsonObject } from '../identity/json.ts'
import { type Oauth2PresetOptions, oauth2 } from './oauth2.ts'
import type { Provider } from './provider.ts'

export interface GithubOptions<Claims = UpstreamClaims> extends Oauth2PresetOptions<Claims> {
  readonly clientSecret: string
  /** Default: `read:user` and `user:email`. A GitHub App has permissions instead and takes none: give an empty list. */
  readonly scopes?: readonly string[]
  /** GitHub Enterprise Server: its address, such as `https://github.example.com`. */
  readonly server?: string
  /** Whether to ask which organizations the person is in, as the claim `organizations`. Needs the scope `read:org` for private ones. */
  readonly organizations?: boolean
}

/**
 * Sign in with GitHub, or with a GitHub Enterprise Server.
 *
 * GitHub is not an OpenID Provider: who the person is comes from `/user` and `/user/emails`. The subject is the number of the account, which
 * stays when its login name is changed. Claims: all of `/user`, `emails`, and made of them `preferred_username` (the login), `picture`,
 * `profile`, and `email` with `email_verified` (the primary address; without the scope for it, the public one, unverified).
 *
 * Set up: an OAuth app or a GitHub App with the callback URL `<url>/authorize/callback/github`. Tokens of OAuth apps have no end and no refresh
 * token; those of GitHub Apps live eight hours, with a refresh token that rotates and lives six months. A GitHub App needs the account
 * permission "Email addresses: read". Errors come with status 200. When a session ends here, only its own token is revoked there.
 * An OAuth app may hold ten tokens of a person with the same scopes: the eleventh sign-in ends the oldest.
 *
 * @see https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
 * @see https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens
 */
export const github = <Claims = UpstreamClaims>(options: GithubOptions<Claims>): Provider<Claims> => {
  const { server, organizations = false, ...common } = options
  const { clientId, clientSecret } = options
  const base = (server ?? 'https://github.com').replace(/\/+$/, '')
  const api = server === undefined ? 'https://api.github.com' : `${base}/api/v3`
  const headers = { accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28' }
  return oauth2({
    id: 'github',
    name: 'GitHub',
    ...common,
    issuer: `${base}/login/oauth`,
    authorizationEndpoint: `${base}/login/oauth/authorize`,
    tokenEndpoint: `${base}/login/oauth/access_token`,
    clientAuthentication: 'client_secret_post',
    scopes: options.scopes ?? ['read:user', 'user:email'],
    scopeSeparator: ',',
    user: {
      url: `${api}/user`,
      subject: 'id',
      headers,
      // `Sorry. Your account was suspended.`
      isBlocked: (status, said) => status === 403 && /\baccount was suspended\b/i.test(String(said?.message)),
      more: {
        emails: `${api}/user/emails?per_page=100`,
        ...(organizations ? { organizations: `${api}/user/orgs?per_page=100` } : {}),
      },
    },
    derive: standardClaims,
    errors: {
      bad_verification_code: 'invalid_grant',
      bad_refresh_token: 'invalid_grant',
      incorrect_client_credentials: 'invalid_client',
      redirect_uri_mismatch: 'invalid_request',
      // The person's to mend, at GitHub.
      unverified_user_email: 'access_denied',
    },
    revocation: (token) => ({
      url: `${api}/applications/${encodeURIComponent(clientId)}/token`,
      init: {
        method: 'DELETE',
        headers: {
          ...headers,
          'user-agent': 'countersign',
          'content-type': 'application/json',
          authorization: `Basic ${btoa(`${clientId}:${clientSecret}`)}`,
        },
        body: JSON.stringify({ access_token: token }),
      },
    }),
  })
}

/** @see OpenID Connect Core §5.1 */
const standardClaims = ({ login, avatar_url, html_url, email, emails }: JsonObject): JsonObject => {
  const primary = Array.isArray(emails) ? emails.find(isPrimary) : undefined
  const address = primary?.email ?? email
  return {
    ...(typeof login === 'string' ? { preferred_username: login } : {}),
    ...(typeof avatar_url === 'string' ? { picture: avatar_url } : {}),
    ...(typeof html_url === 'string' ? { profile: html_url } : {}),
    ...(typeof address === 'string' ? { email: address, email_verified: primary?.verified === true } : {}),
  }
}

const isPrimary = (each: Json): each is JsonObject =>
  typeof each === 'object' && each !== null && !Array.isArray(each) && (each as JsonObject).primary === true
