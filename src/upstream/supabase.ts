import type { UpstreamClaims } from '../identity/access-token.ts'
import type { ClientCredentialOptions } from './client-credential.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface SupabaseOptions<Claims = UpstreamClaims> extends PresetOptions<Claims>, ClientCredentialOptions {
  /** The project's address, such as `https://abcdefgh.supabase.co`. */
  readonly project: string
}

/**
 * Sign in with the users of a Supabase project, which is then an OpenID Provider.
 *
 * Set up: enable the OAuth 2.1 server (Authentication, OAuth Server), build its consent page, register a client with the redirect URI
 * `<url>/authorize/callback/supabase`, and let the project sign with an asymmetric key: it makes no id_tokens with HS256. A refresh token comes
 * without being asked for.
 *
 * @see https://supabase.com/docs/guides/auth/oauth-server/getting-started
 */
export const supabase = <Claims = UpstreamClaims>(options: SupabaseOptions<Claims>): Provider<Claims> => {
  const { project, ...common } = options
  return openid({ id: 'supabase', name: 'Supabase', ...common, issuer: `${project.replace(/\/+$/, '')}/auth/v1` })
}
