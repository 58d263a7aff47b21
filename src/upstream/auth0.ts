import type { UpstreamClaims } from '../identity/access-token.ts'
import { type ClientCredentialOptions, requireCredential } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface Auth0Options<Claims = UpstreamClaims> extends PresetOptions<Claims>, ClientCredentialOptions {
  /** Your tenant's domain, such as `example.eu.auth0.com`, or your custom domain. */
  readonly domain: string
  /** The API that `upstream.accessToken()` is for. Without it that token is opaque, and good for userinfo only. */
  readonly audience?: string
  /** What an Action of yours puts before its claims, such as `https://example.com/`: `…roles` and `…groups` are then `roles` and `groups`. */
  readonly namespace?: string
  /** An organization's id that people sign in to (`org_…`); its id_tokens are then the only ones that are accepted. */
  readonly organization?: string
}

/**
 * Sign in with Auth0. Its issuer ends with a slash.
 *
 * Set up: a Regular Web Application with the callback URL `<url>/authorize/callback/auth0`; "Allow Offline Access" in the API of `audience`.
 * Auth0 gives no roles by itself: an Action adds them, under a namespace.
 *
 * Access tokens live 24 hours; how long refresh tokens live, and whether they rotate, is set in the application.
 * Revoking one refresh token ends, by default, all that the person gave this application, so nothing is revoked there.
 *
 * @see https://auth0.com/docs/secure/tokens/refresh-tokens/revoke-refresh-tokens
 * @see https://auth0.com/docs/secure/tokens/json-web-tokens/create-custom-claims
 */
export const auth0 = <Claims = UpstreamClaims>(options: Auth0Options<Claims>): Provider<Claims> => {
  const { domain, audience, namespace, organization, ...common } = options
  requireCredential(options.id ?? 'auth0', options)
  if (!/^[a-z0-9.-]+$/i.test(domain)) throw new TypeError('auth0: domain is a host name, such as example.eu.auth0.com')
  return openid({
    id: 'auth0',
    name: 'Auth0',
    ...common,
    issuer: `https://${domain}/`,
    scopes: options.scopes ?? ['openid', 'profile', 'email', 'offline_access'],
    authorizationParameters: {
      ...(audience === undefined ? {} : { audience }),
      ...(organization === undefined ? {} : { organization }),
    },
    revokeTokens: false,
    ...(organization === undefined
      ? {}
      : { check: ({ org_id }) => (org_id === organization ? undefined : 'not of the configured organization') }),
    ...(namespace === undefined
      ? {}
      : {
          derive: (said) => ({
            ...(Array.isArray(said[`${namespace}roles`]) ? { roles: said[`${namespace}roles`] } : {}),
            ...(Array.isArray(said[`${namespace}groups`]) ? { groups: said[`${namespace}groups`] } : {}),
          }),
        }),
  })
}
