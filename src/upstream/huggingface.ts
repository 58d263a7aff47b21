import type { UpstreamClaims } from '../identity/access-token.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface HuggingfaceOptions<Claims = UpstreamClaims> extends PresetOptions<Claims> {
  readonly clientSecret?: string
}

/**
 * Sign in with Hugging Face.
 *
 * The subject stays when an account is renamed. `orgs` are the organizations, each with the person's `roleInOrg`; some of what is said of one is
 * there only where the person let the application see it.
 *
 * Set up: an OAuth application in your settings, with the redirect URL `<url>/authorize/callback/huggingface` and the scopes `openid`, `profile`
 * and `email`. How long its tokens live is set there.
 *
 * @see https://huggingface.co/docs/hub/oauth
 */
export const huggingface = <Claims = UpstreamClaims>(options: HuggingfaceOptions<Claims>): Provider<Claims> =>
  openid({ id: 'huggingface', name: 'Hugging Face', ...options, issuer: 'https://huggingface.co', revokeTokens: false })
