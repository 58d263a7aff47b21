import type { UpstreamClaims } from '../identity/access-token.ts'
import { type ClientCredentialOptions, requireCredential } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface OktaOptions<Claims = UpstreamClaims> extends PresetOptions<Claims>, ClientCredentialOptions {
  /** Your Okta domain, such as `example.okta.com`, without `-admin`. */
  readonly domain: string
  /** A custom authorization server's id, such as `default`. Without it the organization's own server is asked. */
  readonly authorizationServer?: string
}

/**
 * Sign in with Okta.
 *
 * Set up: an OIDC web application with the redirect URI `<url>/authorize/callback/okta` and the grant types "Authorization Code" and "Refresh
 * Token" (without the latter, leave `offline_access` out of `scopes`). `groups` comes where the application (organization's server: with the
 * scope `groups`) or the authorization server has a groups claim.
 *
 * Access tokens live an hour, refresh tokens as the access policy says; whether they rotate is set in the application. When a session ends here, its tokens are revoked there; other sessions go on.
 *
 * @see https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/
 */
export const okta = <Claims = UpstreamClaims>(options: OktaOptions<Claims>): Provider<Claims> => {
  const { domain, authorizationServer, ...common } = options
  const { clientKey } = options
  requireCredential(options.id ?? 'okta', options)
  if (!/^[a-z0-9.-]+$/i.test(domain)) throw new TypeError('okta: domain is a host name, such as example.okta.com')
  return openid({
    id: 'okta',
    name: 'Okta',
    ...common,
    ...(clientKey ? { clientKey: { audience: 'token_endpoint', ...clientKey } } : {}),
    issuer: `https://${domain}${authorizationServer === undefined ? '' : `/oauth2/${authorizationServer}`}`,
    scopes: options.scopes ?? ['openid', 'profile', 'email', 'offline_access'],
  })
}
