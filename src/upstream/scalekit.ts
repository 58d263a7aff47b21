import type { UpstreamClaims } from '../identity/access-token.ts'
import { openid, type PresetOptions } from './openid.ts'
import type { Provider } from './provider.ts'

export interface ScalekitOptions<Claims = UpstreamClaims> extends PresetOptions<Claims> {
  readonly clientSecret: string
  /** The environment's address, such as `https://example.scalekit.com`. */
  readonly environment: string
  /** Sign in by this organization's connection. */
  readonly organization?: string
  /** Sign in by this connection. */
  readonly connection?: string
}

/**
 * Sign in with Scalekit: full-stack sign-in, or an organization's own provider.
 *
 * Set up: the redirect URI `<url>/authorize/callback/scalekit`, and the environment's API credentials. `organization` and `connection` say where
 * people are sent, and not who is let in: name that in a rule (`admit`).
 *
 * @see https://docs.scalekit.com
 */
export const scalekit = <Claims = UpstreamClaims>(options: ScalekitOptions<Claims>): Provider<Claims> => {
  const { environment, organization, connection, ...common } = options
  return openid({
    id: 'scalekit',
    name: 'Scalekit',
    ...common,
    issuer: environment.replace(/\/+$/, ''),
    scopes: options.scopes ?? ['openid', 'profile', 'email', 'offline_access'],
    authorizationParameters: {
      ...(organization === undefined ? {} : { organization_id: organization }),
      ...(connection === undefined ? {} : { connection_id: connection }),
    },
  })
}
