import type { UpstreamClaims } from '../identity/access-token.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface WorkosOptions<Claims = UpstreamClaims> extends PresetOptions<Claims> {
  readonly clientSecret: string
  /** AuthKit's host, such as `example.authkit.app`, or your own domain for it. */
  readonly domain: string
}

/**
 * Sign in with WorkOS AuthKit.
 *
 * Set up: in WorkOS Connect an OAuth application with the redirect URI `<url>/authorize/callback/workos`; its client id and secret (not those of
 * the environment's API). A refresh token is given for `offline_access`.
 *
 * @see https://workos.com/docs/reference/workos-connect/authorize
 */
export const workos = <Claims = UpstreamClaims>(options: WorkosOptions<Claims>): Provider<Claims> => {
  const { domain, ...common } = options
  if (!/^[a-z0-9.-]+$/i.test(domain)) throw new TypeError('workos: domain is a host name, such as example.authkit.app')
  return openid({
    id: 'workos',
    name: 'WorkOS',
    ...common,
    issuer: `https://${domain}`,
    clientAuthentication: 'client_secret_post',
    scopes: options.scopes ?? ['openid', 'profile', 'email', 'offline_access'],
  })
}
