import type { UpstreamClaims } from '../identity/access-token.ts'
import type { ClientCredentialOptions } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface ClerkOptions<Claims = UpstreamClaims> extends PresetOptions<Claims>, ClientCredentialOptions {
  /** The Frontend API's host, such as `clerk.example.com`, or `….clerk.accounts.dev` in development. */
  readonly domain: string
}

/**
 * Sign in with the users of a Clerk application, which is then an OpenID Provider.
 *
 * Set up: in Clerk's dashboard an OAuth application with the scopes `openid`, `profile` and `email`, and the redirect URI
 * `<url>/authorize/callback/clerk`; its client id and secret.
 *
 * @see https://clerk.com/docs/quickstarts/clerk-oauth2
 */
export const clerk = <Claims = UpstreamClaims>(options: ClerkOptions<Claims>): Provider<Claims> => {
  const { domain, ...common } = options
  if (!/^[a-z0-9.-]+$/i.test(domain)) throw new TypeError('clerk: domain is a host name, such as clerk.example.com')
  return openid({ id: 'clerk', name: 'Clerk', ...common, issuer: `https://${domain}` })
}
