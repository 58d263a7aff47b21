import type { UpstreamClaims } from '../identity/access-token.ts'
import type { ClientCredentialOptions } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface GitlabOptions<Claims = UpstreamClaims> extends PresetOptions<Claims>, ClientCredentialOptions {
  /** Your own GitLab's address. Default: `https://gitlab.com`. */
  readonly server?: string
}

/**
 * Sign in with GitLab.
 *
 * The subject is the number of the account. `groups` (paths of all groups, from userinfo) and `groups_direct` (from the id_token) come with
 * `openid`; `email` and `email_verified` with `email`.
 *
 * Set up: an application with the redirect URI `<url>/authorize/callback/gitlab`, "Confidential", and the scopes `openid`, `profile` and
 * `email`. GitLab always gives a refresh token. Access tokens live two hours; each refresh ends the refresh token before. When a session ends
 * here, its token is revoked there; other sessions go on.
 *
 * @see https://docs.gitlab.com/integration/openid_connect_provider/
 */
export const gitlab = <Claims = UpstreamClaims>(options: GitlabOptions<Claims>): Provider<Claims> => {
  const { server = 'https://gitlab.com', ...common } = options
  return openid({ id: 'gitlab', name: 'GitLab', ...common, issuer: server.replace(/\/+$/, '') })
}
